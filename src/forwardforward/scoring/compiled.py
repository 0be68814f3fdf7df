"""Compiled forms of functions of images, with the functions themselves as a fallback."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from forwardforward._utils.compilation import compile_function, compiler_reason

__all__ = ["CompiledFunctions"]


class CompiledFunctions:
    """Functions of images, compiled by ``torch.compile`` at their first call.

    A function is compiled for the shape of its first call. Another shape, such as a smaller last batch, runs without
    the compiler; if it occurs twice in succession, it is compiled too. If the compiler fails, one warning is issued and
    everything runs without it. A copy, or the object after unpickling, has compiled nothing.

    Example:
        >>> CompiledFunctions()
        CompiledFunctions()
    """

    def __init__(self) -> None:
        self._compiled: dict[Hashable, Callable[..., Any]] = {}
        self._last: dict[Hashable, Hashable] = {}
        self._works = True

    def __call__(self, function: Callable[..., Any], x: Tensor, *arguments: Any, any_rows: bool = False) -> Any:
        """Return ``function(x, *arguments)``.

        Args:
            function: A hashable function; equal ones share their compiled form.
            x: Images or rows, ``(batch, ...)``.
            *arguments: Other tensors, or dictionaries of them.
            any_rows: Whether the number of rows differs from call to call, so that one form is compiled for any.
        """
        if any_rows and len(x) < 2:  # torch compiles other forms for no row and for one
            return function(x, *arguments)
        compiled = self._function(function, x, any_rows)
        if compiled is None:
            return function(x, *arguments)
        try:
            return compiled(x, *arguments)
        except Exception as error:  # compilers fail with exceptions of many types
            result = function(x, *arguments)  # raises errors of the images
            self._works = False
            warnings.warn(f"classification continues without torch.compile: {compiler_reason(error)}", stacklevel=2)
            return result

    def _function(self, function: Callable[..., Any], x: Tensor, any_rows: bool) -> Callable[..., Any] | None:
        """Return the compiled form for the shape of ``x``, None if it is not worth compiling."""
        if not self._works:
            return None
        device = x.device.type
        precision = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        form = (function, precision, torch.is_inference_mode_enabled())
        shape = x.shape[1:] if any_rows else x.shape
        last = self._last.get(form)
        self._last[form] = shape
        key = (form, shape, x.dtype, x.device)
        if key not in self._compiled and last in (None, shape):
            self._compiled[key] = _compile(function, any_rows)
        return self._compiled.get(key)

    def __deepcopy__(self, memo: dict[int, Any]) -> CompiledFunctions:
        """Return an object that has compiled nothing."""
        return CompiledFunctions()

    def __reduce__(self) -> tuple[Any, ...]:
        """Return the constructor call."""
        return CompiledFunctions, ()

    def __repr__(self) -> str:
        """Return the constructor call."""
        return "CompiledFunctions()"


def _compile(function: Callable[..., Any], any_rows: bool) -> Callable[..., Any]:
    compiled = compile_function(function)
    if not any_rows:
        return compiled

    def call_with_rows(*arguments: Any) -> Any:
        for tensor in pytree.tree_leaves(arguments):
            torch._dynamo.maybe_mark_dynamic(tensor, 0)
        return compiled(*arguments)

    return call_with_rows
