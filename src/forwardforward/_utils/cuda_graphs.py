"""Functions of tensors whose kernels are recorded in a CUDA graph and start together."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Collection, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from forwardforward._utils.compilation import CompilationError

__all__ = ["CapturedFunction", "RecordingError"]

#: Calls before the recording, in which libraries choose their algorithms and allocate workspaces.
WARM_UP = 2


class RecordingError(CompilationError):
    """A function could not be recorded in a CUDA graph; the call had no effect."""


class CapturedFunction:
    """A function of tensors, recorded once as a CUDA graph and replayed by each later call.

    A replay starts all kernels at once: the host no longer limits a step of many small kernels. The first calls run the
    function itself. If the structure of the arguments or the memory of a persistent one changes, it is recorded anew.

    Args:
        function: The function. It must not wait for the device, and may change persistent arguments in place after
            everything that can fail. What it reads beside its arguments must not change.
        persistent: Positions of the arguments whose tensors keep their memory from call to call, such as weights, in
            lists, tuples and dictionaries with at least one tensor. The others are copied to the graph's own memory.

    The next call overwrites the tensors that a call returned. The recording refers to the memory of the persistent
    tensors, which the caller keeps.

    Attributes:
        replays: Number of replays since the last recording.

    Raises:
        RecordingError: On a call, if the function waits for the device or cannot be recorded for another reason.
    """

    def __init__(self, function: Callable[..., Any], persistent: Collection[int]) -> None:
        self.function = function
        self.persistent = frozenset(persistent)
        self.replays = 0
        self._key: Any = None
        self._calls = 0
        self._graph: Any = None
        self._inputs: list[Tensor] = []
        self._arguments: list[Any] | None = None
        self._result: Any = None

    def __call__(self, *arguments: Any) -> Any:
        """Return ``function(*arguments)``."""
        kept: list[Tensor] = []
        _collect([value for i, value in enumerate(arguments) if i in self.persistent], kept)
        given, form = pytree.tree_flatten([value for i, value in enumerate(arguments) if i not in self.persistent])
        key = (form, *map(_layout, given), *[tensor.data_ptr() for tensor in kept], *[tensor.shape for tensor in kept])
        if key != self._key:
            self._key, self._calls, self.replays = key, 0, 0
            self._graph = self._arguments = self._result = None
        if self._graph is None:
            self._calls += 1
            if self._calls < WARM_UP:
                return self.function(*arguments)
            if self._calls == WARM_UP:
                with _without_waiting():
                    return self.function(*arguments)
            self._record(arguments, kept[0].device)
        for own, value in zip(self._inputs, filter(_is_tensor, given), strict=True):
            own.copy_(value)
        self._graph.replay()
        self.replays += 1
        return self._result

    def _record(self, arguments: tuple[Any, ...], device: torch.device) -> None:
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
        self._graph = self._capture(self._arguments, device)

    def _capture(self, arguments: list[Any], device: torch.device) -> Any:
        """Record the kernels, which are not executed by that, and keep where they write the result."""
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream(device)
        cause: Exception | None = None
        try:
            # The outer context restores the stream also if the end of a failed recording raises. The mode lets a data
            # loader's thread use the device meanwhile.
            with (
                torch.cuda.stream(stream),
                torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"),
            ):
                try:
                    self._result = self.function(*arguments)
                except Exception as error:
                    cause = error
                    raise
        except Exception as error:
            _end_recording_of_random_numbers(stream)
            raise RecordingError(str(cause or error)) from (cause or error)
        return graph


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def _collect(value: Any, tensors: list[Tensor]) -> None:
    """Append the tensors of lists, tuples and dictionaries; torch's pytree takes several times as long."""
    if isinstance(value, Tensor):
        tensors.append(value)
    elif isinstance(value, dict):
        for entry in value.values():
            _collect(entry, tensors)
    elif isinstance(value, list | tuple):
        for entry in value:
            _collect(entry, tensors)


def _layout(value: Any) -> Any:
    """Return shape, strides and type of a tensor; another value itself."""
    return (value.shape, value.stride(), value.dtype, value.device) if isinstance(value, Tensor) else value


@contextlib.contextmanager
def _without_waiting() -> Iterator[None]:
    """Context manager in which an operation that waits for the device raises, before a recording would be broken."""
    if not torch.cuda.is_available():
        yield
        return
    before = torch.cuda.get_sync_debug_mode()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Synchronization debug mode")
            torch.cuda.set_sync_debug_mode("error")
        yield
    except RuntimeError as error:
        raise RecordingError(str(error)) from error
    finally:
        torch.cuda.set_sync_debug_mode(before)


def _end_recording_of_random_numbers(stream: torch.cuda.Stream) -> None:
    """Record nothing: below torch 2.13, random numbers are refused after a failed recording until the next one ends."""
    with contextlib.suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the graph is empty
        with torch.cuda.stream(stream), torch.cuda.graph(torch.cuda.CUDAGraph(), stream=stream):
            pass
