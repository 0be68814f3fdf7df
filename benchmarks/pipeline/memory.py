"""Memory that a training takes in one process, by the kind of distribution."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any

import torch

import forwardforward as ff
from benchmarks.pipeline.measure import join, network, run_processes, samples
from benchmarks.speed.stacks import parse
from forwardforward.distributed import DataParallel, Pipeline, process_group
from forwardforward.training import Callback, FitState

__all__ = ["KINDS", "STACK", "measure_memory"]

STACK = "784-16x1000@64"

#: The distributions, by their names in the table.
KINDS: dict[str, Any] = {
    "one process": None,
    "data parallel": DataParallel,
    "data parallel, sharded": lambda ranks: DataParallel(ranks, shard=True),
    "pipeline": Pipeline,
}

#: Steps of a training; states of optimizers exist after the first one.
STEPS = 4


class _Memory(Callback):
    """The largest memory at the end of a step, and the peak within the steps after the first one."""

    def __init__(self) -> None:
        self.size = 0
        self.peak = 0

    def on_step_end(self, state: FitState, result: ff.step.StepResult) -> None:
        """Read the memory of this process, and after the first step begin to measure the peak."""
        if self.size:
            self.peak = peak()
        self.size = max(self.size, resident())
        if not self.peak:
            Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # resets the peak


def peak() -> int:
    """Return the largest number of bytes of this process that were in memory at once, on Linux."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def resident() -> int:
    """Return the bytes of this process that are in memory, on Linux, without those that are free again."""
    ctypes.CDLL(None).malloc_trim(0)  # freed tensors otherwise stay with the process
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def measure_memory(kind: str, ranks: int, stack: str = STACK) -> dict[str, int]:
    """Return the bytes that a training adds at the end and at the peak of a step, of several processes the most.

    Args:
        kind: One of :data:`KINDS`.
        ranks: Number of processes.
        stack: Name of the stack, see ``benchmarks.speed``.
    """
    count = 1 if KINDS[kind] is None else ranks
    results = run_processes(_rank, count, (stack, kind, count), reports=count)
    return {name: max(result[name] for result in results) for name in ("bytes", "peak_bytes")}


def _rank(rank: int, stack: str, kind: str, count: int, port: int, queue: Any) -> None:
    torch.set_num_threads(1)
    join(rank, count, port)
    with process_group(start_timeout=60) as ranks:
        make = KINDS[kind] or (lambda ranks: None)
        _added("784-10-10@64", make(ranks))  # imports and caches, whose size does not depend on the network
        queue.put(_added(stack, make(ranks)))


def _added(stack: str, parallel: Any) -> dict[str, int]:
    """Return the bytes that a training adds at the end of a step and at the peak of a step."""
    before, memory = resident(), _Memory()
    ff.fit(
        network(stack, "class"),
        samples(stack, STEPS),
        epochs=1,
        batch_size=parse(stack).batch_size,
        optimizer=ff.LocalOptimizer(torch.optim.Adam, lr=1e-3, fused=True),
        callbacks=[memory],
        progress=False,
        parallel=parallel,
    )
    return {"bytes": memory.size - before, "peak_bytes": memory.peak - before}
