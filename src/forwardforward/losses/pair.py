"""Losses of positive against negative goodness."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from forwardforward._utils.arguments import NonNegativeFloat, PositiveFloat, checked
from forwardforward._utils.numerics import saturated
from forwardforward._utils.plugins import calling
from forwardforward.losses.base import PairLoss
from forwardforward.losses.thresholds import LayerTheta, Theta, layer_value, needs_scale, threshold_value
from forwardforward.specs import LayerSpec


@checked
class Threshold(PairLoss):
    r"""Hinton's loss: positive goodness above a threshold, negative goodness below it.

    .. math:: L = \frac1B \sum_i \mathrm{softplus}\frac{\theta - g^+_i}{T}
              + \mathrm{softplus}\frac{g^-_i - \theta}{T}

    The softplus form of :math:`-\log\sigma` is finite at any goodness.

    Args:
        theta: The threshold. ``"width"``: the goodness's scale, which is the layer's width for the sum of squares; a
            number; a callable ``(scale, layer) -> float``, such as :class:`Uniform` or :class:`Pyramidal`; or a
            sequence of these, one per layer. The layer's setup computes all but numbers.
        temperature: :math:`T`, in units of goodness.
        theta_schedule: Factor on the threshold, ``progress -> factor`` with progress from 0 to 1 through the training,
            such as ``lr_schedules.Ramp(0.2, 1.0)``; ``fit`` evaluates it at the middle of each epoch.
        learned: Whether the threshold is multiplied by :math:`e^b` with a learned :math:`b`, initially 0.

    Raises:
        ValueError: If ``theta`` is another string, an empty sequence or too short for the network, the goodness has no
            scale where one is needed, or ``temperature`` is not positive.

    Source: Hinton (2022), arXiv 2212.13345.

    Example:
        >>> Threshold(theta=2.0)(torch.tensor([4.0]), torch.tensor([0.0]))
        tensor(0.2539)
    """

    factor: Tensor

    def __init__(
        self,
        theta: Theta = "width",
        temperature: PositiveFloat = 1.0,
        theta_schedule: Callable[[float], float] | None = None,
        learned: bool = False,
    ) -> None:
        super().__init__()
        for value in [theta] if isinstance(theta, str) or not isinstance(theta, Sequence) else theta:
            if isinstance(value, str) and value != "width":
                raise ValueError(f"theta must be a number, 'width', a sequence or a callable, got {value!r}")
        self.theta = theta
        self.temperature = temperature
        self.theta_schedule = theta_schedule
        self.learned = learned
        first: LayerTheta = layer_value("theta", theta, 0)  # an empty sequence is refused here
        self._theta: float | None = None if needs_scale(first) else threshold_value(first, None, 0)
        if theta_schedule is not None:
            with calling("theta_schedule", theta_schedule, "progress -> factor"):
                self.register_buffer("factor", torch.tensor(float(theta_schedule(0.0))))
        self.log_factor = nn.Parameter(torch.zeros(())) if learned else None

    def setup(self, spec: LayerSpec) -> None:
        """Compute the layer's threshold.

        Args:
            spec: The layer's index and the goodness's scale.
        """
        self._theta = threshold_value(layer_value("theta", self.theta, spec.index), spec.scale, spec.index)

    def set_progress(self, progress: float) -> None:
        """Set the schedule's factor.

        Args:
            progress: Progress of the training, from 0 to 1; set by ``fit`` in each epoch.
        """
        if self.theta_schedule is not None:
            self.factor.fill_(self.theta_schedule(progress))

    @property
    def threshold(self) -> float | Tensor:
        """The layer's current threshold, in units of goodness.

        Raises:
            ValueError: If it depends on the layer, and the loss is not part of one yet.
        """
        if self._theta is None:
            raise ValueError(f"theta={self.theta!r} depends on the layer: use the loss in a layer, or give a number")
        value: float | Tensor = self._theta
        if self.theta_schedule is not None:
            value = value * self.factor
        return value if self.log_factor is None else value * self.log_factor.exp()

    @property
    def thresholds(self) -> tuple[float | Tensor, float | Tensor]:
        """The threshold, for positive and for negative samples."""
        return self.threshold, self.threshold

    def forward(self, positive: Tensor, negative: Tensor) -> Tensor:
        """Return the loss of the pairs, both of shape ``(batch, ...)``."""
        theta, t = self.threshold, self.temperature
        return _softplus((theta - positive) / t).mean() + _softplus((negative - theta) / t).mean()

    def accuracy(self, positive: Tensor, negative: Tensor) -> Tensor:
        """Return the share of samples on their side of the threshold, Adamson's layer accuracy (arXiv 2504.11229)."""
        theta = self.threshold
        return ((positive > theta).float().mean() + (negative <= theta).float().mean()) / 2

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        parts = [f"theta={self.theta!r}"]
        parts += [f"temperature={self.temperature}"] if self.temperature != 1 else []
        parts += [f"theta_schedule={self.theta_schedule!r}"] if self.theta_schedule is not None else []
        return ", ".join([*parts, *(["learned=True"] if self.log_factor is not None else [])])


