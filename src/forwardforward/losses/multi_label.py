"""Losses of several labels per sample."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor
from torch.nn import functional as F

from forwardforward._utils.arguments import PositiveFloat, Range, checked
from forwardforward._utils.numerics import accumulator
from forwardforward.losses.base import ClassLoss
from forwardforward.specs import LayerSpec
from forwardforward.targets import MultiLabel

__all__ = ["BinaryCrossEntropy"]


@checked
class BinaryCrossEntropy(ClassLoss):
    r"""Hinton's threshold for each label: goodness above it for labels that apply, below it for the others.

    .. math:: L = \frac1{BK} \sum_{ik} y_{ik} \, \mathrm{softplus}\frac{\theta - g_{ik}}{T}
              + (1 - y_{ik}) \, \mathrm{softplus}\frac{g_{ik} - \theta}{T}

    the binary cross-entropy of the probabilities :math:`\sigma((g_{ik} - \theta) / T)` against targets
    :math:`y_{ik} \in [0, 1]`. Each label's goodness is compared with the threshold, not with that of other labels, so
    any number of labels may apply.

    Args:
        theta: The threshold :math:`\theta`; 0 for projections, a positive number for goodness that is not negative,
            such as the mean of squares, since every label would apply to every sample otherwise.
        temperature: :math:`T`, in units of goodness.

    Raises:
        ValueError: If an argument is out of its range or, in a layer, ``theta`` is not above the lowest value of the
            layer's goodness.

    Source: the loss of Hinton (2022), arXiv 2212.13345, with the labels' goodness in place of positive and negative
    samples.

    Example:
        >>> import torch
        >>> BinaryCrossEntropy()(torch.tensor([[3.0, -3.0]]), torch.tensor([[1.0, 0.0]]))
        tensor(0.0486)
    """

    target_kind = MultiLabel()

    def __init__(self, theta: Annotated[float, Range()] = 0.0, temperature: PositiveFloat = 1.0) -> None:
        super().__init__()
        self.theta = theta
        self.temperature = temperature

    def setup(self, spec: LayerSpec) -> None:
        """Refuse a threshold that no goodness is below.

        Args:
            spec: The lowest goodness.
        """
        if spec.lowest is not None and self.theta <= spec.lowest:
            raise ValueError(f"theta must be above {spec.lowest:g}, the lowest goodness of any label, got {self.theta}")

    def forward(self, goodness: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of goodness ``(batch, labels)`` against labels ``(batch, labels)``."""
        scores = self.scores(goodness)
        return F.binary_cross_entropy_with_logits(scores, targets.to(scores.dtype))

    def scores(self, goodness: Tensor) -> Tensor:
        """Return the goodness above the threshold, in units of the temperature."""
        return (goodness.to(accumulator(goodness)) - self.theta) / self.temperature

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"theta={self.theta}, temperature={self.temperature}"
