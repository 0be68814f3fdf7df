"""Losses: what a layer minimises, given goodness.

Each belongs to one of the three contracts between a layer and its objective, named by ``contract``:

* ``"pair"``: ``loss(positive, negative)`` of two goodness vectors ``(batch,)``;
* ``"class"``: ``loss(goodness, targets)`` of logits ``(batch, classes)`` and labels ``(batch,)``;
* ``"batch"``: ``loss(embeddings, targets)`` of embeddings ``(batch, dimensions)`` and labels ``(batch,)``.

Any callable with one of these signatures serves. A pair loss with ``uses_scale = True`` is also given the
goodness's scale as a third argument.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = [
    "CrossEntropy",
    "PairLoss",
    "Pyramidal",
    "SuperclassCrossEntropy",
    "SupervisedContrastive",
    "SwishSymBa",
    "SymBa",
    "Threshold",
    "TwoThreshold",
    "Uniform",
]

OwnTheta = float | str | Callable[[float, int], float]
Theta = OwnTheta | Sequence[OwnTheta]


@dataclass(frozen=True)
class Uniform:
    r"""One threshold for all layers of a width, :math:`\theta = k \, s`.

    :math:`s` is the goodness's scale (the layer's width for the sum of squares), so ``Uniform(1)`` is ``"width"``.
    Pass it as ``theta``, or a sequence of such, one a layer.

    Args:
        k: The share, positive.

    Raises:
        ValueError: If ``k`` is not positive.

    Example:
        >>> Uniform(0.5)(1000.0, 2)
        500.0
    """

    k: float = 1.0

    def __post_init__(self) -> None:
        _positive("k", self.k)

    def __call__(self, scale: float, layer: int) -> float:
        """Return the threshold for a goodness of this ``scale``, the same for every ``layer``."""
        return self.k * scale


@dataclass(frozen=True)
class Pyramidal:
    r"""Thresholds that grow with depth, :math:`\theta_l = k \, s \, l` for layers :math:`l = 1, 2, \dots`.

    :math:`s` is the goodness's scale (the layer's width for the sum of squares). Pass it as ``theta``.

    Args:
        k: The slope; the paper names 0.3 to 0.5 without giving a formula, so this one is ours.

    Source: Extending the Forward Forward Algorithm (2023), arXiv 2307.04205.

    Example:
        >>> Pyramidal(0.5)(1000.0, 2)
        1500.0
    """

    k: float = 0.4

    def __post_init__(self) -> None:
        _positive("k", self.k)

    def __call__(self, scale: float, layer: int) -> float:
        """Return the threshold of ``layer``, counted from 0, for a goodness of this ``scale``."""
        return self.k * scale * (layer + 1)


def _positive(name: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f"{name} must be positive, got {value}")


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
        schedule: Factor on the threshold, ``progress -> factor`` with progress from 0 to 1 through the training, such
            as ``optimizers.Ramp(0.2, 1.0)``; ``fit`` sets it at each epoch's middle.
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
        schedule: Callable[[float], float] | None = None,
        learned: bool = False,
    ) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature must be positive, got {temperature}")
        for one in [theta] if isinstance(theta, str) or not isinstance(theta, Sequence) else theta:
            if isinstance(one, str) and one != "width":
                raise ValueError(f"theta must be a number, 'width', a sequence or a callable, got {one!r}")
        if isinstance(theta, Sequence) and not theta:
            raise ValueError("theta must hold one threshold a layer, got an empty sequence")
        self.theta = theta
        self.temperature = temperature
        self.schedule = schedule
        self.layer = 0
        if schedule is not None:
            self.register_buffer("factor", torch.tensor(float(schedule(0.0))))
        self.log_factor = nn.Parameter(torch.zeros(())) if learned else None

    def set_progress(self, progress: float) -> None:
        """Tell the loss how far the training is, from 0 to 1; called by ``fit`` for each epoch."""
        if self.schedule is not None:
            self.factor.fill_(self.schedule(progress))

    def bind(self, layer: int) -> None:
        """Tell the loss which layer, counted from 0, it serves; called by the stack."""
        if isinstance(self.theta, Sequence) and not isinstance(self.theta, str) and layer >= len(self.theta):
            raise ValueError(f"theta must hold one threshold a layer, got {len(self.theta)} for layer {layer}")
        self.layer = layer

    @property
    def uses_scale(self) -> bool:
        """Whether this layer's threshold is computed from the goodness's scale."""
        theta = self._own()
        return isinstance(theta, str) or callable(theta)

    def threshold(self, scale: float | None = None) -> float | Tensor:
        """Return the threshold in units of goodness, for a goodness of this ``scale``."""
        theta = self._own()
        if isinstance(theta, str) or callable(theta):
            if scale is None:
                raise ValueError(f"scale must be given for theta={theta!r}, got None")
            theta = scale if isinstance(theta, str) else theta(scale, self.layer)
        value: float | Tensor = float(theta)
        if self.schedule is not None:
            value = value * self.factor
        return value if self.log_factor is None else value * self.log_factor.exp()

    def _own(self) -> OwnTheta:
        """Return the threshold of this layer, as it was given."""
        if isinstance(self.theta, Sequence) and not isinstance(self.theta, str):
            return self.theta[self.layer]
        return self.theta

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
        parts += [f"schedule={self.schedule!r}"] if self.schedule is not None else []
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
        if not alpha > 0:
            raise ValueError(f"alpha must be positive, got {alpha}")
        self.alpha = alpha

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
              + \lambda \sqrt{\tfrac1{2B} \textstyle\sum_i (g^+_i)^2 + (g^-_i)^2}

    Args:
        positive: :math:`\theta_+`, in units of goodness: a number, or a sequence of one a layer.
        negative: :math:`\theta_-`, likewise.
        penalty: :math:`\lambda`, at least 0.

    Raises:
        ValueError: If ``penalty`` is negative, or a sequence is too short for the stack.

    Source: Chen et al., Self-Contrastive Forward-Forward (Nature Communications 16, 2025), which takes
    (0, 1), (5, 9) and (6, 10).
    """

    def __init__(
        self, positive: float | Sequence[float], negative: float | Sequence[float], penalty: float = 0.0
    ) -> None:
        super().__init__()
        if penalty < 0:
            raise ValueError(f"penalty must be at least 0, got {penalty}")
        self.positive = positive
        self.negative = negative
        self.penalty = penalty
        self.bind(0)

    def bind(self, layer: int) -> None:
        """Tell the loss which layer, counted from 0, it serves; called by the stack."""
        self.theta_positive, self.theta_negative = (
            _of_layer(name, one, layer) for name, one in (("positive", self.positive), ("negative", self.negative))
        )

    def forward(self, positive: Tensor, negative: Tensor) -> Tensor:
        """Return the loss of the pairs, both of shape ``(batch,)``."""
        loss = F.softplus(self.theta_positive - positive).mean() + F.softplus(negative - self.theta_negative).mean()
        if self.penalty:
            both = torch.cat([positive, negative])
            loss = loss + self.penalty * torch.linalg.vector_norm(both) / both.numel() ** 0.5
        return loss

    def accuracy(self, positive: Tensor, negative: Tensor, scale: float | None = None) -> Tensor:
        """Share of samples on the right side of their own threshold."""
        right = (positive > self.theta_positive).float().mean() + (negative <= self.theta_negative).float().mean()
        return right / 2

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"positive={self.positive}, negative={self.negative}, penalty={self.penalty}"


