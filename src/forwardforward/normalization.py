"""Normalization: what a layer sees of the one before it, and peer normalization.

Without normalization the next layer could read the goodness of the last off the length of its activity vector
and would have nothing to learn. Any module from ``(batch, ...)`` to the same shape serves. One that is an
affine map of its input may also offer ``affine(labelled)``, which lets a linear first layer share its product
among an image's labels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from forwardforward.labels import LabelledInput

__all__ = ["Affine", "BatchNorm", "GroupNorm", "Identity", "LayerNorm", "PeerNormalization", "RMSNorm"]


class Affine(NamedTuple):
    r"""A normalization written as :math:`\hat v = r \, (v \odot c + d) + s`, with ``None`` for "no effect".

    Attributes:
        row_scale: :math:`r`, ``(copies, batch, 1)``.
        row_shift: :math:`s`, ``(copies, batch, 1)``.
        column_scale: :math:`c`, ``(features,)``.
        column_shift: :math:`d`, ``(features,)``.
    """

    row_scale: Tensor | None = None
    row_shift: Tensor | None = None
    column_scale: Tensor | None = None
    column_shift: Tensor | None = None


def _check_eps(eps: float) -> float:
    if not eps > 0:
        raise ValueError(f"eps must be positive, got {eps}")
    return eps


class RMSNorm(nn.Module):
    r"""Length normalization, :math:`\hat v = v / \sqrt{\tfrac1N \sum_j v_j^2 + \epsilon}`.

    Without parameters. Only the direction of the activity vector passes; its length is set to
    :math:`\sqrt N`. Images ``(batch, channels, height, width)`` are normalized as a whole.

    Args:
        eps: :math:`\epsilon`, in units of squared activation.

    Source: Hinton (2022), arXiv 2212.13345.
    """

    def __init__(self, eps: float = 1e-8) -> None:
        super().__init__()
        self.eps = _check_eps(eps)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` with a mean square of one a sample, of the same shape."""
        rest = tuple(range(1, x.dim()))  # not flattened: maps whose channels come last would be copied
        dtype = torch.promote_types(x.dtype, torch.float32)
        norm: Tensor = torch.linalg.vector_norm(x, dim=rest, keepdim=True, dtype=dtype)
        factor = (norm.square() / x[0].numel() + self.eps).rsqrt().to(x.dtype)
        return x * factor

    def affine(self, x: LabelledInput) -> Affine:
        """Return the row scales of a labelled input."""
        return Affine(row_scale=(_row_mean(x, torch.square) + self.eps).rsqrt())

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"eps={self.eps}"


