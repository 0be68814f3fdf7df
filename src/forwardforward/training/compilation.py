"""Compiling a training step's passes with ``torch.compile``, where that works."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from forwardforward.sequential import FFSequential

__all__ = ["Compiled"]


class Compiled:
    """While this is entered, what a model runs in training is compiled: of a stack, every layer's local loss.

    Where the compiler fails or is not there, a warning of one line says so, once, and training goes on without it.
    Results are equal within rounding, but for what a layer draws at random, such as dropout. Backward passes and
    optimizers stay outside, so that every schedule serves.

    Args:
        model: An :class:`~forwardforward.FFSequential`, or another module, whose ``forward`` is compiled.
    """

    def __init__(self, model: nn.Module) -> None:
        self.failed = False
        places: list[tuple[nn.Module, str]] = [(model, "forward")]
        if isinstance(model, FFSequential):
            places = [(layer, "local_loss") for layer in model.stack]
        self._places = [(module, name, self._guarded(getattr(module, name))) for module, name in places]

    def __enter__(self) -> None:
        """Put the compiled functions into their places."""
        for module, name, function in self._places:
            module.__dict__[name] = function

    def __exit__(self, *_: object) -> None:
        """Take them away again."""
        for module, name, _function in self._places:
            module.__dict__.pop(name, None)

    def _guarded(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function compiled, and as it is from the first failure on."""
        fast: Callable[..., Any] | None = None

        def own(*args: Any) -> Any:
            return function(*args)

        # Torch compiles a piece of code 8 times at most, and a stack may have more layers: one piece for each.
        own.__code__ = own.__code__.replace(co_name=f"{own.__name__}_{id(own)}")

        def call(*args: Any) -> Any:
            nonlocal fast
            if self.failed:
                return function(*args)
            try:
                from torch._functorch import config  # private: where it has gone, training goes on without

                fast = fast or torch.compile(own)
                with config.patch(donated_buffer=False):  # groups may keep graphs
                    return fast(*args)
            except Exception as error:
                result = function(*args)  # a fault of the function's own comes again here
                self.failed = True
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                warnings.warn(f"training goes on without torch.compile, which failed: {reason}", stacklevel=2)
                return result

        return call
