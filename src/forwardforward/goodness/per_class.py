"""Per-class goodness: one number per class, from groups of features, projections or prototypes."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from forwardforward._utils.checks import check_num_classes
from forwardforward._utils.numerics import accumulator, full_precision
from forwardforward.goodness.by_position import GoodnessByPosition
from forwardforward.goodness.scalar import MeanActivation, MeanOfSquares, squared_norm
from forwardforward.pooling import SpatialPool


class PerClassGoodness(nn.Module):
    """Base of the per-class goodness functions: ``(batch, ...)`` to ``(batch, classes)``.

    Args:
        num_classes: Number of classes.

    Raises:
        ValueError: If ``num_classes`` is below 2.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = check_num_classes(num_classes)

    def forward(self, activations: Tensor) -> Tensor:
        """Return the goodness of each sample for each class.

        Args:
            activations: What the layer put out, ``(batch, ...)``.

        Returns:
            One number per class, ``(batch, classes)``.
        """
        raise NotImplementedError

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"num_classes={self.num_classes}"


class ClassGroups(PerClassGoodness):
    r"""The features (for images, the channels) in one group a class, each with a scalar goodness of its own.

    Group :math:`k` of ``C`` features holds features :math:`kC/K` to :math:`(k+1)C/K - 1`; with the mean of
    squares, :math:`g_k = \frac{K}{C} \sum_{j \in \mathrm{group}_k} h_j^2`, also averaged over space.

    Args:
        num_classes: Number of classes ``K``; the layer's features must be a multiple of it.
        goodness: Scalar goodness of a group; the mean of squares unless given. ``MeanActivation()`` gives
            DeeperForward's.

    Raises:
        ValueError: If ``goodness`` is one by position or one per class. In a stack or on forward, if the number of
            features is not a multiple of ``num_classes``.

    Source: Papachristodoulou et al., Convolutional Channel-wise Competitive Learning for the Forward-Forward
    Algorithm (AAAI 2024), arXiv 2312.12668.
    """

    def __init__(self, num_classes: int, goodness: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__(num_classes)
        if isinstance(goodness, GoodnessByPosition | PerClassGoodness):
            raise ValueError(f"goodness must be one number a group, such as MeanOfSquares(), got {goodness}")
        self.goodness = MeanOfSquares() if goodness is None else goodness

    def bind(self, features: int | None) -> None:
        """Refuse a layer whose features are no equal groups; called by the layer."""
        if features is not None and features % self.num_classes:
            raise ValueError(
                "num_classes must divide the layer's features into equal groups, "
                f"got {self.num_classes} classes for {features} features"
            )

    def forward(self, activations: Tensor) -> Tensor:
        """Return the goodness of each sample's class groups, ``(batch, classes)``."""
        batch, features = activations.shape[:2]
        self.bind(features)
        if type(self.goodness) in (MeanOfSquares, MeanActivation):  # space first: less to hold, and no copy of maps
            return self._over_space(activations).view(batch, self.num_classes, -1).mean(2)
        groups = activations.reshape(batch * self.num_classes, features // self.num_classes, -1)
        return self.goodness(groups).view(batch, self.num_classes)

    def _over_space(self, activations: Tensor) -> Tensor:
        """Return each feature's mean of squares, or mean, ``(batch, features)``."""
        precise = accumulator(activations)
        squares = isinstance(self.goodness, MeanOfSquares)
        if activations.dim() == 2:
            return activations.to(precise).square() if squares else activations.to(precise)
        if squares:
            return squared_norm(activations, 2) / activations[0, 0].numel()
        return activations.mean(tuple(range(2, activations.dim())), dtype=precise)


class _Projection(PerClassGoodness):
    """A linear map by a matrix ``(classes, features)`` that is shaped once the layer's width is known."""

    weight: Tensor

    def __init__(self, num_classes: int, features: int | None = None, pool: SpatialPool | None = None) -> None:
        super().__init__(num_classes)
        self.features = features
        self.pool = pool
        if features is not None:
            self._shape(features)

    def bind(self, features: int | None) -> None:
        """Shape the matrix for a layer of ``features`` features (channels); called by the layer."""
        if self.features is None:
            if features is None:
                raise ValueError(
                    f"features must be given, {type(self).__name__}({self.num_classes}, features=...), "
                    "for a block whose width the layer does not know"
                )
            self.features = features if self.pool is None else self.pool.features(features)
            self._shape(self.features)

    def forward(self, activations: Tensor) -> Tensor:
        """Return ``activations @ weight.T``, ``(batch, classes)``."""
        return self._product(self._rows(activations), self.weight)

    @staticmethod
    def _product(rows: Tensor, weight: Tensor) -> Tensor:
        with full_precision(rows):
            return nn.functional.linear(rows, weight.to(rows.dtype))

    def _shape(self, features: int) -> None:
        raise NotImplementedError

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"{self.num_classes}, features={self.features}"

    def _rows(self, activations: Tensor) -> Tensor:
        rows = activations.flatten(1) if self.pool is None else self.pool(activations)
        if self.features is None:
            raise ValueError(f"{type(self).__name__} has no features yet: pass features= or put it into a layer")
        if rows.shape[1] != self.features:
            hint = "" if self.pool or activations.dim() == 2 else "; give pool=SpatialPool(size), or features="
            raise ValueError(f"activations must have {self.features} features a sample, got {rows.shape[1]}{hint}")
        return rows.to(accumulator(rows))


class LearnedProjection(_Projection):
    r"""A learned linear map of the activations, :math:`g = M h`, learned with its layer.

    Args:
        num_classes: Number of classes ``K``.
        features: Number of activations a sample, pooled where they are; taken from the layer where that knows its
            width.
        pool: How maps become rows, such as ``SpatialPool(2)``; all their activations count unless given.

    Raises:
        ValueError: If the width is unknown or, on forward, not the activations'.

    Source: Gong et al., Mono-Forward (2025), arXiv 2501.09238.
    """

    def _shape(self, features: int) -> None:
        bound = 1 / math.sqrt(features)
        self.weight = nn.Parameter(torch.empty(self.num_classes, features).uniform_(-bound, bound))


class RandomProjection(_Projection):
    r"""A fixed random linear map, :math:`g = R h` with :math:`R_{kj} \sim N(0, 1/N)`, kept in the state.

    Args:
        num_classes: Number of classes ``K``.
        features: Number of activations a sample, pooled where they are; taken from the layer where that knows its
            width.
        pool: How maps become rows, such as ``SpatialPool(2)``; all their activations count unless given.

    Raises:
        ValueError: If the width is unknown or, on forward, not the activations'.

    Source: ASGE (2025), arXiv 2509.12394.
    """

    def _shape(self, features: int) -> None:
        self.register_buffer("weight", torch.randn(self.num_classes, features) / math.sqrt(features))


class Prototypes(_Projection):
    r"""Cosine to a learned prototype a class, :math:`g_k = s \cos(h, p_k)`.

    Args:
        num_classes: Number of classes ``K``.
        features: Number of activations a sample, pooled where they are; taken from the layer where that knows its
            width.
        pool: How maps become rows, such as ``SpatialPool(2)``; all their activations count unless given.
        scale: The factor :math:`s` that spreads the cosines for a softmax; 16 unless given.

    Raises:
        ValueError: If the width is unknown or, on forward, not the activations'.

    Source: HFF (2026), arXiv 2605.00082.
    """

    def __init__(
        self,
        num_classes: int,
        features: int | None = None,
        pool: SpatialPool | None = None,
        scale: float = 16.0,
    ) -> None:
        super().__init__(num_classes, features, pool)
        self.factor = scale

    def _shape(self, features: int) -> None:
        self.weight = nn.Parameter(torch.randn(self.num_classes, features) / math.sqrt(features))

    def forward(self, activations: Tensor) -> Tensor:
        """Return the scaled cosines, ``(batch, classes)``."""
        rows = nn.functional.normalize(self._rows(activations), dim=1)
        return self.factor * self._product(rows, nn.functional.normalize(self.weight, dim=1))

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"{super().extra_repr()}, scale={self.factor}"
