"""What a call of a module runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

__all__ = ["has_stand_in", "runs_only"]

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def runs_only(module: nn.Module, *forwards: Callable[..., Any]) -> bool:
    """Return whether a call of a module runs one of these functions as its ``forward``, and no hooks.

    Args:
        module: The module.
        *forwards: Functions such as ``nn.Linear.forward``.
    """
    return "forward" not in module.__dict__ and type(module).forward in forwards and not _has_hooks(module)


def has_stand_in(module: nn.Module, method: str) -> bool:
    """Return whether a method describes what a call of a module runs.

    It does not if a subclass, the instance or a hook changes the call without the method.

    Args:
        module: The module.
        method: Name of the method.
    """
    if "forward" in module.__dict__ or _has_hooks(module):
        return False
    for kind in type(module).__mro__:
        if method in kind.__dict__:
            return True
        if "forward" in kind.__dict__:
            return False
    return False


def _has_hooks(module: nn.Module) -> bool:
    # Not those of all modules: instruments such as torch's flop counter, which use them, must not change the step.
    return any(getattr(module, name) for name in _HOOKS)
