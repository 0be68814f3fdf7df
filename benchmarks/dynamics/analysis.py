"""Delay by layer, its slope, correlations, and bootstrap intervals over seeds, in numpy."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Interval",
    "bootstrap",
    "bootstrap_difference",
    "correlation_over_epochs",
    "correlation_over_seeds",
    "crossing",
    "pearson",
    "ranks",
    "slope",
    "spearman",
]

Array = NDArray[np.float64]

#: Estimate, lower and upper end of a 95 % interval; each a number, or an array.
Interval = tuple[Array, Array, Array]

#: A statistic of the seeds with these indices.
Statistic = Callable[[NDArray[np.int64]], Array]

#: A correlation of two arrays along their first dimension.
Correlation = Callable[[Array, Array], Array]

DRAWS = 1000


def crossing(curves: Array, target: float) -> Array:
    """Return the epoch at which curves first reach a target, between two epochs by interpolation; infinity if never.

    Args:
        curves: Values before the training and after each epoch, ``(seeds, epochs + 1, layers)``; NaN is below.
        target: The target.

    Returns:
        ``(seeds, layers)``.
    """
    reached = curves >= target  # NaN compares as False
    first = reached.argmax(1)
    after = np.take_along_axis(curves, first[:, None], 1)[:, 0]
    before = np.take_along_axis(curves, np.maximum(first - 1, 0)[:, None], 1)[:, 0]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(np.isnan(before), 1.0, (target - before) / (after - before))
    epochs = np.where(first == 0, 0.0, first - 1 + share)
    return np.where(reached.any(1), epochs, np.inf)


def slope(epochs: Array, last: float) -> Array:
    """Return the least-squares slope of epochs over the index of the layer, per seed, ``(seeds,)``.

    Args:
        epochs: As of :func:`crossing`, ``(seeds, layers)``.
        last: Value for layers that never reach the target, the last epoch, which makes the slope a lower bound.
    """
    values = np.minimum(epochs, last)
    layers = np.arange(values.shape[1]) - (values.shape[1] - 1) / 2
    result: Array = (values * layers).sum(1) / np.square(layers).sum()
    return result


def pearson(x: Array, y: Array) -> Array:
    """Return Pearson's correlation along the first dimension; NaN where one of them is constant.

    Args:
        x: ``(samples, ...)``.
        y: ``(samples, ...)``, of a shape that broadcasts.
    """
    x, y = x - x.mean(0), y - y.mean(0)
    # a constant's deviations are rounding errors, not exact zeros
    scale = np.sqrt(np.square(x).sum(0) * np.square(y).sum(0))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(scale > 1e-12, (x * y).sum(0) / scale, np.nan)


def ranks(x: Array) -> Array:
    """Return ranks along the first dimension, from 0; equal values have the mean of their ranks."""
    below = (x[None] < x[:, None]).sum(1)
    equal = (x[None] == x[:, None]).sum(1)
    return below + (equal - 1) / 2


def spearman(x: Array, y: Array) -> Array:
    """Return Spearman's correlation along the first dimension, Pearson's of the ranks."""
    return pearson(ranks(x), ranks(y))


def correlation_over_epochs(layers: Array, model: Array, correlation: Correlation = pearson) -> Array:
    """Return the correlation of layer and model accuracy over the epochs of each seed, ``(seeds, layers)``.

    Args:
        layers: Layer accuracies ``(seeds, epochs + 1, layers)``; the first, before the training, is left out.
        model: Model accuracies ``(seeds, epochs + 1)``.
        correlation: The correlation.
    """
    return correlation(np.moveaxis(layers[:, 1:], 1, 0), np.moveaxis(model[:, 1:, None], 1, 0))


def correlation_over_seeds(layers: Array, model: Array, correlation: Correlation = pearson) -> Array:
    """Return the correlation of layer and model accuracy over seeds after the last epoch, ``(..., layers)``.

    Args:
        layers: Layer accuracies ``(..., seeds, epochs + 1, layers)``.
        model: Model accuracies ``(..., seeds, epochs + 1)``.
        correlation: The correlation.
    """
    of_layers, of_model = layers[..., -1, :], model[..., -1, None]
    return correlation(np.moveaxis(of_layers, -2, 0), np.moveaxis(of_model, -2, 0))


def bootstrap(statistic: Statistic, count: int) -> Interval:
    """Return a statistic of all seeds, and its 95 % bootstrap interval over seeds.

    Args:
        statistic: Function of the indices of drawn seeds, ``(..., seeds)``.
        count: Number of seeds.
    """
    return _interval(statistic(np.arange(count)), _draws(statistic, count, 0))


def bootstrap_difference(statistics: tuple[Statistic, Statistic], counts: tuple[int, int]) -> Interval:
    """Return the second statistic minus the first, of different seeds, and its 95 % bootstrap interval.

    Args:
        statistics: Functions of the indices of drawn seeds, ``(..., seeds)``.
        counts: Numbers of seeds.
    """
    first, second = (statistic(np.arange(count)) for statistic, count in zip(statistics, counts, strict=True))
    draws = [_draws(statistic, count, i) for i, (statistic, count) in enumerate(zip(statistics, counts, strict=True))]
    return _interval(second - first, draws[1] - draws[0])


def _draws(statistic: Statistic, count: int, seed: int) -> Array:
    generator = np.random.default_rng(seed)
    return statistic(generator.integers(count, size=(DRAWS, count)))


def _interval(estimate: Array, draws: Array) -> Interval:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of columns without a number, whose interval is NaN
        low, high = np.nanpercentile(draws, [2.5, 97.5], axis=0)
    return np.asarray(estimate, dtype=np.float64), low, high
