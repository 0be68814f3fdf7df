"""Losses of positive against negative goodness."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from forwardforward._utils.checks import check_not_negative, check_positive
from forwardforward.losses.thresholds import OwnTheta, Theta, computed, of_layer, reads_scale


class PairLoss(nn.Module):
    """Base of the pair losses; ``accuracy`` says when a pair counts as told apart."""

    contract: ClassVar[str] = "pair"

    @property
    def uses_scale(self) -> bool:
        """Whether the loss is called with the goodness's scale as a third argument."""
        return False

    def accuracy(self, positive: Tensor, negative: Tensor, scale: float | None = None) -> Tensor:
        """Share of pairs with more goodness for the positive sample than for the negative one."""
        return (positive > negative).float().mean()


class Threshold(PairLoss):
    r"""Hinton's loss: positive goodness above a threshold, negative goodness below it.

    .. math:: L = \frac1B \sum_i \mathrm{softplus}\frac{\theta - g^+_i}{T}
              + \mathrm{softplus}\frac{g^-_i - \theta}{T}

    The softplus form of :math:`-\log\sigma` is finite at any goodness.

    Args:
        theta: The threshold. ``"width"`` takes the goodness's scale, which is the layer's width for the sum
            of squares; a number is taken as it is; a callable ``(scale, layer) -> float``, such as
            :class:`Uniform` or :class:`Pyramidal`, computes it; a sequence holds one of these for each layer.
        temperature: :math:`T`, in units of goodness.
        theta_schedule: Factor on the threshold, ``progress -> factor`` with progress from 0 to 1 through the training,
            such as ``lr_schedules.Ramp(0.2, 1.0)``; ``fit`` sets it at each epoch's middle.
        learned: Whether the threshold is multiplied with :math:`e^b`, where :math:`b`, at first 0, is learned with the
            layer.

    Raises:
        ValueError: If ``theta`` is another string, an empty sequence or too short for the stack, or
            ``temperature`` is not positive.

    Source: Hinton (2022), arXiv 2212.13345.
    """

    factor: Tensor

    def __init__(
        self,
        theta: Theta = "width",
        temperature: float = 1.0,
        theta_schedule: Callable[[float], float] | None = None,
        learned: bool = False,
    ) -> None:
        super().__init__()
        for one in [theta] if isinstance(theta, str) or not isinstance(theta, Sequence) else theta:
            if isinstance(one, str) and one != "width":
                raise ValueError(f"theta must be a number, 'width', a sequence or a callable, got {one!r}")
        self.theta = theta
        self.temperature = check_positive("temperature", temperature)
        self.theta_schedule = theta_schedule
        self.bind(0)
        if theta_schedule is not None:
            self.register_buffer("factor", torch.tensor(float(theta_schedule(0.0))))
        self.log_factor = nn.Parameter(torch.zeros(())) if learned else None

    def set_progress(self, progress: float) -> None:
        """Tell the loss how far the training is, from 0 to 1; called by ``fit`` for each epoch."""
        if self.theta_schedule is not None:
            self.factor.fill_(self.theta_schedule(progress))

    def bind(self, layer: int) -> None:
        """Tell the loss which layer, counted from 0, it serves; called by the stack."""
        of_layer("theta", self.theta, layer)  # refuses a sequence that is too short
        self.layer = layer

    @property
    def uses_scale(self) -> bool:
        """Whether this layer's threshold is computed from the goodness's scale."""
        return reads_scale(self._own())

    def threshold(self, scale: float | None = None) -> float | Tensor:
        """Return the threshold in units of goodness, for a goodness of this ``scale``."""
        value: float | Tensor = computed(self._own(), scale, self.layer)
        if self.theta_schedule is not None:
            value = value * self.factor
        return value if self.log_factor is None else value * self.log_factor.exp()

    def _own(self) -> OwnTheta:
        """Return the threshold of this layer, as it was given."""
        return of_layer("theta", self.theta, self.layer)

    def forward(self, positive: Tensor, negative: Tensor, scale: float | None = None) -> Tensor:
        """Return the loss of the pairs.

        Args:
            positive: Goodness of the positive samples, ``(batch,)``.
            negative: Goodness of the negative samples, ``(batch,)``.
            scale: The goodness's scale, what ``theta="width"`` stands for; a number needs none.
        """
        theta = self.threshold(scale)
        t = self.temperature
        return F.softplus((theta - positive) / t).mean() + F.softplus((negative - theta) / t).mean()

    def accuracy(self, positive: Tensor, negative: Tensor, scale: float | None = None) -> Tensor:
        """Share of samples on the threshold's right side, Adamson's layer accuracy (arXiv 2504.11229)."""
        theta = self.threshold(scale)
        return ((positive > theta).float().mean() + (negative <= theta).float().mean()) / 2

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        parts = [f"theta={self.theta!r}"]
        parts += [f"temperature={self.temperature}"] if self.temperature != 1 else []
        parts += [f"theta_schedule={self.theta_schedule!r}"] if self.theta_schedule is not None else []
        return ", ".join([*parts, *(["learned=True"] if self.log_factor is not None else [])])


