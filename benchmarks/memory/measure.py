"""Measurement of the peaks and durations of every kind of step in one network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from benchmarks.memory.meters import Storage, activation_peak, allocator_peak
from benchmarks.memory.steps import Batch, Step, checkpointed, make_steps
from benchmarks.timing import durations, median_and_quartiles, ratios

__all__ = ["CHECKPOINTED", "REFERENCE", "Figures", "best_checkpoints", "measure"]

#: Backpropagation, the reference of peaks; checkpointing is the reference of step times.
REFERENCE, CHECKPOINTED = "backpropagation", "backpropagation, checkpointed"

Figures = dict[str, Any]


def best_checkpoints(widths: Sequence[int], pools: tuple[int, ...], batch: Batch) -> tuple[Step, int]:
    """Return the checkpointed step with the lowest peak, and its number of segments."""
    modules = len(widths) + 1
    # Numbers with the same modules per segment differ in the last segment, which takes the rest and is not run again.
    # It is the smallest for the largest number.
    candidates = {modules // segments: segments for segments in range(1, modules + 1)}
    peaks = {}
    for segments in candidates.values():
        step = checkpointed(widths, pools, segments, batch)
        peaks[segments] = activation_peak(step.model, step.run)[0]
    best = min(peaks, key=lambda segments: peaks[segments])
    return checkpointed(widths, pools, best, batch), best


def measure(
    widths: Sequence[int],
    pools: tuple[int, ...],
    batch: Batch,
    *,
    micro_batches: Sequence[int] = (),
    whole: bool = False,
    rounds: int = 0,
    show: int = 0,
) -> dict[str, Figures]:
    """Return the peaks in bytes and the durations of every kind of step.

    Args:
        widths: Numbers of channels.
        pools: Indices of the layers that end with a max-pool.
        batch: Images and labels.
        micro_batches: Numbers of micro-batches for gradient accumulation.
        whole: Whether to include compiled steps.
        rounds: Number of timed rounds; 0 leaves out durations and allocator.
        show: Number of storages to print per kind.
    """
    steps = make_steps(widths, pools, batch, micro_batches, whole)
    best, segments = best_checkpoints(widths, pools, batch)
    steps = {REFERENCE: steps.pop(REFERENCE), CHECKPOINTED: [best], **steps}
    figures: dict[str, Figures] = {}
    for name, phases in steps.items():
        figures[name] = {"segments": segments} if name == CHECKPOINTED else {}
        if not phases[0].compiled:
            peak, storages = max((activation_peak(step.model, step.run) for step in phases), key=lambda pair: pair[0])
            figures[name]["tensors"] = peak
            _show(name, peak, storages[:show])
        if rounds:
            figures[name]["allocator"] = max(allocator_peak(step.model, step.run) for step in phases)
    if rounds:
        _add_durations(figures, {name: phases[0] for name, phases in steps.items()}, rounds, batch[0].is_cuda)
    return figures


def _show(name: str, peak: int, storages: Sequence[Storage]) -> None:
    """Print the largest tensors of a peak."""
    if storages:
        print(f"{name}: {peak / 2**20:.1f} MiB")
    for storage in storages:
        print(f"    {storage.bytes / 2**20:8.2f} MiB  {storage.operation:<45}{storage.shape}")


def _add_durations(figures: Mapping[str, Figures], steps: Mapping[str, Step], rounds: int, on_gpu: bool) -> None:
    """Add the median duration of each kind of step, and its ratio to the checkpointed one."""
    synchronize = torch.cuda.synchronize if on_gpu else None
    seconds = durations({name: step.run for name, step in steps.items()}, rounds, 0.02, synchronize)
    for name, values in seconds.items():
        figures[name]["milliseconds"] = float(f"{1000 * median_and_quartiles(values)[0]:.4g}")
        median, (low, high) = median_and_quartiles(ratios(values, seconds[CHECKPOINTED]))
        figures[name]["time_over_checkpointed"] = [float(f"{value:.4g}") for value in (low, median, high)]
