"""How long a cell takes on this machine.

A training takes ``steps * overhead + work / (rate * threads)`` seconds. Both constants are measured once per kind of
network and device, by the fastest of some steps of a narrow and of a wide network, and are kept in a file. On a CPU
they are seconds that one thread computes, so that other processes that keep the machine busy do not change them.

Where cells of a module of studies are finished, the median of their measured over their estimated seconds is a factor
on the module's estimates for the same kind. Cells count that were trained on the same GPU or CPU, with any number of
threads. Reading data and measuring the trained network are not part of the constants, nor is the longer gradient of
overlapping updates, so that an estimate without finished cells is right within a factor of about two.
"""

from __future__ import annotations

import contextlib
import json
import re
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

import forwardforward as ff
from benchmarks.machine import device_name
from benchmarks.pages import write
from benchmarks.reproduce.bench_jobs import multiply_adds
from benchmarks.reproduce.interface import Job
from forwardforward.recipes import get

__all__ = ["Speed", "measure"]

#: Recipe, input shape, images per step, and the widths of the narrow and of the wide network, by the kind's beginning.
NETWORKS = {
    "dense": ("symba", (1, 28, 28), 100, ((16,) * 4, (1000,) * 4)),
    "convolutional": ("trifecta-s", (3, 32, 32), 32, ((4,) * 6, (32, 32, 64, 64, 64, 128))),
}

#: Widths of the wide network on a GPU, which the others would not occupy.
GPU_WIDTHS = {"dense": (4000,) * 4, "convolutional": (128, 128, 256, 256, 256, 512)}

#: Steps that are measured, after one that is not.
STEPS = 6


@dataclass(frozen=True)
class Constants:
    """Constants of a kind of network: seconds per step, and multiply-adds per second and thread."""

    overhead: float
    rate: float

    def seconds(self, job: Job, threads: int = 1) -> float:
        """Return the estimated duration of a training."""
        return job.steps * self.overhead + job.work / (self.rate * threads)


def measure(kind: str, device: str) -> Constants:
    """Measure steps of a narrow and of a wide network of a kind.

    Args:
        kind: The kind, see :class:`~benchmarks.reproduce.interface.Job`.
        device: Device to measure.
    """
    family = "convolutional" if kind.startswith("convolutional") else "dense"
    name, shape, batch_size, (narrow, wide) = NETWORKS[family]
    wide = wide if device.startswith("cpu") else GPU_WIDTHS[family]
    points = []
    for widths in (narrow, wide):
        recipe = get(name).replace(widths=widths, standardize=False)
        with torch.random.fork_rng(devices=[]):
            seconds = _seconds_per_step(recipe.model(shape, 10).to(device), shape, batch_size, kind.endswith("bf16"))
        points.append((2 * batch_size * multiply_adds(recipe, shape, 10)[0], seconds))
    (less, first), (more, second) = points
    rate = (more - less) / max(second - first, 0.1 * second)
    return Constants(overhead=max(first - less / rate, 0.0), rate=rate)


def _seconds_per_step(model: ff.network.Network, shape: tuple[int, ...], batch_size: int, is_bf16: bool) -> float:
    images = torch.rand(batch_size, *shape, device=model.device)
    batch = (images, torch.arange(batch_size, device=model.device) % 10)
    optimizer = ff.LocalOptimizer(torch.optim.Adam, lr=1e-3)
    durations = []
    is_cpu = model.device.type == "cpu"
    clock = time.process_time if is_cpu else time.perf_counter
    autocast = torch.autocast(model.device.type, torch.bfloat16) if is_bf16 else contextlib.nullcontext()
    with autocast, _one_thread() if is_cpu else contextlib.nullcontext():
        for _ in range(1 + STEPS):
            start = clock()
            model.step(batch, optimizer)
            if model.device.type == "cuda":
                torch.cuda.synchronize()
            durations.append(clock() - start)
    return min(durations[1:])


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Context manager in which torch has one thread: threads that wait for each other would count as computing."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _name_and_threads(device: str) -> tuple[str, int]:
    """Return the name of a GPU or CPU, and the number of threads, of a name as ``device_name`` returns it."""
    match = re.fullmatch(r"(.*) \((\d+) threads?\)", device)
    return (device, 1) if match is None else (match[1], int(match[2]))


class Speed:
    """Estimates of durations on one device.

    Args:
        file: File of the constants, created if it does not exist.
        device: Device to train on.
        jobs: All cells by the name of their module of studies; finished ones of the same device correct the estimates.
    """

    def __init__(self, file: Path, device: str, jobs: Mapping[str, Iterable[Job]]) -> None:
        self.file, self.device, self.name = file, device, device_name(device)
        self._processor, self._threads = _name_and_threads(self.name)
        self._finished = {name: [job for job in every if self._corrects(job)] for name, every in jobs.items()}
        self._constants: dict[str, Constants] = {}
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):  # missing or damaged: measured again
            for kind, values in json.loads(file.read_text(encoding="utf-8"))[self._processor].items():
                self._constants[kind] = Constants(**values)

    def _corrects(self, job: Job) -> bool:
        """Return whether a cell is finished and was trained on this device."""
        name, _ = _name_and_threads(job.device)
        return bool(job.is_finished and job.seconds and job.work) and name == self._processor

    def seconds(self, name: str, job: Job) -> float:
        """Return the estimated duration of what remains of a cell, 0 if it is finished.

        Args:
            name: Name of the module of studies.
            job: The cell.
        """
        if job.is_finished:
            return 0.0
        return self.constants(job.kind).seconds(job, self._threads) * self.factor(name, job.kind)

    def factor(self, name: str, kind: str) -> float:
        """Return the median of measured over estimated seconds of finished cells, 1 if there are none.

        Args:
            name: Name of the module of studies.
            kind: Kind of the cells.
        """
        ratios = [self._ratio(job) for job in self._finished.get(name, []) if job.kind == kind]
        return statistics.median(ratios) if ratios else 1.0

    def _ratio(self, job: Job) -> float:
        """Return measured over estimated seconds of a finished cell, with its own number of threads."""
        _, threads = _name_and_threads(job.device)
        return (job.seconds or 0.0) / self.constants(job.kind).seconds(job, threads)

    def source(self) -> str:
        """Return in words what the estimates are based on."""
        counts = [f"{name} {len(finished)}" for name, finished in self._finished.items() if finished]
        return "measured steps" + (f", corrected by finished cells ({', '.join(counts)})" if counts else "")

    def constants(self, kind: str) -> Constants:
        """Return the constants of a kind, which are measured if the file does not have them."""
        if kind not in self._constants:
            self._constants[kind] = measure(kind, self.device)
            content = {}
            with contextlib.suppress(OSError, ValueError):
                content = json.loads(self.file.read_text(encoding="utf-8"))
            content[self._processor] = {name: vars(constants) for name, constants in self._constants.items()}
            write(self.file, json.dumps(content, indent=2) + "\n")
        return self._constants[kind]
