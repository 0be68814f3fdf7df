"""Real numbers: regression."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from forwardforward._utils.arguments import Range, checked
from forwardforward._utils.checks import all_finite
from forwardforward._utils.numerics import accumulator, full_precision
from forwardforward.targets.kind import TargetKind

__all__ = ["RealValues"]


@checked
@dataclass(frozen=True)
class RealValues(TargetKind):
    r"""Real numbers, ``(N,)``, or ``(N, values)`` for several per sample. The error is the root mean squared error.

    Scores are the values themselves, or, with ``low`` and ``high``, logits of :math:`K` bins with centers
    :math:`c_k = \mathrm{low} + \frac{k}{K - 1} (\mathrm{high} - \mathrm{low})`, and the prediction is their mean
    :math:`\sum_k \mathrm{softmax}(s)_k \, c_k`.

    Args:
        low: Center of the first bin, in units of the scaled targets; None for scores that are values.
        high: Center of the last bin.

    Raises:
        ValueError: If only one of them is given, or ``high`` is not above ``low``.

    Example:
        >>> RealValues(low=0.0, high=2.0).decide(torch.tensor([[0.0, 9.0, 0.0]]))
        tensor([1.])
        >>> RealValues().check(torch.tensor([1.5, 2.0]), samples=2, outputs=1)
        tensor([[1.5000],
                [2.0000]])
    """

    low: Annotated[float, Range()] | None = None
    high: Annotated[float, Range()] | None = None

    metric: ClassVar[str] = "RMSE"
    unit: ClassVar[str] = ""
    mixes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if (self.low is None) != (self.high is None):
            raise ValueError(f"low and high must both be given or both be None, got {self.low} and {self.high}")
        if self.low is not None and self.high is not None and self.high <= self.low:
            raise ValueError(f"high must be above low={self.low}, got {self.high}")

    def check(self, targets: Tensor, samples: int, outputs: int | None, values: bool = True) -> Tensor:
        """Return the values in single precision or more, ``(N,)`` for bins, else ``(N, outputs)``."""
        if not targets.is_floating_point():
            is_integer = not targets.is_complex() and targets.dtype != torch.bool
            remedy = "; targets.float() converts them" if is_integer else ""
            raise TypeError(f"targets must be real numbers of a floating type, got {targets.dtype}{remedy}")
        shape = tuple(targets.shape)
        rows = targets[:, None] if targets.dim() == 1 else targets
        columns = 1 if self.low is not None else outputs
        if rows.dim() != 2 or len(rows) != samples or (columns is not None and rows.shape[1] != columns):
            remedy = "; SquaredError() accepts several per sample" if self.low is not None and len(shape) == 2 else ""
            numbers = "one number" if columns == 1 else f"{columns} numbers"
            raise ValueError(f"targets must be {numbers} per sample, {samples} samples, got shape {shape}{remedy}")
        rows = rows.to(accumulator(rows))
        if values and not all_finite(rows):
            raise ValueError("targets must be finite, got NaN or infinity")
        return rows if self.low is None else rows.squeeze(1)

    def example(self, like: Tensor) -> Tensor:
        """Return zeros."""
        return like.new_zeros((2, like.shape[1]) if self.low is None else (2,)).to(accumulator(like))

    def centers(self, bins: int, like: Tensor) -> Tensor:
        """Return the centers of the bins, ``(bins,)``.

        Args:
            bins: Their number.
            like: A tensor whose dtype and device count.
        """
        assert self.low is not None
        assert self.high is not None
        steps = torch.arange(bins, device=like.device, dtype=like.dtype) / (bins - 1)
        return self.low + (self.high - self.low) * steps

    def count_outside(self, targets: Tensor) -> int:
        """Return the number of targets beyond the outer bins.

        Args:
            targets: Scaled targets.
        """
        if self.low is None or self.high is None:
            return 0
        return int(((targets < self.low) | (targets > self.high)).sum())

    def decide(self, scores: Tensor) -> Tensor:
        """Return the predicted values, in units of the scaled targets: ``(...)`` for bins, else ``(..., values)``."""
        scores = scores.to(accumulator(scores))
        if self.low is None:
            return scores
        with full_precision(scores):
            return scores.softmax(-1) @ self.centers(scores.shape[-1], scores)

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return the probability of each bin.

        Raises:
            ValueError: If the scores are values.
        """
        if self.low is None:
            raise ValueError("predict_proba needs bins, as those of OrdinalCrossEntropy, got a loss of values")
        return scores.softmax(-1)

    def mistakes(self, decisions: Tensor, targets: Tensor) -> Tensor:
        """Return the squared error of each sample, a sum over its values."""
        squares = (decisions.double() - targets.double()).square()
        return squares.sum(-1) if self.low is None else squares

    def error(self, total: float, samples: int, outputs: int) -> float:
        """Return the root mean squared error."""
        return math.sqrt(total / (samples * (1 if self.low is not None else outputs)))