class LayerNorm(nn.Module):
    r"""Layer normalization, :math:`\hat v = (v - \bar v) / \sqrt{\mathrm{var}(v) + \epsilon}`.

    Without parameters. Images ``(batch, channels, height, width)`` are normalized as a whole.

    Args:
        eps: :math:`\epsilon`, in units of squared activation.

    Source: Ba et al., Layer Normalization (2016), arXiv 1607.06450.
    """

    def __init__(self, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = _check_eps(eps)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` with mean zero and variance one a sample, of the same shape."""
        return F.layer_norm(x, x.shape[1:], eps=self.eps)

    def affine(self, x: LabelledInput) -> Affine:
        """Return the row scales and shifts of a labelled input."""
        mean = _row_mean(x, torch.positive)
        factor = (_row_mean(x, torch.square) - mean.square() + self.eps).clamp(min=self.eps).rsqrt()
        return Affine(row_scale=factor, row_shift=-mean * factor)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"eps={self.eps}"


def _row_mean(x: LabelledInput, function: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the mean of ``function`` over the entries of each joined row, ``(copies, batch, 1)``."""
    images, codes = (function(part).flatten(1).sum(1) for part in (x.images, x.codebook))
    return ((images + codes[x.index]) / (x.features * x.images[0, 0].numel())).unsqueeze(-1)


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return variance and mean of each feature (channel)."""
    return torch.var_mean(x, [d for d in range(x.dim()) if d != 1], correction=0)


class BatchNorm(nn.Module):
    r"""Batch normalization, :math:`\hat v_j = (v_j - \mu_j) / \sqrt{\sigma_j^2 + \epsilon}`.

    Each feature (for images, each channel) is normalized over the batch. Positive and negative samples of a
    step share the statistics. In evaluation, and in training too with ``statistics="running"``, running
    averages take the batch's place; then a batch of one can be trained on.

    Args:
        momentum: Weight of the new batch in the running averages.
        eps: :math:`\epsilon`, in units of squared activation.
        affine: Learn a scale and a shift a feature, after the normalization.
        statistics: ``"batch"`` or ``"running"``, what normalizes during training.
        features: Number of features (channels); taken from the layer's input where it is known.

    Raises:
        ValueError: If an argument is out of range, or on a batch of one with batch statistics.

    Source: Ioffe and Szegedy (2015), arXiv 1502.03167; in Forward-Forward networks, Dooms et al., The
    Trifecta (2023), arXiv 2311.18130.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(
        self,
        momentum: float = 0.1,
        eps: float = 1e-5,
        affine: bool = False,
        statistics: str = "batch",
        features: int | None = None,
    ) -> None:
        super().__init__()
        if not 0 < momentum <= 1:
            raise ValueError(f"momentum must be in (0, 1], got {momentum}")
        if statistics not in ("batch", "running"):
            raise ValueError(f"statistics must be 'batch' or 'running', got {statistics!r}")
        self.momentum = momentum
        self.eps = _check_eps(eps)
        self.learned = affine
        self.statistics = statistics
        self.features = features
        if features is not None:
            self.bind(features)

    def bind(self, features: int | None) -> None:
        """Shape the running averages for ``features`` inputs; called by the layer."""
        if features is None:
            raise ValueError("features must be given, BatchNorm(features=...), for a block whose inputs are not known")
        self.features = features
        self.register_buffer("running_mean", torch.zeros(features))
        self.register_buffer("running_var", torch.ones(features))
        self.weight = nn.Parameter(torch.ones(features)) if self.learned else None
        self.bias = nn.Parameter(torch.zeros(features)) if self.learned else None

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` normalized a feature, of the same shape."""
        if self.features is None:
            raise ValueError("features must be given, BatchNorm(features=...), outside a layer that knows its inputs")
        if x.shape[1] != self.features:
            raise ValueError(f"x must have {self.features} features, got {x.shape[1]}")
        if self.training and self.statistics == "batch":
            self._check_batch(x.numel() // x.shape[1])
            return F.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, True, self.momentum, self.eps
            )
        if self.training:
            with torch.no_grad():
                var, mean = _moments(x.to(torch.promote_types(x.dtype, torch.float32)))
                self._update(mean, var)
        return F.batch_norm(
            x,
            self.running_mean.clone(),
            self.running_var.clone(),
            self.weight,
            self.bias,
            False,
            0.0,
            self.eps,
        )

    def affine(self, x: LabelledInput) -> Affine:
        """Return the column scales and shifts of a labelled input, updating the averages in training."""
        mean, var = self.running_mean, self.running_var
        if self.training:
            count = len(x) * x.images[0, 0].numel()
            if self.statistics == "batch":
                self._check_batch(count)
            width = x.images.shape[1]
            now = x.images.new_zeros(2, x.features)
            now[1, :width], now[0, :width] = _moments(x.images)
            now[1, x.columns], now[0, x.columns] = _moments(x.codebook[x.index.expand(-1, len(x.images)).flatten()])
            unbiased = now[1] * count / (count - 1) if self.statistics == "batch" else now[1]
            self._update(now[0], unbiased)
            if self.statistics == "batch":
                mean, var = now
            else:
                mean, var = self.running_mean.clone(), self.running_var.clone()
        scale = (var + self.eps).rsqrt()
        if self.weight is not None:
            scale = scale * self.weight
        shift = -mean * scale
        return Affine(column_scale=scale, column_shift=shift if self.bias is None else shift + self.bias)

    def _update(self, mean: Tensor, var: Tensor) -> None:
        self.running_mean.lerp_(mean.detach().to(self.running_mean.dtype), self.momentum)
        self.running_var.lerp_(var.detach().to(self.running_var.dtype), self.momentum)

    def _check_batch(self, count: int) -> None:
        if count < 2:
            raise ValueError(
                "batch statistics need at least two samples, got a batch of one; use BatchNorm(statistics='running')"
            )

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return (
            f"momentum={self.momentum}, eps={self.eps}, affine={self.learned}, "
            f"statistics={self.statistics!r}, features={self.features}"
        )


class GroupNorm(nn.Module):
    """Normalization to mean zero and variance one within each of several equal groups of features (channels).

    Args:
        num_groups: Number of groups; DeeperForward takes one a class.
        eps: Added to the variance.

    Raises:
        ValueError: If ``num_groups`` is not positive or, on forward, does not divide the features.

    Source: Wu and He, Group Normalization (2018), arXiv 1803.08494.
    """

    def __init__(self, num_groups: int, eps: float = 1e-5) -> None:
        super().__init__()
        if num_groups < 1:
            raise ValueError(f"num_groups must be at least 1, got {num_groups}")
        self.num_groups = num_groups
        self.eps = _check_eps(eps)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` normalized a group, of the same shape."""
        if x.shape[1] % self.num_groups:
            raise ValueError(f"num_groups must divide the features, got {self.num_groups} groups for {x.shape[1]}")
        return F.group_norm(x, self.num_groups, eps=self.eps)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"num_groups={self.num_groups}, eps={self.eps}"


class Identity(nn.Identity):
    """No normalization."""

    def affine(self, x: LabelledInput) -> Affine:
        """Return an affine map without effect."""
        return Affine()


class PeerNormalization(nn.Module):
    r"""Hinton's peer normalization: hidden units share the activity.

    Running means :math:`m_j \leftarrow 0.9 m_j + 0.1 \, \overline{h_j}` of the positive samples' activations,
    which start at 0.5, pull each unit towards the mean over the layer: Hinton's program adds :math:`\lambda
    (\bar m - m_j)` to the ascent direction with respect to the pre-activation :math:`z_j`, for positive
    samples and not gated by the ReLU, so that dead units revive. Written as a term of the loss,

    .. math:: 2 \lambda \sum_j (m_j - \bar m) \, \overline{z_j}

    with the gradient stopped through the means. The factor 2 belongs to the squares: the program follows
    :math:`(1 - p) h` where the gradient of the threshold loss over a sum of squares is :math:`2 (1 - p) h`,
    so ``strength=0.03`` weighs as in the program.

    Args:
        strength: :math:`\lambda`, at least 0.
        momentum: Weight of the old running mean.
        features: Number of units (channels); taken from the layer where that knows its width.

    Raises:
        ValueError: If an argument is out of range or the layer's width is unknown.

    Source: Hinton (2022), arXiv 2212.13345, and its Matlab program.
    """

    means: Tensor

    def __init__(self, strength: float = 0.03, momentum: float = 0.9, features: int | None = None) -> None:
        super().__init__()
        if strength < 0:
            raise ValueError(f"strength must be at least 0, got {strength}")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), got {momentum}")
        self.strength = strength
        self.momentum = momentum
        self.features = features
        if features is not None:
            self.bind(features)

    def bind(self, features: int | None) -> None:
        """Shape the running means for a layer of ``features`` units; called by the layer."""
        if features is None:
            raise ValueError("features must be given, PeerNormalization(features=...), for a block of unknown width")
        self.features = features
        self.register_buffer("means", torch.full((features,), 0.5))

    def forward(self, pre_activations: Tensor, activations: Tensor) -> Tensor:
        """Update the running means, in training, and return the term to add to the loss.

        Args:
            pre_activations: Of the positive samples, ``(batch, features, ...)``.
            activations: Of the positive samples, of the same shape.

        Returns:
            A scalar whose gradient reaches ``pre_activations`` alone.
        """
        rest = [d for d in range(activations.dim()) if d != 1]
        with torch.no_grad():
            now = activations.mean(rest, dtype=self.means.dtype)
            if self.training:
                self.means.lerp_(now, 1 - self.momentum)
            pull = 2 * self.strength * (self.means - self.means.mean())
        return (pre_activations.mean(rest, dtype=self.means.dtype) * pull).sum()

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"strength={self.strength}, momentum={self.momentum}, features={self.features}"
