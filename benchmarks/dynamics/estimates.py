"""Estimated duration of a cell."""

from __future__ import annotations

from benchmarks.dynamics.cells import Cell, multiply_adds
from benchmarks.dynamics.settings import BATCH_SIZE

__all__ = ["minutes_of", "steps_of", "work_of"]

#: Test images of the measurement after each epoch.
TEST_ROWS = 10_000

#: Multiply-adds per second, and seconds per step and parameter apart from products: measured on two cores with bf16
#: units at width 100, and assumed for a GPU.
RATES = {"cpu": (1e11, 1.5e-9), "cuda": (2e13, 2e-11)}


def images_of(cell: Cell) -> int:
    """Return the number of training images."""
    return cell.images or {"cifar10": 50_000, "digits": 1_437}.get(cell.setting.data, 60_000)


def steps_of(cell: Cell) -> float:
    """Return the number of training steps, counted once for each seed."""
    return len(cell.seeds) * cell.epochs * -(-images_of(cell) // BATCH_SIZE)


def work_of(cell: Cell) -> float:
    """Return the multiply-adds of training and measurement, for all seeds."""
    members = cell.members_per_model
    depth = 1 if members > 1 else cell.depth
    samples, labels = (2, 10.0) if cell.setting.has_pairs else (1, 1.0)
    training = images_of(cell) * multiply_adds(cell.width, depth, cell.pixels, samples)
    measuring = TEST_ROWS * (cell.pixels * cell.width + labels * (depth - 1) * cell.width**2)
    return members * len(cell.seeds) * cell.epochs * (training + measuring)


def minutes_of(cell: Cell, device: str = "cpu") -> float:
    """Return the estimated minutes of training and measurement.

    Args:
        cell: The cell.
        device: Device of the training.
    """
    rate, overhead = RATES["cuda" if device.startswith("cuda") else "cpu"]
    parameters = cell.pixels * cell.width + (cell.depth - 1) * cell.width**2
    return (work_of(cell) / rate + steps_of(cell) * overhead * parameters) / 60
