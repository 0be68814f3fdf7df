"""Batch normalization."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from forwardforward._utils.arguments import PositiveFloat, PositiveFraction, checked
from forwardforward._utils.numerics import accumulator
from forwardforward._utils.shared_batch import is_shared, mean_of_parts, sum_of_parts, whole_count
from forwardforward.batches import LabeledInput
from forwardforward.normalization.affine import EPS, Affine, Normalization
from forwardforward.specs import LayerSpec


@checked
class BatchNorm(Normalization):
    r"""Batch normalization, :math:`\hat v_j = (v_j - \mu_j) / \sqrt{\sigma_j^2 + \epsilon}`.

    Each feature (of images, each channel) is normalized over the batch. Positive and negative samples of a step share
    the statistics. Evaluation uses running averages instead; so does training with ``statistics="running"``, which
    accepts batches of one sample: with the mean :math:`m` and variance :math:`v` of the batch and the momentum
    :math:`a`, :math:`\sigma^2 \leftarrow (1 - a) \, \sigma^2 + a \, (v + (1 - a)(m - \mu)^2)` and
    :math:`\mu \leftarrow (1 - a) \, \mu + a \, m`, mean and variance of all rows, weighted by their age.

    Args:
        momentum: Weight of the new batch in the running averages.
        eps: :math:`\epsilon`, in units of squared activation; default: torch's 1e-5.
        affine: Whether to learn a scale and a shift per feature, applied after the normalization.
        statistics: ``"batch"`` or ``"running"``, the statistics used during training.

    Raises:
        ValueError: If an argument is out of range, or on a batch of one with batch statistics.

    Source: Ioffe and Szegedy (2015), arXiv 1502.03167; in Forward-Forward networks, Dooms et al., The
    Trifecta (2023), arXiv 2311.18130.

    Example:
        >>> BatchNorm()(torch.tensor([[1.0], [3.0]]))
        tensor([[-1.0000],
                [ 1.0000]])
    """

    running_mean: Tensor | None
    running_var: Tensor | None

    def __init__(
        self,
        momentum: PositiveFraction = 0.1,
        eps: PositiveFloat = EPS,
        affine: bool = False,
        statistics: Literal["batch", "running"] = "batch",
    ) -> None:
        super().__init__()
        self.momentum = momentum
        self.eps = eps
        self.affine = affine
        self.statistics = statistics
        self.register_buffer("running_mean", None)
        self.register_buffer("running_var", None)
        self.register_parameter("weight", None)
        self.register_parameter("bias", None)

    def setup(self, spec: LayerSpec) -> None:
        """Create the running averages, scales and shifts.

        Args:
            spec: Shape of the input.
        """
        if self.running_mean is not None and len(self.running_mean) == spec.features:
            return
        self.running_mean = torch.zeros(spec.features)
        self.running_var = torch.ones(spec.features)
        if self.affine:
            self.weight = nn.Parameter(torch.ones(spec.features))
            self.bias = nn.Parameter(torch.zeros(spec.features))

    def _averages(self) -> tuple[Tensor, Tensor]:
        assert self.running_mean is not None
        assert self.running_var is not None
        return self.running_mean, self.running_var

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` normalized per feature, of the same shape."""
        return self._normalize(x, self.weight, self.bias)

    def split_affine(self, x: Tensor) -> tuple[Tensor, Affine] | None:
        """Return rows normalized without the learned scale and shift, and these.

        Args:
            x: Plain rows, ``(batch, ...)``.
        """
        if self.weight is None:
            return None
        return self._normalize(x, None, None), Affine(column_scale=self.weight, column_shift=self.bias)

    def _normalize(self, x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        if self.running_mean is None:  # used alone
            self.setup(LayerSpec.of(x))
            self.to(x.device, accumulator(x))
        running_mean, running_var = self._averages()
        if x.shape[1] != len(running_mean):
            raise ValueError(f"x must have {len(running_mean)} features, got {x.shape[1]}")
        if self.training and self.statistics == "batch" and is_shared():
            return self._normalize_shared(x, weight, bias)
        if self.training and self.statistics == "batch":
            self._check_batch(x.numel() // x.shape[1])
            return F.batch_norm(x, running_mean, running_var, weight, bias, True, self.momentum, self.eps)
        if self.training:
            with torch.no_grad():
                var, mean = _moments(x.to(accumulator(x)))
                self._update(mean, var + self._drift(mean))
        # copies, since training with running statistics updates them in place before the gradient needs them
        return F.batch_norm(x, running_mean.clone(), running_var.clone(), weight, bias, False, 0.0, self.eps)

    def _normalize_shared(self, x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        """Return ``x`` normalized by the statistics of a batch of which it is a part."""
        count = whole_count(x.numel() // x.shape[1])
        self._check_batch(count)
        running_mean, _ = self._averages()
        normalize: Any = _SharedBatchNorm.apply
        output, mean, var = normalize(x, weight, bias, running_mean, self.eps, count)
        self._update(mean, var * count / (count - 1))
        normalized: Tensor = output
        return normalized

    def as_affine(self, x: LabeledInput) -> Affine:
        """Return the column scales and shifts of a labeled input, updating the averages in training."""
        mean, var = self._averages()
        if self.training:
            count = whole_count(len(x) * x.images[0, 0].numel())
            if self.statistics == "batch":
                self._check_batch(count)
            # The columns of the images and those of the codes are disjoint, so the moments of the joined rows follow
            # from those of the images, which all labels share, and of the codes, without the joined input. Positive and
            # negative rows share the statistics; separate ones would reveal which rows are negative.
            var, mean = (
                F.pad(of_images, (0, x.features - len(of_images))).index_copy(0, x.columns, of_codes)
                for of_images, of_codes in zip(
                    _moments(x.images.to(accumulator(x.images))),
                    _moments(x.codebook.to(accumulator(x.codebook))[x.index.expand(-1, len(x.images)).flatten()]),
                    strict=True,
                )
            )
            self._update(mean, var * count / (count - 1) if self.statistics == "batch" else var + self._drift(mean))
            if self.statistics == "running":
                mean, var = (average.clone() for average in self._averages())
        scale = (var + self.eps).rsqrt()
        if self.weight is not None:
            scale = scale * self.weight
        shift = -mean * scale
        return Affine(column_scale=scale, column_shift=shift if self.bias is None else shift + self.bias)

    def _update(self, mean: Tensor, var: Tensor) -> None:
        for average, value in zip(self._averages(), (mean, var), strict=True):
            # lerp_ has no batching rule for torch.vmap
            average.add_((value.detach().to(average.dtype) - average) * self.momentum)

    def _drift(self, mean: Tensor) -> Tensor:
        """Return what the distance of a batch's mean from the average adds to the batch's variance.

        With it, the averages are mean and variance of all rows, weighted by their age, also where batches are so small
        that their own variance is much smaller, or zero.
        """
        running_mean, _ = self._averages()
        return (1 - self.momentum) * (mean - running_mean).square()

    def _check_batch(self, count: int) -> None:
        if count < 2:
            raise ValueError(
                "batch statistics need at least two samples per batch, got one; use BatchNorm(statistics='running')"
            )

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"momentum={self.momentum}, eps={self.eps}, affine={self.affine}, statistics={self.statistics!r}"


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return variance and mean of each feature (channel) over the batch, of which ``x`` may be a part."""
    dims = [d for d in range(x.dim()) if d != 1]
    if not is_shared():
        return torch.var_mean(x, dims, correction=0)
    mean = mean_of_parts(x.mean(dims))
    centered = x - mean.view(-1, *[1] * (x.dim() - 2))
    return mean_of_parts(centered.square().mean(dims)), mean


class _SharedBatchNorm(torch.autograd.Function):
    r"""Batch normalization by the statistics of a batch of which this process has a part, in torch's fused kernels.

    One message forward and, if the input needs a gradient, one backward, each of two numbers per feature. With
    :math:`\hat x = (x - \mu) / s`, scales :math:`w` and the gradient :math:`g` of the output, the gradient of the input
    is

    .. math:: \frac{w}{s} \left(g - \frac{\sum g}{N} - \hat x \frac{\sum g \hat x}{N}\right),

    whose first term is that of fixed statistics, and whose others are an affine function of the input.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, origin: Tensor, eps: float, count: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        values = x.to(accumulator(x))
        var, mean = torch.var_mean(values, [d for d in range(x.dim()) if d != 1], correction=0)
        # Moments about the running mean, which all processes share: about 0, the variance would lose digits.
        mean = mean - origin
        mean, second = mean_of_parts(torch.stack([mean, var + mean.square()]))
        var = (second - mean.square()).clamp_(min=0)
        mean = mean + origin
        scale = torch.ones_like(mean) if weight is None else weight
        ctx.save_for_backward(x, scale, mean, var)
        ctx.mark_non_differentiable(mean, var)
        ctx.eps, ctx.count, ctx.sum = eps, count, sum_of_parts()
        ctx.is_affine = weight is not None, bias is not None
        return F.batch_norm(x, mean, var, weight, bias, False, 0.0, eps), mean, var

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        x, scale, mean, var = ctx.saved_tensors
        of_input = ctx.needs_input_grad[0]
        gradient, of_scale, of_shift = torch.ops.aten.native_batch_norm_backward(
            gradients[0], x, scale, mean, var, None, None, False, ctx.eps, [of_input, True, True]
        )
        if of_input:  # not if the layer begins with the normalization, where gradients stop
            sums = ctx.sum(torch.stack([of_scale, of_shift])) / ctx.count
            factor = scale * (var + ctx.eps).rsqrt()
            gradient -= F.batch_norm(x, mean, var, sums[0] * factor, sums[1] * factor, False, 0.0, ctx.eps)
        has_weight, has_bias = ctx.is_affine
        return gradient, of_scale if has_weight else None, of_shift if has_bias else None, None, None, None