@checked
class SymBa(PairLoss):
    r"""Loss without a threshold, :math:`L = \frac1B \sum_i \mathrm{softplus}(-\alpha (g^+_i - g^-_i))`.

    Args:
        alpha: Steepness :math:`\alpha`, in 1 / goodness; the paper uses 4 with the mean of squares.

    Raises:
        ValueError: If ``alpha`` is not positive.

    Source: Lee and Song, SymBa (2023), arXiv 2303.08418.

    Example:
        >>> SymBa(alpha=1.0)(torch.tensor([2.0]), torch.tensor([2.0]))
        tensor(0.6931)
    """

    def __init__(self, alpha: PositiveFloat = 4.0) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, positive: Tensor, negative: Tensor) -> Tensor:
        """Return the loss of the pairs, both of shape ``(batch, ...)``."""
        return _softplus(-self.alpha * (positive - negative)).mean()

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"alpha={self.alpha}"


class SwishSymBa(SymBa):
    r"""SymBa with a swish, :math:`L = \frac1B \sum_i u_i \sigma(u_i)`.

    With :math:`u = -\alpha (g^+ - g^-)`. Its slope vanishes for pairs that are separated, and is bounded for pairs that
    are not.

    Args:
        alpha: Steepness :math:`\alpha`, in 1 / goodness.

    Source: the program dah33/explore_forward_forward.

    Example:
        >>> SwishSymBa(alpha=1.0)(torch.tensor([1.0]), torch.tensor([2.0]))
        tensor(0.7311)
    """

    def forward(self, positive: Tensor, negative: Tensor) -> Tensor:
        """Return the loss of the pairs, both of shape ``(batch, ...)``."""
        return F.silu(saturated(-self.alpha * (positive - negative))).mean()


@checked
class TwoThreshold(PairLoss):
    r"""One threshold for positive and one for negative goodness, with a penalty on the size of the goodness.

    .. math:: L = \frac1B \sum_i \mathrm{softplus}(\theta_+ - g^+_i) + \mathrm{softplus}(g^-_i - \theta_-)
              + \lambda \lVert g^+_i \rVert_2

    The norm is over the positions of a goodness by position; of one number per sample it is that number's magnitude.

    Args:
        theta_positive: :math:`\theta_+`, in units of goodness: a number, or a sequence of one per layer.
        theta_negative: :math:`\theta_-`, likewise.
        penalty: :math:`\lambda`, at least 0, likewise.

    Raises:
        ValueError: If ``penalty`` is negative, or a sequence is too short for the network.

    Source: Chen et al., Self-Contrastive Forward-Forward (Nature Communications 16, 2025), and its program, which uses
    thresholds of (0, 1), (5, 9) and (6, 10) and penalties of 0.0012, 0.0007 and 0.0005 on CIFAR-10.

    Example:
        >>> TwoThreshold(2.0, 1.0).accuracy(torch.tensor([3.0, 1.5]), torch.tensor([0.5, 0.5]))
        tensor(0.7500)
    """

    def __init__(
        self,
        theta_positive: float | Sequence[float],
        theta_negative: float | Sequence[float],
        penalty: NonNegativeFloat | Sequence[NonNegativeFloat] = 0.0,
    ) -> None:
        super().__init__()
        self.theta_positive = theta_positive
        self.theta_negative = theta_negative
        self.penalty = penalty
        self._set_layer(0)

    def setup(self, spec: LayerSpec) -> None:
        """Select the layer's values.

        Args:
            spec: The layer's index.
        """
        self._set_layer(spec.index)

    def _set_layer(self, index: int) -> None:
        self._positive = layer_value("theta_positive", self.theta_positive, index)
        self._negative = layer_value("theta_negative", self.theta_negative, index)
        self._penalty = layer_value("penalty", self.penalty, index)

    def forward(self, positive: Tensor, negative: Tensor) -> Tensor:
        """Return the loss of the pairs, both of shape ``(batch, ...)``."""
        loss = _softplus(self._positive - positive).mean() + _softplus(negative - self._negative).mean()
        if self._penalty:
            loss = loss + self._penalty * positive.reshape(len(positive), -1).norm(dim=1).mean()
        return loss

    @property
    def thresholds(self) -> tuple[float, float]:
        """The layer's thresholds for positive and for negative samples."""
        return self._positive, self._negative

    def accuracy(self, positive: Tensor, negative: Tensor) -> Tensor:
        """Return the share of samples on the correct side of their own threshold."""
        return ((positive > self._positive).float().mean() + (negative <= self._negative).float().mean()) / 2

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        thetas = f"theta_positive={self.theta_positive}, theta_negative={self.theta_negative}"
        return f"{thetas}, penalty={self.penalty}"


def _softplus(x: Tensor) -> Tensor:
    return F.softplus(saturated(x))
