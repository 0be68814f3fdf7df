"""What tables, figures and claims state about the curves of one variant, depth and width."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks.dynamics.analysis import (
    Correlation,
    Interval,
    bootstrap,
    bootstrap_difference,
    correlation_over_epochs,
    correlation_over_seeds,
    crossing,
    pearson,
    slope,
    spearman,
)
from benchmarks.dynamics.cells import Curves
from benchmarks.dynamics.growth import TARGET

__all__ = [
    "CORRELATIONS",
    "correlation",
    "correlation_change",
    "correlation_drop",
    "delay",
    "delay_slope",
    "mean_of",
    "reached",
    "slope_change",
]

Array = NDArray[np.float64]

CORRELATIONS: dict[str, Correlation] = {"Pearson": pearson, "Spearman": spearman}


def mean_of(values: Array) -> Callable[[NDArray[np.int64]], Array]:
    """Return the mean over drawn seeds, without NaN, as a statistic for the bootstrap."""

    def statistic(seeds: NDArray[np.int64]) -> Array:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of columns without a number
            return np.asarray(np.nanmean(values[seeds], axis=seeds.ndim - 1))

    return statistic


def delay(curves: Curves) -> Array:
    """Return the epoch at which each layer reaches the target, ``(seeds, layers)``; infinity if never."""
    return crossing(curves.layers, TARGET)


def reached(curves: Curves) -> float:
    """Return the share of layers and seeds that reach the target."""
    return float(np.isfinite(delay(curves)).mean())


def slopes(curves: Curves) -> Array:
    """Return the slope of the delay of each seed, in epochs per layer."""
    return slope(delay(curves), curves.cell.epochs)


def delay_slope(curves: Curves) -> Interval:
    """Return the slope of the delay in epochs per layer, the mean over seeds."""
    values = slopes(curves)
    return bootstrap(mean_of(values), len(values))


def slope_change(narrow: Curves, wide: Curves) -> Interval:
    """Return how much larger the slope of the delay is in a wider network, or in a variant."""
    values = slopes(narrow), slopes(wide)
    return bootstrap_difference((mean_of(values[0]), mean_of(values[1])), (len(values[0]), len(values[1])))


def correlation(curves: Curves, name: str = "Pearson", over: str = "epochs") -> Interval:
    """Return the correlation of layer and model accuracy by layer, ``(layers,)``.

    Args:
        curves: The curves.
        name: A key of ``CORRELATIONS``.
        over: ``"epochs"`` for the mean of each seed's correlation over its epochs, ``"seeds"`` for the correlation over
            seeds after the last epoch.
    """
    count = len(curves.cell.seeds)
    if over == "epochs":
        return bootstrap(mean_of(correlation_over_epochs(curves.layers, curves.model, CORRELATIONS[name])), count)
    layers, model = curves.layers[:, -1:], curves.model[:, -1:]
    return bootstrap(lambda seeds: correlation_over_seeds(layers[seeds], model[seeds], CORRELATIONS[name]), count)


def correlation_drop(curves: Curves) -> Interval:
    """Return the correlation over epochs of the first layer minus that of the last, the mean over seeds."""
    values = correlation_over_epochs(curves.layers, curves.model)
    return bootstrap(mean_of(values[:, 0] - values[:, -1]), len(values))


def correlation_change(narrow: Curves, wide: Curves) -> Interval:
    """Return how much larger the correlation over epochs is in a wider network, the mean over layers and seeds."""
    first, second = (
        mean_of(mean_of(correlation_over_epochs(c.layers, c.model).T)(np.arange(c.cell.depth))) for c in (narrow, wide)
    )
    return bootstrap_difference((first, second), (len(narrow.cell.seeds), len(wide.cell.seeds)))
