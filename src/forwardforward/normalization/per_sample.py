"""Normalizations over each sample by itself."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from forwardforward._utils.arguments import PositiveFloat, PositiveInt, checked
from forwardforward._utils.numerics import accumulator
from forwardforward.batches import LabeledInput
from forwardforward.normalization.affine import EPS, Affine, Normalization


@checked
class RMSNorm(Normalization):
    r"""Length normalization, :math:`\hat v = v / \sqrt{\tfrac1N \sum_j v_j^2 + \epsilon}`.

    Without parameters. The direction of the activity vector is kept; its length is set to
    :math:`\sqrt N`. Images ``(batch, channels, height, width)`` are normalized as a whole.

    Args:
        eps: :math:`\epsilon`, in units of squared activation.

    Source: Hinton (2022), arXiv 2212.13345.

    Example:
        >>> RMSNorm()(torch.tensor([[3.0, 4.0]])).square().mean()
        tensor(1.)
    """

    def __init__(self, eps: PositiveFloat = 1e-8) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` with a mean square of one per sample, of the same shape."""
        return x * self.row_scale(x)

    def row_scale(self, x: Tensor) -> Tensor:
        """Return the factor of each sample, ``(batch, 1, ...)``."""
        return (_squared_length(x) / x[0].numel() + self.eps).rsqrt().to(x.dtype)

    def as_affine(self, x: LabeledInput) -> Affine:
        """Return the row scales of a labeled input."""
        return Affine(row_scale=(_row_sum(x, torch.square) / _row_size(x) + self.eps).rsqrt())

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"eps={self.eps}"


@checked
class UnitLength(Normalization):
    r"""Normalization to length one, :math:`\hat v = v / \sqrt{\sum_j v_j^2 + \epsilon}`.

    Without parameters. In a layer of :math:`N` inputs, activations are :math:`\sqrt N` times smaller than after
    :class:`RMSNorm`: a threshold that grows with the width is reached by larger weights, and one step of Adam, which
    changes every weight by up to the learning rate :math:`\eta`, changes a pre-activation by at most
    :math:`\eta \sqrt N` instead of :math:`\eta N`.

    Args:
        eps: :math:`\epsilon`, in units of squared activation.

    Source: the normalization of most public programs, after Hinton (2022), arXiv 2212.13345.

    Example:
        >>> UnitLength()(torch.tensor([[3.0, 4.0]]))
        tensor([[0.6000, 0.8000]])
    """

    def __init__(self, eps: PositiveFloat = 1e-8) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` with a sum of squares of one per sample, of the same shape."""
        return x * self.row_scale(x)

    def row_scale(self, x: Tensor) -> Tensor:
        """Return the factor of each sample, ``(batch, 1, ...)``."""
        return (_squared_length(x) + self.eps).rsqrt().to(x.dtype)

    def as_affine(self, x: LabeledInput) -> Affine:
        """Return the row scales of a labeled input."""
        return Affine(row_scale=(_row_sum(x, torch.square) + self.eps).rsqrt())

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"eps={self.eps}"


@checked
class LayerNorm(Normalization):
    r"""Layer normalization, :math:`\hat v = (v - \bar v) / \sqrt{\mathrm{var}(v) + \epsilon}`.

    Without parameters. Images ``(batch, channels, height, width)`` are normalized as a whole.

    Args:
        eps: :math:`\epsilon`, in units of squared activation; default: torch's 1e-5.

    Source: Ba et al., Layer Normalization (2016), arXiv 1607.06450.

    Example:
        >>> LayerNorm()(torch.tensor([[1.0, 3.0]]))
        tensor([[-1.0000,  1.0000]])
    """

    def __init__(self, eps: PositiveFloat = EPS) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` with mean zero and variance one per sample, of the same shape."""
        return F.layer_norm(x, x.shape[1:], eps=self.eps)

    def as_affine(self, x: LabeledInput) -> Affine:
        """Return the row scales and shifts of a labeled input."""
        mean = _row_sum(x, torch.positive) / _row_size(x)
        variance = _row_sum(x, torch.square) / _row_size(x) - mean.square()
        factor = (variance + self.eps).clamp(min=self.eps).rsqrt()
        return Affine(row_scale=factor, row_shift=-mean * factor)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"eps={self.eps}"


@checked
class GroupNorm(Normalization):
    """Normalization to mean zero and variance one within each of several equal groups of features (channels).

    Args:
        num_groups: Number of groups; DeeperForward uses one per class.
        eps: Added to the variance; default: torch's 1e-5.

    Raises:
        ValueError: If ``num_groups`` is not positive or, on forward, does not divide the features, or a group has only
            one value.

    Source: Wu and He, Group Normalization (2018), arXiv 1803.08494.

    Example:
        >>> GroupNorm(2)(torch.tensor([[1.0, 3.0, 10.0, 30.0]]))
        tensor([[-1.0000,  1.0000, -1.0000,  1.0000]])
    """

    def __init__(self, num_groups: PositiveInt, eps: PositiveFloat = EPS) -> None:
        super().__init__()
        self.num_groups = num_groups
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` normalized per group, of the same shape."""
        if x.shape[1] % self.num_groups:
            raise ValueError(f"num_groups must divide the features, got {self.num_groups} groups for {x.shape[1]}")
        if x[0].numel() == self.num_groups:  # all zeros, whatever the activations are
            raise ValueError(f"num_groups must leave at least two values per group, got {self.num_groups} groups")
        return F.group_norm(x, self.num_groups, eps=self.eps)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"num_groups={self.num_groups}, eps={self.eps}"


def _squared_length(x: Tensor) -> Tensor:
    """Return the sum of squares of each sample, ``(batch, 1, ...)``."""
    rest = tuple(range(1, x.dim()))  # not flattened: maps whose channels come last would be copied
    norm: Tensor = torch.linalg.vector_norm(x, dim=rest, keepdim=True, dtype=accumulator(x))
    return norm.square()


def _row_sum(x: LabeledInput, function: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the sum of ``function`` over the entries of each joined row, ``(copies, batch, 1)``."""
    images, codes = (function(part.to(accumulator(part))).flatten(1).sum(1) for part in (x.images, x.codebook))
    return (images + codes[x.index]).unsqueeze(-1)


def _row_size(x: LabeledInput) -> int:
    """Return the number of entries of each joined row."""
    return x.features * x.images[0, 0].numel()
