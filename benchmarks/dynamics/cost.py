"""Accuracy at equal cost, for networks that grow and networks of fixed depth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.dynamics.cells import Curves, multiply_adds

__all__ = ["accuracy_at", "costs", "epochs_at"]

Array = NDArray[np.float64]


def costs(curves: Curves) -> Array:
    """Return the multiply-adds per training image up to each epoch, ``(epochs + 1,)``, with each epoch's layers."""
    cell = curves.cell
    depths = np.isfinite(curves.layers[0]).sum(1)[1:]
    per_epoch = [multiply_adds(cell.width, int(depth), cell.pixels) for depth in depths]
    return np.concatenate([[0.0], np.cumsum(per_epoch)])


def epochs_at(curves: Curves, budget: float) -> int:
    """Return the number of epochs that a budget of multiply-adds per training image pays for; at most all of them."""
    return int((costs(curves) <= budget * (1 + 1e-9)).sum()) - 1


def accuracy_at(curves: Curves, budget: float) -> Array:
    """Return the model accuracy of each seed after the epochs that a budget pays for, ``(seeds,)``."""
    return curves.model[:, epochs_at(curves, budget)]