def _of_layer(name: str, value: float | Sequence[float], layer: int) -> float:
    if not isinstance(value, Sequence):
        return value
    if layer >= len(value):
        raise ValueError(f"{name} must hold one threshold a layer, got {len(value)} for layer {layer}")
    return value[layer]


class CrossEntropy(nn.Module):
    r"""Cross-entropy of per-class goodness, :math:`L = -\frac1B \sum_i \log \mathrm{softmax}(g_i / T)_{y_i}`.

    Args:
        temperature: :math:`T`, in units of goodness.
        label_smoothing: Share of the target spread evenly over the classes, in [0, 1).

    Raises:
        ValueError: If an argument is out of its range.

    Source: Papachristodoulou et al., CwComp (AAAI 2024), arXiv 2312.12668, and the per-class family after it.
    """

    contract: ClassVar[str] = "class"

    def __init__(self, temperature: float = 1.0, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature must be positive, got {temperature}")
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing}")
        self.temperature = temperature
        self.label_smoothing = label_smoothing

    def forward(self, goodness: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of per-class goodness ``(batch, classes)`` against labels ``(batch,)``."""
        logits = goodness.float() if goodness.dtype in (torch.bfloat16, torch.float16) else goodness
        return F.cross_entropy(logits / self.temperature, targets, label_smoothing=self.label_smoothing)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"temperature={self.temperature}, label_smoothing={self.label_smoothing}"


class SuperclassCrossEntropy(CrossEntropy):
    r"""Cross-entropy of superclasses, whose goodness is the mean over their classes.

    :math:`\hat g_j = \mathrm{mean}_{k: s_k = j} \, g_k` against the superclass :math:`s_y` of the label: a coarser
    question for early layers.

    Args:
        superclasses: The superclass :math:`s_k` of each class, from 0 up.
        temperature: :math:`T`, in units of goodness.
        label_smoothing: Share of the target spread evenly over the superclasses, in [0, 1).

    Raises:
        ValueError: If the superclasses are not all of 0 to their highest, at least two of them, or an argument is out
            of its range.

    Source: the class hierarchy of HCL-FF (2026), arXiv 2605.24797.
    """

    superclasses: Tensor

    def __init__(self, superclasses: Sequence[int], temperature: float = 1.0, label_smoothing: float = 0.0) -> None:
        super().__init__(temperature, label_smoothing)
        found = sorted(set(superclasses))
        if len(found) < 2 or found != list(range(len(found))):
            raise ValueError(f"superclasses must be all of 0, 1, ... up to the highest, got {list(superclasses)}")
        self.register_buffer("superclasses", torch.tensor(list(superclasses)), persistent=False)

    def forward(self, goodness: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of per-class goodness ``(batch, classes)`` against labels ``(batch,)``."""
        if goodness.shape[1] != len(self.superclasses):
            raise ValueError(f"superclasses must be one a class, got {len(self.superclasses)} for {goodness.shape[1]}")
        members = F.one_hot(self.superclasses)
        goodness = goodness.to(torch.promote_types(goodness.dtype, torch.float32))
        means = goodness @ members.to(goodness.dtype)
        return super().forward(means / members.sum(0), self.superclasses[targets])

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"superclasses={self.superclasses.tolist()}, {super().extra_repr()}"


class SupervisedContrastive(nn.Module):
    r"""Supervised contrastive loss over the batch's embeddings.

    With unit embeddings :math:`e_i`, :math:`s_{ij} = e_i \cdot e_j / T` and :math:`P_i` the other samples of
    sample :math:`i`'s class,

    .. math:: L = \mathrm{mean}_{i: P_i \ne \emptyset} \; -\frac1{|P_i|} \sum_{p \in P_i}
              \log \frac{\exp s_{ip}}{\sum_{j \ne i} \exp s_{ij}}

    A batch in which no class occurs twice has loss 0.

    Args:
        temperature: :math:`T`, positive.

    Raises:
        ValueError: If ``temperature`` is not positive.

    Source: Khosla et al., Supervised Contrastive Learning (2020), arXiv 2004.11362; in Forward-Forward
    networks, HCL-FF (2026), arXiv 2605.24797.
    """

    contract: ClassVar[str] = "batch"

    def __init__(self, temperature: float = 0.1) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature must be positive, got {temperature}")
        self.temperature = temperature

    def forward(self, embeddings: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of embeddings ``(batch, dimensions)`` with labels ``(batch,)``."""
        units = F.normalize(embeddings.flatten(1).to(torch.promote_types(embeddings.dtype, torch.float32)), dim=1)
        itself = torch.eye(len(units), dtype=torch.bool, device=units.device)
        similarity = (units @ units.T / self.temperature).masked_fill(itself, float("-inf"))
        log_share = similarity - similarity.logsumexp(1, keepdim=True)
        same = (targets[:, None] == targets[None, :]) & ~itself
        partners = same.sum(1)
        per_sample = -log_share.masked_fill(~same, 0).sum(1) / partners.clamp(min=1)
        return per_sample.sum() / (partners > 0).sum().clamp(min=1)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"temperature={self.temperature}"
