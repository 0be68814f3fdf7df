"""Scalar goodness: one number per sample."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from forwardforward._utils.arguments import PositiveFloat, Range, checked
from forwardforward._utils.numerics import accumulator
from forwardforward.specs import LayerSpec, Plugin, setup_plugin

#: Largest order of a norm whose powers are computed without a factor: float32 contains 1e8 to 1e-8 to this power.
LARGEST_PLAIN_ORDER = 4.0


class _SquaredNorm(torch.autograd.Function):
    """Sums of squares with one read forward and one pass backward; autograd's own square needs four."""

    generate_vmap_rule = True

    @staticmethod
    def forward(activations: Tensor, kept_dims: int) -> Tensor:
        rest = tuple(range(kept_dims, activations.dim()))  # not flattened: channels_last maps would be copied
        norm: Tensor = torch.linalg.vector_norm(activations, dim=rest, dtype=accumulator(activations))
        return norm.square()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, int], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        activations: Tensor
        (activations,) = ctx.saved_tensors
        factor = (2 * grads[0]).to(activations.dtype)
        return activations * factor.reshape(*factor.shape, *[1] * (activations.dim() - factor.dim())), None


_apply: Callable[[Tensor, int], Tensor] = _SquaredNorm.apply


def squared_norm(activations: Tensor, kept_dims: int = 1) -> Tensor:
    """Return the sums of squares over all dimensions after the first ``kept_dims``."""
    if torch.compiler.is_compiling():  # the compiler fuses the plain operations
        rest = tuple(range(kept_dims, activations.dim()))
        return activations.to(accumulator(activations)).square().sum(rest)
    return _apply(activations, kept_dims)


class Goodness(Plugin, nn.Module):
    """Base of the scalar goodness functions: ``(batch, ...)`` to ``(batch,)``.

    A subclass implements :meth:`forward`, and :meth:`scale` for thresholds that depend on the layer's width.

    Attributes:
        lowest: Lowest value for any activations, for losses whose threshold must be above it; None if there is none, or
            it is not known.

    Example:
        >>> class Largest(Goodness):
        ...     def forward(self, activations):
        ...         return activations.flatten(1).amax(1)
        >>> Largest()(torch.tensor([[1.0, 3.0], [2.0, 0.0]]))
        tensor([3., 2.])
    """

    lowest: float | None = None

    @abstractmethod
    def forward(self, activations: Tensor) -> Tensor:
        """Return the goodness of each sample.

        Args:
            activations: Activations of the layer, ``(batch, ...)``.

        Returns:
            One number per sample, ``(batch,)``, in float32 or finer.
        """
        raise NotImplementedError

    def scale(self, features: int) -> float:
        """Return the goodness of a sample whose ``features`` activations all have magnitude one.

        Raises:
            NotImplementedError: If the goodness does not define a scale.
        """
        raise NotImplementedError


class SumOfSquares(Goodness):
    r"""Hinton's goodness, :math:`g = \sum_j h_j^2`.

    Its scale is the number of features, so ``theta="width"`` is Hinton's threshold.

    Source: Hinton, The Forward-Forward Algorithm (2022), arXiv 2212.13345.

    Example:
        >>> SumOfSquares()(torch.tensor([[1.0, 2.0]]))
        tensor([5.])
    """

    lowest = 0.0

    def forward(self, activations: Tensor) -> Tensor:
        """Return the sum of squared activations of each sample, ``(batch,)``."""
        return squared_norm(activations)

    def scale(self, features: int) -> float:
        """Return ``features``."""
        return float(features)


class MeanOfSquares(Goodness):
    r"""Mean of squared activations, :math:`g = \frac1N \sum_j h_j^2`; its scale is 1 at any width.

    Source: Dooms et al., The Trifecta (2023), arXiv 2311.18130, and most public programs.

    Example:
        >>> MeanOfSquares()(torch.tensor([[1.0, 2.0]]))
        tensor([2.5000])
    """

    lowest = 0.0

    def forward(self, activations: Tensor) -> Tensor:
        """Return the mean of squared activations of each sample, ``(batch,)``."""
        return squared_norm(activations) / activations[0].numel()

    def scale(self, features: int) -> float:
        """Return 1."""
        return 1.0


class MeanActivation(Goodness):
    r"""Mean of the activations themselves, :math:`g = \frac1N \sum_j h_j`; its scale is 1.

    Source: Sun et al., DeeperForward (ICLR 2025).

    Example:
        >>> MeanActivation()(torch.tensor([[1.0, 2.0]]))
        tensor([1.5000])
    """

    def forward(self, activations: Tensor) -> Tensor:
        """Return the mean activation of each sample, ``(batch,)``."""
        return activations.flatten(1).mean(1, dtype=accumulator(activations))

    def scale(self, features: int) -> float:
        """Return 1."""
        return 1.0


