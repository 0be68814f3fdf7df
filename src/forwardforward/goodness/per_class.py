"""Per-class goodness: one number per class, from groups of features, projections or prototypes."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from forwardforward._utils.annotations import describe
from forwardforward._utils.arguments import PositiveFloat, PositiveInt, checked
from forwardforward._utils.memory import check_memory
from forwardforward._utils.numerics import accumulator, full_precision
from forwardforward.goodness.by_position import GoodnessByPosition
from forwardforward.goodness.scalar import Goodness, MeanActivation, MeanOfSquares, squared_norm
from forwardforward.specs import LayerSpec, Plugin, setup_plugin


@checked
class PerClassGoodness(Plugin, nn.Module):
    """Base of the per-class goodness functions: ``(batch, ...)`` to ``(batch, classes)``.

    Args:
        num_classes: Number of classes; of labels, bins or values for other targets. Only values may be a single one.

    Attributes:
        lowest: Lowest value for any activations, for losses whose threshold must be above it; None if there is none, or
            it is not known.

    Raises:
        ValueError: If ``num_classes`` is below 1.

    Example:
        >>> class FirstFeatures(PerClassGoodness):
        ...     def forward(self, activations):
        ...         return activations[:, : self.num_classes]
        >>> FirstFeatures(3)(torch.zeros(2, 8)).shape
        torch.Size([2, 3])
    """

    lowest: float | None = None

    def __init__(self, num_classes: PositiveInt) -> None:
        super().__init__()
        self.num_classes = num_classes

    @abstractmethod
    def forward(self, activations: Tensor) -> Tensor:
        """Return the goodness of each sample for each class.

        Args:
            activations: Activations of the layer, ``(batch, ...)``.

        Returns:
            One number per class, ``(batch, classes)``.
        """
        raise NotImplementedError

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"num_classes={self.num_classes}"


@checked
class ClassGroups(PerClassGoodness):
    r"""Features (channels of images) in one group per class, each with its own scalar goodness.

    Group :math:`k` of ``C`` features consists of features :math:`kC/K` to :math:`(k+1)C/K - 1`; with the mean of
    squares, :math:`g_k = \frac{K}{C} \sum_{j \in \mathrm{group}_k} h_j^2`, also averaged over space.

    Args:
        num_classes: Number of classes ``K``, which must divide the layer's number of features.
        goodness: Scalar goodness of a group; default: the mean of squares. ``MeanActivation()`` is DeeperForward's.

    Raises:
        ValueError: If ``goodness`` is by position or per class, or ``num_classes`` does not divide the features.

    Source: Papachristodoulou et al., Convolutional Channel-wise Competitive Learning for the Forward-Forward
    Algorithm (AAAI 2024), arXiv 2312.12668.

    Example:
        >>> ClassGroups(2)(torch.tensor([[1.0, 1.0, 2.0, 2.0]]))
        tensor([[1., 4.]])
    """

    def __init__(self, num_classes: PositiveInt, goodness: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__(num_classes)
        if isinstance(goodness, GoodnessByPosition | PerClassGoodness):
            raise ValueError(
                f"goodness must be one number per group, such as MeanOfSquares(), got {describe(goodness)}"
            )
        self.goodness = MeanOfSquares() if goodness is None else goodness

    @property
    def lowest(self) -> float | None:  # type: ignore[override]
        """Lowest goodness of a group."""
        return self.goodness.lowest if isinstance(self.goodness, Goodness) else None

    def setup(self, spec: LayerSpec) -> None:
        """Check that the features divide into equal groups, and set up the goodness of a group.

        Args:
            spec: Shape of the activations.
        """
        self._check(spec.features)
        setup_plugin(
            self.goodness, replace(spec, shape=(spec.features // self.num_classes, *spec.shape[1:])), "goodness"
        )

    def _check(self, features: int) -> None:
        if features % self.num_classes:
            raise ValueError(
                "num_classes must divide the layer's features into equal groups, "
                f"got {self.num_classes} classes for {features} features"
            )

    def forward(self, activations: Tensor) -> Tensor:
        """Return the goodness of each sample's class groups, ``(batch, classes)``."""
        batch, features = activations.shape[:2]
        self._check(features)
        if type(self.goodness) in (MeanOfSquares, MeanActivation):  # space first: less memory, no copy of the maps
            return self._over_space(activations).view(batch, self.num_classes, -1).mean(2)
        groups = activations.reshape(batch * self.num_classes, features // self.num_classes, *activations.shape[2:])
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
    """A linear map with a matrix ``(classes, features)``, created when the size of the activations is known."""

    weight: Tensor | None

    def __init__(self, num_classes: PositiveInt, pool: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__(num_classes)
        self.pool = pool

    def setup(self, spec: LayerSpec) -> None:
        """Create the matrix.

        Args:
            spec: Shape of the activations.
        """
        rows = spec.zeros()
        features = (rows.flatten(1) if self.pool is None else self.pool(rows)).shape[1]
        if self.weight is None or self.weight.shape[1] != features:
            check_memory("num_classes", self.num_classes, features)
            self._create(features)

    def _create(self, features: int) -> None:
        raise NotImplementedError

    def forward(self, activations: Tensor) -> Tensor:
        """Return ``activations @ weight.T``, ``(batch, classes)``."""
        rows, weight = self._operands(activations)
        return self._product(rows, weight)

    @staticmethod
    def _product(rows: Tensor, weight: Tensor) -> Tensor:
        with full_precision(rows):
            return nn.functional.linear(rows, weight.to(rows.dtype))

    def _operands(self, activations: Tensor) -> tuple[Tensor, Tensor]:
        """Return the pooled activations as rows, and the matrix."""
        if self.weight is None:  # used alone
            self.setup(LayerSpec.of(activations))
            self.to(activations.device, accumulator(activations))
        assert self.weight is not None
        rows = activations.flatten(1) if self.pool is None else self.pool(activations)
        if rows.shape[1] != self.weight.shape[1]:
            hint = "" if self.pool or activations.dim() == 2 else "; pool=SpatialPool(size) accepts maps of any size"
            raise ValueError(
                f"activations must have {self.weight.shape[1]} values per sample, got {rows.shape[1]}{hint}"
            )
        return rows.to(accumulator(rows)), self.weight

    def extra_repr(self) -> str:
        """Return the constructor's arguments and the number of features."""
        return super().extra_repr() + ("" if self.weight is None else f", features={self.weight.shape[1]}")


@checked
class LearnedProjection(_Projection):
    r"""A linear map of the activations, :math:`g = M h`, learned with its layer.

    Args:
        num_classes: Number of classes ``K``.
        pool: Module from maps or sequences to rows, such as ``SpatialPool(2)``; default: flatten.
        init: Initial weights. ``"default"``: :math:`U(-n^{-1/2}, n^{-1/2})` for :math:`n` features; ``"zeros"``: the
            first gradient of the layer's own weights is zero, as in the program of Nøkland and Eidnes (2019).

    Raises:
        ValueError: If the number of activations per sample changes.

    Source: Gong et al., Mono-Forward (2025), arXiv 2501.09238.

    Example:
        >>> LearnedProjection(3)(torch.zeros(2, 8)).shape
        torch.Size([2, 3])
    """

    def __init__(
        self,
        num_classes: PositiveInt,
        pool: Callable[[Tensor], Tensor] | None = None,
        init: Literal["default", "zeros"] = "default",
    ) -> None:
        super().__init__(num_classes, pool)
        self.init = init
        self.register_parameter("weight", None)

    def _create(self, features: int) -> None:
        bound = 0.0 if self.init == "zeros" else 1 / math.sqrt(features)
        self.weight = nn.Parameter(torch.empty(self.num_classes, features).uniform_(-bound, bound))


@checked
class RandomProjection(_Projection):
    r"""A fixed random linear map, :math:`g = R h` with :math:`R_{kj} \sim N(0, 1/N)`, a buffer.

    Args:
        num_classes: Number of classes ``K``.
        pool: Module from maps or sequences to rows, such as ``SpatialPool(2)``; default: flatten.

    Raises:
        ValueError: If the number of activations per sample changes.

    Source: ASGE (2025), arXiv 2509.12394.

    Example:
        >>> RandomProjection(3)(torch.zeros(2, 8)).shape
        torch.Size([2, 3])
    """

    def __init__(self, num_classes: PositiveInt, pool: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__(num_classes, pool)
        self.register_buffer("weight", None)

    def _create(self, features: int) -> None:
        self.weight = torch.randn(self.num_classes, features) / math.sqrt(features)


@checked
class Prototypes(_Projection):
    r"""Cosine to one learned prototype per class, :math:`g_k = s \cos(h, p_k)`.

    Args:
        num_classes: Number of classes ``K``.
        pool: Module from maps or sequences to rows, such as ``SpatialPool(2)``; default: flatten.
        scale: The factor :math:`s`, which spreads the cosines for a softmax.

    Raises:
        ValueError: If the number of activations per sample changes.

    Source: HFF (2026), arXiv 2605.00082.

    Example:
        >>> bool(Prototypes(3)(torch.ones(2, 8)).abs().max() <= 16)
        True
    """

    def __init__(
        self, num_classes: PositiveInt, pool: Callable[[Tensor], Tensor] | None = None, scale: PositiveFloat = 16.0
    ) -> None:
        super().__init__(num_classes, pool)
        self.scale = scale
        self.register_parameter("weight", None)

    def _create(self, features: int) -> None:
        self.weight = nn.Parameter(torch.randn(self.num_classes, features) / math.sqrt(features))

    def forward(self, activations: Tensor) -> Tensor:
        """Return the scaled cosines, ``(batch, classes)``."""
        rows, weight = self._operands(activations)
        rows = nn.functional.normalize(rows, dim=1)
        return self.scale * self._product(rows, nn.functional.normalize(weight, dim=1))

    def extra_repr(self) -> str:
        """Return the constructor's arguments and the number of features."""
        return f"{super().extra_repr()}, scale={self.scale}"


@checked
class Logits(PerClassGoodness):
    """The activations themselves, of a layer with one output per class, such as the classifier of a network.

    Args:
        num_classes: Number of classes.

    Raises:
        ValueError: If the activations are not one number per class.

    Example:
        >>> Logits(3)(torch.tensor([[1.0, 2.0, 0.0]]))
        tensor([[1., 2., 0.]])
    """

    def forward(self, activations: Tensor) -> Tensor:
        """Return the activations, ``(batch, classes)``."""
        if activations.shape[1:] != (self.num_classes,):
            raise ValueError(
                f"num_classes must be the layer's number of outputs for Logits, got {self.num_classes} classes for "
                f"outputs of shape {tuple(activations.shape[1:])}"
            )
        return activations.to(accumulator(activations))
