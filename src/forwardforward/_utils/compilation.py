"""One way to compile a function."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch

#: Numbers of compiled functions, for their names.
NUMBERS = itertools.count()

#: Whether this torch can compile without guards, as versions since 2.8 can.
HAS_GUARD_FILTER = hasattr(torch.compiler, "skip_guard_on_globals_unsafe")


class CompilationError(RuntimeError):
    """A function could not be compiled or recorded; the call had no effect."""


def compile_function(
    function: Callable[..., Any], guarded: bool = True, dynamic: bool | None = None
) -> Callable[..., Any]:
    """Return a compiled function, as one graph.

    Args:
        function: The function.
        guarded: Whether torch checks before each call that everything the function read is unchanged, which takes
            longer than the other work on the host. Without, the caller has to check it.
        dynamic: Whether shapes are variables; default: after a second shape.
    """

    def call(*arguments: Any) -> Any:
        return function(*arguments)

    # torch gives up after eight versions of one code object: one object for each function
    call.__code__ = call.__code__.replace(co_name=f"compiled_{next(NUMBERS)}")
    options: Any = None if guarded or not HAS_GUARD_FILTER else {"guard_filter_fn": _no_guards}
    compiled: Callable[..., Any] = torch.compile(call, fullgraph=True, dynamic=dynamic, options=options)
    return compiled


def compiler_reason(error: Exception) -> str:
    """Return the first line of a compiler's error that is not a heading, such as "backend='inductor' raised:"."""
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in lines if line and not line.endswith(":")), type(error).__name__)


def _no_guards(guards: Sequence[Any]) -> list[bool]:
    return [False] * len(guards)
