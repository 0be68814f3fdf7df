"""Batch normalization."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from forwardforward._utils.checks import check_positive
from forwardforward._utils.numerics import accumulator
from forwardforward.batches import LabelledInput
from forwardforward.normalization.affine import EPS, Affine


class BatchNorm(nn.Module):
    r"""Batch normalization, :math:`\hat v_j = (v_j - \mu_j) / \sqrt{\sigma_j^2 + \epsilon}`.

    Each feature (for images, each channel) is normalized over the batch. Positive and negative samples of a
    step share the statistics. In evaluation, and in training too with ``statistics="running"``, running
    averages take the batch's place; then a batch of one can be trained on.

    Args:
        momentum: Weight of the new batch in the running averages.
        eps: :math:`\epsilon`, in units of squared activation; torch's 1e-5 unless given.
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
        eps: float = EPS,
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
        self.eps = check_positive("eps", eps)
        self.affine = affine
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
        self.weight = nn.Parameter(torch.ones(features)) if self.affine else None
        self.bias = nn.Parameter(torch.zeros(features)) if self.affine else None

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
                var, mean = _moments(x.to(accumulator(x)))
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

    def as_affine(self, x: LabelledInput) -> Affine:
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
            f"momentum={self.momentum}, eps={self.eps}, affine={self.affine}, "
            f"statistics={self.statistics!r}, features={self.features}"
        )


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return variance and mean of each feature (channel)."""
    return torch.var_mean(x, [d for d in range(x.dim()) if d != 1], correction=0)
