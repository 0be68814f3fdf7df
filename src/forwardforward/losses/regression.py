"""Losses of real-valued targets."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from forwardforward._utils.arguments import PositiveFloat, Range, checked
from forwardforward._utils.numerics import accumulator
from forwardforward.losses.base import ClassLoss
from forwardforward.targets import RealValues

__all__ = ["OrdinalCrossEntropy", "SquaredError"]


@checked
class OrdinalCrossEntropy(ClassLoss):
    r"""Ordinal goodness for regression: neighboring bins of the target compete, and near bins are nearly right.

    Output :math:`k` of a per-class goodness, such as a group of neurons, stands for a bin with center :math:`c_k`
    between ``low`` and ``high``. The target :math:`y` becomes a distribution that falls with the distance,

    .. math:: t_{ik} \propto \exp \frac{-(y_i - c_k)^2}{2 (w d)^2}, \qquad
              L = -\frac1B \sum_{ik} t_{ik} \log \mathrm{softmax}(g_i / T)_k

    with the distance :math:`d` between bins, so that the goodness of a bin measures how near the target is. The
    prediction
    is the mean of the centers under :math:`\mathrm{softmax}(g / T)`. A larger ``width`` in early layers is the coarse
    to fine order of the source.

    Networks scale their targets to mean 0 and standard deviation 1 on the training data
    (:class:`~forwardforward.targets.TargetScaling`), so the bins are in units of the standard deviation. Targets beyond
    the outer bins count as those of the outer bins.

    Args:
        low: Center of the first bin.
        high: Center of the last bin.
        width: :math:`w`, standard deviation of the distribution in bins.
        temperature: :math:`T`, in units of goodness.

    Raises:
        ValueError: If ``high`` is not above ``low``, or an argument is out of its range.

    Source: the idea of groups of neurons that compete under supervision by distance, FFR (2026), arXiv 2606.03927,
    whose exact formulas were not available.

    Example:
        >>> loss = OrdinalCrossEntropy(low=0.0, high=2.0, width=0.5)
        >>> near, far = torch.tensor([[0.0, 4.0, 0.0]]), torch.tensor([[4.0, 0.0, 0.0]])
        >>> bool(loss(near, torch.tensor([1.0])) < loss(far, torch.tensor([1.0])))
        True
    """

    def __init__(
        self,
        low: Annotated[float, Range()] = -3.0,
        high: Annotated[float, Range()] = 3.0,
        width: PositiveFloat = 1.0,
        temperature: PositiveFloat = 1.0,
    ) -> None:
        super().__init__()
        self.low = low
        self.high = high
        self.width = width
        self.temperature = temperature
        self.target_kind = RealValues(low, high)

    def soft_targets(self, targets: Tensor, bins: int) -> Tensor:
        """Return the distribution over the bins for each target, ``(batch, bins)``.

        Args:
            targets: Scaled targets, ``(batch,)``.
            bins: Number of bins.
        """
        position = ((targets - self.low) * ((bins - 1) / (self.high - self.low))).clamp(0, bins - 1)
        distance = position[:, None] - torch.arange(bins, device=targets.device)
        return (-(distance / self.width).square() / 2).softmax(1)

    def forward(self, goodness: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of goodness ``(batch, bins)`` against real numbers ``(batch,)``."""
        scores = self.scores(goodness)
        return F.cross_entropy(scores, self.soft_targets(targets.to(scores.dtype), scores.shape[1]))

    def scores(self, goodness: Tensor) -> Tensor:
        """Return the goodness in units of the temperature."""
        return goodness.to(accumulator(goodness)) / self.temperature

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"low={self.low}, high={self.high}, width={self.width}, temperature={self.temperature}"


@checked
class SquaredError(ClassLoss):
    r"""Mean squared error of goodness that is the prediction itself, :math:`L = \mathrm{mean} (g_{ij} - y_{ij})^2`.

    For local objectives with several values per sample, and for baselines. Networks scale their targets to mean 0 and
    standard deviation 1 on the training data. A goodness by
    :class:`~forwardforward.goodness.Prototypes` is the cosine of the source.

    Source: the regression of FFzero (2026), arXiv 2603.24790, with any goodness in place of the cosine with a fixed
    vector.

    Example:
        >>> SquaredError()(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 0.0]]))
        tensor(2.)
    """

    target_kind = RealValues()

    def forward(self, goodness: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of goodness ``(batch, values)`` against real numbers ``(batch, values)``."""
        values = goodness.to(accumulator(goodness))
        return F.mse_loss(values, targets.to(values.dtype))