class SymBa(PairLoss):
    r"""Loss without a threshold, :math:`L = \frac1B \sum_i \mathrm{softplus}(-\alpha (g^+_i - g^-_i))`.

    Args:
        alpha: Steepness :math:`\alpha`, in 1 / goodness; the paper takes 4 with the mean of squares.

    Raises:
        ValueError: If ``alpha`` is not positive.

    Source: Lee and Song, SymBa (2023), arXiv 2303.08418.
    """

    def __init__(self, alpha: float = 4.0) -> None:
        super().__init__()
        self.alpha = check_positive("alpha", alpha)

    def forward(self, positive: Tensor, negative: Tensor) -> Tensor:
        """Return the loss of the pairs, both of shape ``(batch,)``."""
        return F.softplus(-self.alpha * (positive - negative)).mean()

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"alpha={self.alpha}"


class SwishSymBa(SymBa):
    r"""SymBa through a swish, :math:`L = \frac1B \sum_i u_i \sigma(u_i)`.

    With :math:`u = -\alpha (g^+ - g^-)`. Its slope vanishes for pairs that are told apart, and is bounded for
    pairs that are not.

    Args:
        alpha: Steepness :math:`\alpha`, in 1 / goodness.

    Source: the program dah33/explore_forward_forward.
    """

    def forward(self, positive: Tensor, negative: Tensor) -> Tensor:
        """Return the loss of the pairs, both of shape ``(batch,)``."""
        return F.silu(-self.alpha * (positive - negative)).mean()


class TwoThreshold(PairLoss):
    r"""A threshold each for positive and negative goodness, with a penalty on the goodness's size.

    .. math:: L = \frac1B \sum_i \mathrm{softplus}(\theta_+ - g^+_i) + \mathrm{softplus}(g^-_i - \theta_-)
              + \lambda \lVert g^+_i \rVert_2

    The norm is over the positions of a goodness by position; of one number per sample it is that number's size.

    Args:
        theta_positive: :math:`\theta_+`, in units of goodness: a number, or a sequence of one per layer.
        theta_negative: :math:`\theta_-`, likewise.
        penalty: :math:`\lambda`, at least 0, likewise.

    Raises:
        ValueError: If ``penalty`` is negative, or a sequence is too short for the stack.

    Source: Chen et al., Self-Contrastive Forward-Forward (Nature Communications 16, 2025), and its program, which takes
    thresholds of (0, 1), (5, 9) and (6, 10) and penalties of 0.0012, 0.0007 and 0.0005 on CIFAR-10.
    """

    def __init__(
        self,
        theta_positive: float | Sequence[float],
        theta_negative: float | Sequence[float],
        penalty: float | Sequence[float] = 0.0,
    ) -> None:
        super().__init__()
        self.theta_positive = theta_positive
        self.theta_negative = theta_negative
        self.penalty = penalty
        for one in penalty if isinstance(penalty, Sequence) else (penalty,):
            check_not_negative("penalty", one)
        self.bind(0)

    def bind(self, layer: int) -> None:
        """Tell the loss which layer, counted from 0, it serves; called by the stack."""
        self._positive = of_layer("theta_positive", self.theta_positive, layer)
        self._negative = of_layer("theta_negative", self.theta_negative, layer)
        self._penalty = of_layer("penalty", self.penalty, layer)

    def forward(self, positive: Tensor, negative: Tensor) -> Tensor:
        """Return the loss of the pairs, both of shape ``(batch, ...)``."""
        loss = F.softplus(self._positive - positive).mean() + F.softplus(negative - self._negative).mean()
        if self._penalty:
            loss = loss + self._penalty * positive.reshape(len(positive), -1).norm(dim=1).mean()
        return loss

    def accuracy(self, positive: Tensor, negative: Tensor, scale: float | None = None) -> Tensor:
        """Share of samples on the right side of their own threshold."""
        return ((positive > self._positive).float().mean() + (negative <= self._negative).float().mean()) / 2

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        thetas = f"theta_positive={self.theta_positive}, theta_negative={self.theta_negative}"
        return f"{thetas}, penalty={self.penalty}"
