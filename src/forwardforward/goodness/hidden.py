"""A per-class goodness with a hidden layer of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from forwardforward._utils.arguments import PositiveInt, checked
from forwardforward._utils.memory import check_memory
from forwardforward._utils.numerics import accumulator
from forwardforward.goodness.per_class import LearnedProjection, PerClassGoodness
from forwardforward.normalization import BatchNorm
from forwardforward.specs import LayerSpec


@checked
class HiddenProjection(PerClassGoodness):
    r"""A hidden layer and a linear map of the activations, :math:`g = M \max(0, \mathrm{BN}(U h))`, both learned.

    A linear goodness requires activations in which the classes are already linearly separable. A hidden layer lifts
    this requirement from the early layers. The gradient crosses the hidden layer of the goodness and no other layer of
    the network, so updates stay local.

    Args:
        num_classes: Number of classes ``K``.
        hidden: Number of hidden units.
        pool: Module from maps or sequences to rows, such as ``SpatialPool(2)``; default: flatten.

    Raises:
        ValueError: If the number of activations per sample changes.

    Source: the auxiliary networks of Belilovsky, Eickenberg and Oyallon, Decoupled Greedy Learning of CNNs (ICML 2020),
    arXiv 1901.08164.

    Example:
        >>> import torch
        >>> HiddenProjection(3, hidden=5)(torch.rand(2, 8)).shape
        torch.Size([2, 3])
    """

    linear: nn.Linear | None

    def __init__(
        self, num_classes: PositiveInt, hidden: PositiveInt = 128, pool: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        super().__init__(num_classes)
        self.hidden = hidden
        self.pool = nn.Flatten() if pool is None else pool
        self.normalization = BatchNorm(affine=True)
        self.projection = LearnedProjection(num_classes)
        self.linear = None

    def setup(self, spec: LayerSpec) -> None:
        """Create the hidden layer and the projection.

        Args:
            spec: Shape of the activations.
        """
        features = self.pool(spec.zeros()).shape[1]
        if self.linear is None or self.linear.in_features != features:
            check_memory("hidden", self.hidden, features)
            self.linear = nn.Linear(features, self.hidden, bias=False)  # the normalization has a bias
            of_hidden = replace(spec, shape=(self.hidden,))
            self.normalization.setup(of_hidden)
            self.projection.setup(of_hidden)
            self.train(self.training)

    def forward(self, activations: Tensor) -> Tensor:
        """Return the goodness, ``(batch, classes)``."""
        if self.linear is None:  # used alone
            self.setup(LayerSpec.of(activations))
            self.to(activations.device, accumulator(activations))
        assert self.linear is not None
        rows = self.pool(activations)
        if rows.shape[1] != self.linear.in_features:
            hint = "" if activations.dim() == 2 else "; pool=SpatialPool(size) accepts maps of any size"
            raise ValueError(
                f"activations must have {self.linear.in_features} values per sample, got {rows.shape[1]}{hint}"
            )
        dtype = self.linear.weight.dtype  # also that of the normalization's parameters
        hidden = self.linear(rows.to(dtype)).to(dtype)
        values: Tensor = self.projection(torch.relu(self.normalization(hidden)))
        return values

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"{super().extra_repr()}, hidden={self.hidden}"