@checked
class Lp(Goodness):
    r"""The p-norm of the activations, :math:`g = (\sum_j |h_j|^p)^{1/p}`; its scale is :math:`N^{1/p}`.

    Args:
        p: Order of the norm, at least 1; ``math.inf`` gives the largest magnitude.

    Raises:
        ValueError: If ``p`` is below 1.

    Source: the norms compared by Tosato et al., Emergent representations in networks trained with the
    Forward-Forward algorithm (2023), arXiv 2305.18353.

    Example:
        >>> Lp(2)(torch.tensor([[3.0, 4.0]]))
        tensor([5.])
    """

    lowest = 0.0

    def __init__(self, p: Annotated[float, Range(1, finite=False)]) -> None:
        super().__init__()
        self.p = float(p)

    def forward(self, activations: Tensor) -> Tensor:
        """Return the p-norm of each sample's activations, ``(batch,)``."""
        rows = activations.flatten(1)
        if self.p <= LARGEST_PLAIN_ORDER or math.isinf(self.p):
            norm: Tensor = torch.linalg.vector_norm(rows, self.p, dim=1, dtype=accumulator(activations))
            return norm
        # Powers of large order overflow, or vanish; those of values up to 1 do not. The norm is homogeneous, so that
        # the gradient does not depend on the factor.
        rows = rows.to(accumulator(rows))
        limits = torch.finfo(rows.dtype)
        largest = rows.detach().abs().amax(1, keepdim=True).clamp(limits.tiny, limits.max)
        scaled: Tensor = largest.squeeze(1) * torch.linalg.vector_norm(rows / largest, self.p, dim=1)
        return scaled

    def scale(self, features: int) -> float:
        """Return ``features ** (1 / p)``."""
        return float(features ** (1 / self.p))

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"p={self.p}"


class L1(Lp):
    r"""Sum of magnitudes, :math:`g = \sum_j |h_j|`; its scale is the number of features.

    Example:
        >>> L1()(torch.tensor([[3.0, -4.0]]))
        tensor([7.])
    """

    def __init__(self) -> None:
        super().__init__(1.0)

    def extra_repr(self) -> str:
        """Return nothing: there are no arguments."""
        return ""


@checked
class TopK(Goodness):
    r"""Mean of squares over the ``k`` strongest activations, :math:`g = \frac1k \sum_{j \in \mathrm{top}_k} h_j^2`.

    Args:
        k: Number of activations, or a share of the layer between 0 and 1 (then at least five activations, or all
            if there are fewer).

    Raises:
        ValueError: If ``k`` is neither a positive integer nor a share in (0, 1).

    Source: the selective goodness of arXiv 2604.13081, which takes ``max(5, 0.02 N)``.

    Example:
        >>> TopK(1)(torch.tensor([[3.0, 4.0]]))
        tensor([16.])
    """

    lowest = 0.0

    def __init__(self, k: PositiveFloat = 0.02) -> None:
        super().__init__()
        if k >= 1 and not float(k).is_integer():
            raise ValueError(f"k must be a positive integer or a share between 0 and 1, got {k}")
        self.k = k

    def forward(self, activations: Tensor) -> Tensor:
        """Return the mean of squares over each sample's ``k`` strongest activations, ``(batch,)``."""
        squares = activations.flatten(1).to(accumulator(activations)).square()
        features = squares.shape[1]
        k = int(self.k) if self.k >= 1 else max(5, round(self.k * features))
        return squares.topk(min(k, features), dim=1, sorted=False).values.mean(1)

    def scale(self, features: int) -> float:
        """Return 1."""
        return 1.0

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"k={self.k}"


@checked
class Negated(Goodness):
    r"""Minus another goodness, :math:`g = -g'`: positive samples are *minimized*, as in predictive coding.

    Its scale is minus the other's, so that ``theta="width"`` can be met: positive samples should fall
    below :math:`\theta'`, negative ones rise above it.

    Args:
        goodness: The goodness to negate.

    Source: Hinton (2022), section on minimizing the sum of squares; Ororbia and Mali, The Predictive
    Forward-Forward Algorithm (2023), arXiv 2301.01452.

    Example:
        >>> Negated(SumOfSquares())(torch.tensor([[1.0, 2.0]]))
        tensor([-5.])
    """

    def __init__(self, goodness: Goodness) -> None:
        super().__init__()
        self.goodness = goodness

    def setup(self, spec: LayerSpec) -> None:
        """Set up the inner goodness.

        Args:
            spec: Shape of the activations.
        """
        setup_plugin(self.goodness, spec, "goodness")

    def forward(self, activations: Tensor) -> Tensor:
        """Return minus the inner goodness of each sample, ``(batch,)``."""
        goodness: Tensor = self.goodness(activations)
        return -goodness

    def scale(self, features: int) -> float:
        """Return minus the inner goodness's scale."""
        return -self.goodness.scale(features)
