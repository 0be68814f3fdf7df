"""How long a cell takes on this machine.

A training takes ``steps * overhead + work / rate`` seconds. Both constants are measured once per kind of network,
device and number of threads, by the steps of a narrow and of a wide network, and are kept in a file. Where finished
cells of the kind were trained on the same device, the median of their measured over their estimated seconds is a factor
on the estimates. Reading data and measuring the trained network are not part of an estimate, nor is the longer gradient
of overlapping updates, so that it is right within a factor of about two.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import time
from collections.abc import Iterable
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
STEPS = 4


@dataclass(frozen=True)
class Constants:
    """Constants of a kind of network: seconds per step, and multiply-adds per second."""

    overhead: float
    rate: float

    def seconds(self, job: Job) -> float:
        """Return the estimated duration of a training."""
        return job.steps * self.overhead + job.work / self.rate


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
    autocast = torch.autocast(model.device.type, torch.bfloat16) if is_bf16 else contextlib.nullcontext()
    with autocast:
        for _ in range(1 + STEPS):
            start = time.perf_counter()
            model.step(batch, optimizer)
            if model.device.type == "cuda":
                torch.cuda.synchronize()
            durations.append(time.perf_counter() - start)
    return statistics.median(durations[1:])


class Speed:
    """Estimates of durations on one device.

    Args:
        file: File of the constants, created if it does not exist.
        device: Device to train on.
        jobs: All cells; finished ones of the same device correct the estimates.
    """

    def __init__(self, file: Path, device: str, jobs: Iterable[Job] = ()) -> None:
        self.file, self.device, self.name = file, device, device_name(device)
        self._finished = [job for job in jobs if job.is_finished and job.seconds and job.device == self.name]
        self._constants: dict[str, Constants] = {}
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):  # missing or damaged: measured again
            for kind, values in json.loads(file.read_text(encoding="utf-8"))[self.name].items():
                self._constants[kind] = Constants(**values)

    def seconds(self, job: Job) -> float:
        """Return the estimated duration of what remains of a cell, 0 if it is finished."""
        return 0.0 if job.is_finished else self._of(job.kind).seconds(job) * self.factor(job.kind)

    def factor(self, kind: str) -> float:
        """Return the median of measured over estimated seconds of finished cells of a kind on this device."""
        finished = [job for job in self._finished if job.kind == kind and job.work]
        ratios = [(job.seconds or 0.0) / self._of(kind).seconds(job) for job in finished]
        return statistics.median(ratios) if ratios else 1.0

    def source(self, kind: str) -> str:
        """Return in words what the estimates of a kind are based on."""
        count = sum(job.kind == kind for job in self._finished)
        return f"{kind}: measured steps" + (f", corrected by {count} finished cells" if count else "")

    def _of(self, kind: str) -> Constants:
        if kind not in self._constants:
            self._constants[kind] = measure(kind, self.device)
            content = {}
            with contextlib.suppress(OSError, ValueError):
                content = json.loads(self.file.read_text(encoding="utf-8"))
            content[self.name] = {name: vars(constants) for name, constants in self._constants.items()}
            write(self.file, json.dumps(content, indent=2) + "\n")
        return self._constants[kind]
