"""Meters of the memory of a training step, without weights, their gradients, optimizer state and images."""

from __future__ import annotations

import json
import tempfile
import weakref
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["Meter", "Storage", "activation_peak", "allocator_peak", "peak_of_events"]


class Storage(NamedTuple):
    """A storage that was created while the meter ran."""

    bytes: int
    operation: str
    shape: tuple[int, ...]


class Meter(TorchDispatchMode):
    """Records the storages that operations create, forward and backward, until they are freed.

    Attributes:
        storages: Every storage, by number.
        events: Numbers in the order of creation (positive) and release (negative); the first number is 1.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.storages: dict[int, Storage] = {}
        self.events: list[int] = []
        self._living: dict[int, tuple[Any, int]] = {}  # weak reference and number, by address
        self._excluded: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and record the storages that it creates."""
        known = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)}
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in known and storage._cdata not in self._living:
                    self._record(storage, Storage(storage.nbytes(), str(func), tuple(tensor.shape)))
        return result

    def _record(self, storage: torch.UntypedStorage, description: Storage) -> None:
        address, number = storage._cdata, len(self.storages) + 1
        self.storages[number] = description
        self.events.append(number)

        def release(_: Any) -> None:
            self.events.append(-number)
            del self._living[address]

        self._living[address] = (weakref.ref(storage, release), number)

    def exclude(self, tensor: torch.Tensor) -> None:
        """Exclude a tensor from the peak, from its creation on."""
        entry = self._living.get(tensor.untyped_storage()._cdata)
        if entry is not None:
            self._excluded.add(entry[1])

    def peak(self) -> tuple[int, list[Storage]]:
        """Return the largest number of bytes in existence at once, and their storages, largest first."""
        total = largest = 0
        living: set[int] = set()
        at_peak: set[int] = set()
        for event in self.events:
            number = abs(event)
            if number in self._excluded:
                continue
            if event > 0:
                total += self.storages[number].bytes
                living.add(number)
            else:
                total -= self.storages[number].bytes
                living.remove(number)
            if total > largest:
                largest, at_peak = total, set(living)
        return largest, sorted((self.storages[number] for number in at_peak), reverse=True)


def activation_peak(model: torch.nn.Module, step: Callable[[], Any]) -> tuple[int, list[Storage]]:
    """Return the peak of the tensors of one step without gradients of parameters, and what it consists of."""
    step()  # the first one creates optimizer state
    for parameter in model.parameters():
        parameter.grad = None
    meter = Meter()
    hooks = [p.register_post_accumulate_grad_hook(lambda p: meter.exclude(p.grad)) for p in model.parameters()]
    try:
        with meter:
            step()
    finally:
        for hook in hooks:
            hook.remove()
    return meter.peak()


def allocator_peak(model: torch.nn.Module, step: Callable[[], Any]) -> int:
    """Return the peak of what a step allocates, without gradients of parameters; also of a compiled step.

    On a GPU it is the difference between the allocator's peak and its allocation before the step, with the gradients.
    """
    step()
    for parameter in model.parameters():
        parameter.grad = None
    if any(parameter.is_cuda for parameter in model.parameters()):
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf-8", errors="replace"))["traceEvents"]
    events = sorted((event for event in events if event["name"] == "[memory]"), key=lambda event: event["ts"])
    gradients = (p.grad.untyped_storage().data_ptr() for p in model.parameters() if p.grad is not None)
    return peak_of_events((event["args"] for event in events), gradients)


def peak_of_events(events: Iterable[Mapping[str, int]], excluded: Iterable[int]) -> int:
    """Return the largest number of bytes in existence at once.

    Args:
        events: Allocations and releases in their order, as the profiler writes them: ``Addr`` and ``Bytes``, which are
            negative for a release. Releases of what existed before are ignored.
        excluded: Addresses that do not count if they are still allocated at the end.
    """
    ordered = list(events)
    owners: dict[int, int] = {}  # by address, the event that allocated it
    released: dict[int, int] = {}  # by the event of a release, that of the allocation
    for number, event in enumerate(ordered):
        if event["Bytes"] > 0:
            owners[event["Addr"]] = number
        elif event["Addr"] in owners:
            released[number] = owners.pop(event["Addr"])
    ignored = {owners[address] for address in excluded if address in owners}
    total = peak = 0
    for number, event in enumerate(ordered):
        if event["Bytes"] > 0 and number not in ignored:
            total += event["Bytes"]
        elif number in released:
            total -= ordered[released[number]]["Bytes"]
        peak = max(peak, total)
    return peak
