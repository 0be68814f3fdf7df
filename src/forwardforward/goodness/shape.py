"""Goodness functions of the shape of the activity: its largest values, or how heavy its tails are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from forwardforward._utils.arguments import PositiveFloat, PositiveInt, checked
from forwardforward._utils.numerics import accumulator
from forwardforward.goodness.scalar import Goodness
from forwardforward.specs import LayerSpec, setup_plugin


class EntmaxEnergy(Goodness):
    r"""Squares weighted by a sparse softmax of the activations, :math:`g = \sum_j \pi_j h_j^2`.

    :math:`\pi` is the 1.5-entmax of the activations, :math:`\pi_j = \max(0, h_j / 2 - \tau)^2` with :math:`\tau` such
    that the weights sum to one: most of them are zero, and those of the largest activations are not.

    Source: Akkuş et al., Selectivity and Shape in the Design of Forward-Forward Goodness Functions (2026), arXiv
    2604.13081; 1.5-entmax by sorting as in Peters et al. (2019), arXiv 1905.05702.

    Example:
        >>> EntmaxEnergy()(torch.tensor([[4.0, 0.0, 0.0], [1.0, 1.0, 1.0]])).round()
        tensor([16.,  1.])
    """

    lowest = 0.0

    def forward(self, activations: Tensor) -> Tensor:
        """Return the goodness of each sample, ``(batch,)``."""
        rows = activations.flatten(1).to(accumulator(activations))
        return (entmax15(rows) * rows.square()).sum(1)

    def scale(self, features: int) -> float:
        """Return 1: the weights sum to one."""
        return 1.0


@checked
class Burstiness(Goodness):
    r"""Excess kurtosis of a sample's activations, which does not depend on their scale.

    .. math:: g = \frac{\mathrm{mean}_j (h_j - \bar h)^4}{(\mathrm{mean}_j (h_j - \bar h)^2 + \epsilon)^2} - 3

    Args:
        eps: :math:`\epsilon`, in units of squared activation.

    Source: Akkuş et al., Selectivity and Shape in the Design of Forward-Forward Goodness Functions (2026), arXiv
    2604.13081.

    Example:
        >>> Burstiness()(torch.tensor([[1.0, -1.0, 1.0, -1.0]])).round()
        tensor([-2.])
    """

    def __init__(self, eps: PositiveFloat = 1e-6) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, activations: Tensor) -> Tensor:
        """Return the goodness of each sample, ``(batch,)``."""
        rows = activations.flatten(1).to(accumulator(activations))
        squares = (rows - rows.mean(1, keepdim=True)).square()
        return squares.square().mean(1) / (squares.mean(1) + self.eps).square() - 3

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"eps={self.eps}"


def entmax15(rows: Tensor) -> Tensor:
    """Return the 1.5-entmax of each row, weights that sum to one, most of them zero.

    Args:
        rows: ``(batch, features)``, in single precision at least.
    """
    z = (rows - rows.amax(1, keepdim=True)) / 2
    ordered = z.sort(dim=1, descending=True).values
    count = torch.arange(1, rows.shape[1] + 1, device=rows.device, dtype=rows.dtype)
    mean, square = ordered.cumsum(1) / count, ordered.square().cumsum(1) / count
    # The threshold if the first `count` values have a weight; the support is the largest count whose values exceed it.
    root = ((1 - count * (square - mean.square())) / count).clamp(min=0)
    threshold = mean - torch.where(root > 0, root, 1).sqrt() * (root > 0)
    support = (threshold <= ordered).sum(1, keepdim=True)
    return (z - threshold.gather(1, support - 1)).clamp(min=0).square()


@checked
class WithoutLabel(Goodness):
    """Another goodness of all features but the last, which are a label's code.

    Args:
        num_classes: Number of columns of the code, one per class.
        goodness: Scalar goodness of the other features.

    Raises:
        ValueError: If no feature is left.

    Example:
        >>> import forwardforward as ff
        >>> WithoutLabel(2, ff.goodness.SumOfSquares())(torch.tensor([[3.0, 0.0, 1.0]]))
        tensor([9.])
    """

    def __init__(self, num_classes: PositiveInt, goodness: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.goodness = goodness

    def setup(self, spec: LayerSpec) -> None:
        """Set up the goodness of the other features.

        Args:
            spec: Shape of the activations.
        """
        if spec.features <= self.num_classes:
            raise ValueError(
                f"num_classes must be below the number of features, {spec.features}, got {self.num_classes}"
            )
        setup_plugin(self.goodness, replace(spec, shape=(spec.features - self.num_classes, *spec.shape[1:])))

    def forward(self, activations: Tensor) -> Tensor:
        """Return the goodness of each sample, ``(batch,)``."""
        return self.goodness(activations[:, : -self.num_classes])

    @property
    def lowest(self) -> float | None:  # type: ignore[override]
        """Lowest goodness of the other features."""
        return self.goodness.lowest if isinstance(self.goodness, Goodness) else None

    def scale(self, features: int) -> float:
        """Return the scale of the goodness of the other features."""
        if not isinstance(self.goodness, Goodness):
            raise NotImplementedError
        return self.goodness.scale(features - self.num_classes)

    def extra_repr(self) -> str:
        """Return the number of classes."""
        return f"num_classes={self.num_classes}"
