"""Goodness: what a layer's activations are worth.

A *scalar* goodness maps activations of shape ``(batch, ...)`` to one number a sample, ``(batch,)``; pair
objectives compare it between positive and negative samples. A *per-class* goodness maps them to one number a
class, ``(batch, classes)``; class objectives read it as logits.

Any callable with one of these signatures serves. A module may also offer ``scale(features)``, the goodness of
a sample whose activations all have magnitude one (thresholds of ``theta="width"`` are set to it), and
``bind(features)``, called once with the layer's number of features (parameters are shaped there).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from forwardforward.pooling import SpatialPool

__all__ = [
    "L1",
    "ClassGroups",
    "Goodness",
    "LearnedProjection",
    "Lp",
    "MeanActivation",
    "MeanOfSquares",
    "MeanOfSquaresByPosition",
    "Negated",
    "PerClassGoodness",
    "Prototypes",
    "RandomProjection",
    "SumOfSquares",
    "TopK",
]


def _accumulator(activations: Tensor) -> torch.dtype:
    """Goodness is summed in float32 at least: bfloat16 keeps three digits, too few for a sum over a layer."""
    return torch.promote_types(activations.dtype, torch.float32)


class _SquaredNorm(torch.autograd.Function):
    """Sum of squares a sample: one read forward and one pass backward (autograd's own square needs four)."""

    @staticmethod
    def forward(ctx: Any, activations: Tensor) -> Tensor:
        ctx.save_for_backward(activations)
        rest = tuple(range(1, activations.dim()))  # not flattened: maps whose channels come last would be copied
        norm: Tensor = torch.linalg.vector_norm(activations, dim=rest, dtype=_accumulator(activations))
        return norm.square()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        activations: Tensor
        (activations,) = ctx.saved_tensors
        factor = (2 * grads[0]).to(activations.dtype)
        return activations * factor.reshape(-1, *[1] * (activations.dim() - 1))


_squared_norm: Callable[[Tensor], Tensor] = _SquaredNorm.apply


class Goodness(nn.Module):
    """Base of the scalar goodness functions: ``(batch, ...)`` to ``(batch,)``."""

    def forward(self, activations: Tensor) -> Tensor:
        """Return the goodness of each sample.

        Args:
            activations: What the layer put out, ``(batch, ...)``.

        Returns:
            One number a sample, ``(batch,)``, in float32 or finer.
        """
        raise NotImplementedError

    def scale(self, features: int) -> float:
        """Goodness of a sample whose ``features`` activations all have magnitude one."""
        raise NotImplementedError


class SumOfSquares(Goodness):
    r"""Hinton's goodness, :math:`g = \sum_j h_j^2`.

    Its scale is the number of features, so ``theta="width"`` is Hinton's threshold.

    Source: Hinton, The Forward-Forward Algorithm (2022), arXiv 2212.13345.
    """

    def forward(self, activations: Tensor) -> Tensor:
        """Return the sum of squared activations of each sample, ``(batch,)``."""
        return _squared_norm(activations)

    def scale(self, features: int) -> float:
        """Return ``features``."""
        return float(features)


class MeanOfSquares(Goodness):
    r"""Mean of squared activations, :math:`g = \frac1N \sum_j h_j^2`; its scale is 1 at any width.

    Source: Dooms et al., The Trifecta (2023), arXiv 2311.18130, and most public programs.
    """

    def forward(self, activations: Tensor) -> Tensor:
        """Return the mean of squared activations of each sample, ``(batch,)``."""
        return _squared_norm(activations) / activations[0].numel()

    def scale(self, features: int) -> float:
        """Return 1."""
        return 1.0


class MeanActivation(Goodness):
    r"""Mean of the activations themselves, :math:`g = \frac1N \sum_j h_j`; its scale is 1.

    Source: Sun et al., DeeperForward (ICLR 2025).
    """

    def forward(self, activations: Tensor) -> Tensor:
        """Return the mean activation of each sample, ``(batch,)``."""
        return activations.flatten(1).mean(1, dtype=_accumulator(activations))

    def scale(self, features: int) -> float:
        """Return 1."""
        return 1.0


class Lp(Goodness):
    r"""The p-norm of the activations, :math:`g = (\sum_j |h_j|^p)^{1/p}`; its scale is :math:`N^{1/p}`.

    Args:
        p: Order of the norm, at least 1; ``math.inf`` gives the largest magnitude.

    Raises:
        ValueError: If ``p`` is below 1.

    Source: the norms compared by Tosato et al., Emergent representations in networks trained with the
    Forward-Forward algorithm (2023), arXiv 2305.18353.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not p >= 1:
            raise ValueError(f"p must be at least 1, got {p}")
        self.p = float(p)

    def forward(self, activations: Tensor) -> Tensor:
        """Return the p-norm of each sample's activations, ``(batch,)``."""
        rows = activations.flatten(1)
        norm: Tensor = torch.linalg.vector_norm(rows, self.p, dim=1, dtype=_accumulator(activations))
        return norm

    def scale(self, features: int) -> float:
        """Return ``features ** (1 / p)``."""
        return float(features ** (1 / self.p))

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"p={self.p}"


class L1(Lp):
    r"""Sum of magnitudes, :math:`g = \sum_j |h_j|`; its scale is the number of features."""

    def __init__(self) -> None:
        super().__init__(1.0)

    def extra_repr(self) -> str:
        """Return nothing: there are no arguments."""
        return ""


class TopK(Goodness):
    r"""Mean of squares over the ``k`` strongest activations, :math:`g = \frac1k \sum_{j \in \mathrm{top}_k} h_j^2`.

    Args:
        k: How many activations count: a whole number, or a share of the layer between 0 and 1 (at least five
            activations are then taken, or all where there are fewer).

    Raises:
        ValueError: If ``k`` is neither a positive integer nor a share in (0, 1).

    Source: the selective goodness of arXiv 2604.13081, which takes ``max(5, 0.02 N)``.
    """

    def __init__(self, k: float = 0.02) -> None:
        super().__init__()
        if not k > 0 or not (k < 1 or float(k).is_integer()):
            raise ValueError(f"k must be a positive integer or a share between 0 and 1, got {k}")
        self.k = k

    def forward(self, activations: Tensor) -> Tensor:
        """Return the mean of squares over each sample's ``k`` strongest activations, ``(batch,)``."""
        squares = activations.flatten(1).to(_accumulator(activations)).square()
        features = squares.shape[1]
        k = int(self.k) if self.k >= 1 else max(5, round(self.k * features))
        return squares.topk(min(k, features), dim=1, sorted=False).values.mean(1)

    def scale(self, features: int) -> float:
        """Return 1."""
        return 1.0

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"k={self.k}"


class Negated(Goodness):
    r"""Minus another goodness, :math:`g = -g'`: positive samples are *minimised*, as in predictive coding.

    Its scale is minus the other's, so that ``theta="width"`` stays satisfiable: positive samples shall fall
    below :math:`\theta'`, negative ones rise above it.

    Args:
        goodness: The goodness to negate.

    Source: Hinton (2022), section on minimising the sum of squares; Ororbia and Mali, The Predictive
    Forward-Forward Algorithm (2023), arXiv 2301.01452.
    """

    def __init__(self, goodness: Goodness) -> None:
        super().__init__()
        self.goodness = goodness

    def forward(self, activations: Tensor) -> Tensor:
        """Return minus the inner goodness of each sample, ``(batch,)``."""
        goodness: Tensor = self.goodness(activations)
        return -goodness

    def scale(self, features: int) -> float:
        """Return minus the inner goodness's scale."""
        return -self.goodness.scale(features)


class PerClassGoodness(nn.Module):
    """Base of the per-class goodness functions: ``(batch, ...)`` to ``(batch, classes)``.

    Args:
        num_classes: Number of classes.

    Raises:
        ValueError: If ``num_classes`` is below 2.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"num_classes must be at least 2, got {num_classes}")
        self.num_classes = num_classes

    def forward(self, activations: Tensor) -> Tensor:
        """Return the goodness of each sample for each class.

        Args:
            activations: What the layer put out, ``(batch, ...)``.

        Returns:
            One number a class, ``(batch, classes)``.
        """
        raise NotImplementedError

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"num_classes={self.num_classes}"


class MeanOfSquaresByPosition(MeanOfSquares):
    r"""Mean of squares over the channels at each position of a map, :math:`g_{xy} = \frac1C \sum_c h_{cxy}^2`.

    A pair loss then compares position with position. Its scale is 1.

    Source: Chen et al., Self-Contrastive Forward-Forward (Nature Communications 16, 2025).
    """

    def forward(self, activations: Tensor) -> Tensor:
        """Return ``(batch, height, width)`` of maps ``(batch, channels, height, width)``."""
        return activations.to(_accumulator(activations)).square().mean(1)


class ClassGroups(PerClassGoodness):
    r"""The features (for images, the channels) in one group a class, each with a scalar goodness of its own.

    Group :math:`k` of ``C`` features holds features :math:`kC/K` to :math:`(k+1)C/K - 1`; with the mean of
    squares, :math:`g_k = \frac{K}{C} \sum_{j \in \mathrm{group}_k} h_j^2`, also averaged over space.

    Args:
        num_classes: Number of classes ``K``; the layer's features must be a multiple of it.
        goodness: Scalar goodness of a group; the mean of squares unless given. ``MeanActivation()`` gives
            DeeperForward's.

    Raises:
        ValueError: In a stack or on forward, if the number of features is not a multiple of ``num_classes``.

    Source: Papachristodoulou et al., Convolutional Channel-wise Competitive Learning for the Forward-Forward
    Algorithm (AAAI 2024), arXiv 2312.12668.
    """

    def __init__(self, num_classes: int, goodness: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__(num_classes)
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
            values = activations.square() if isinstance(self.goodness, MeanOfSquares) else activations
            rest = tuple(range(2, activations.dim()))
            means = values.mean(rest, dtype=_accumulator(activations)) if rest else values.to(_accumulator(activations))
            return means.view(batch, self.num_classes, -1).mean(2)
        groups = activations.reshape(batch * self.num_classes, features // self.num_classes, -1)
        return self.goodness(groups).view(batch, self.num_classes)


class _Projected(PerClassGoodness):
    """Goodness through a matrix ``(classes, features)`` that is shaped once the layer's width is known."""

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
        return rows


class LearnedProjection(_Projected):
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

    def forward(self, activations: Tensor) -> Tensor:
        """Return ``activations @ weight.T``, ``(batch, classes)``."""
        return nn.functional.linear(self._rows(activations), self.weight)


class RandomProjection(_Projected):
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

    def forward(self, activations: Tensor) -> Tensor:
        """Return ``activations @ weight.T``, ``(batch, classes)``."""
        return nn.functional.linear(self._rows(activations), self.weight)


class Prototypes(_Projected):
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
        return self.factor * nn.functional.linear(rows, nn.functional.normalize(self.weight, dim=1))

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"{super().extra_repr()}, scale={self.factor}"
