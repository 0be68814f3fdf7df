"""Functions of tensors whose kernels are recorded in a CUDA graph and start together."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

__all__ = ["CapturedFunction"]

#: Calls before the recording, in which libraries choose their algorithms and allocate workspaces.
WARM_UP = 2


class CapturedFunction:
    """A function of tensors, recorded once as a CUDA graph and replayed by each later call.

    A replay starts all kernels at once: the host no longer limits a step of many small kernels. The first calls run the
    function itself. If the structure of the arguments or the memory of a persistent one changes, it is recorded anew.

    Args:
        function: The function. It must not wait for the device, and may change persistent arguments in place. What it
            reads beside its arguments must not change.
        persistent: Positions of the arguments whose tensors keep their memory from call to call, such as weights. The
            others are copied to the graph's own memory.
        pool: Memory of the graph, which graphs may share whose results are never used after another's replay.

    The next call overwrites the tensors that a call returned.
    """

    def __init__(self, function: Callable[..., Any], persistent: Collection[int], pool: Any = None) -> None:
        self.function = function
        self.persistent = frozenset(persistent)
        self.pool = pool
        self._key: Any = None
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: list[Tensor] = []
        self._arguments: list[Any] | None = None
        self._result: Any = None

    def __call__(self, *arguments: Any) -> Any:
        """Return ``function(*arguments)``."""
        kept, form = pytree.tree_flatten([value for i, value in enumerate(arguments) if i in self.persistent])
        given, of_given = pytree.tree_flatten([value for i, value in enumerate(arguments) if i not in self.persistent])
        key = (form, of_given, *map(_identity, kept), *map(_layout, given))
        if key != self._key:
            self._key, self._calls, self._graph, self._result = key, 0, None, None
        if self._graph is None:
            self._calls += 1
            if self._calls <= WARM_UP:
                return self.function(*arguments)
            self._record(arguments)
            assert self._graph is not None
        tensors = [value for value in given if isinstance(value, Tensor)]
        for own, value in zip(self._inputs, tensors, strict=True):
            own.copy_(value)
        self._graph.replay()
        return self._result

    def _record(self, arguments: tuple[Any, ...]) -> None:
        """Copy the arguments that are not persistent, and record the function of the copies."""
        self._inputs = []

        def copied(value: Any) -> Any:
            if not isinstance(value, Tensor):
                return value
            self._inputs.append(torch.empty_like(value).copy_(value))
            return self._inputs[-1]

        self._arguments = [
            value if i in self.persistent else pytree.tree_map(copied, value) for i, value in enumerate(arguments)
        ]
        self._graph = self._capture(self._arguments)

    def _capture(self, arguments: list[Any]) -> torch.cuda.CUDAGraph:
        """Record the kernels, which are not executed by that, and keep where they write the result."""
        graph = torch.cuda.CUDAGraph()
        # a data loader's thread may use the device meanwhile
        with torch.cuda.graph(graph, pool=self.pool, capture_error_mode="thread_local"):
            self._result = self.function(*arguments)
        return graph


def _identity(value: Any) -> Any:
    """Return where a tensor is, with its layout; another value itself."""
    return (value.data_ptr(), *_layout(value)) if isinstance(value, Tensor) else value


def _layout(value: Any) -> Any:
    """Return shape, strides and type of a tensor; another value itself."""
    return (value.shape, value.stride(), value.dtype, value.device) if isinstance(value, Tensor) else value
