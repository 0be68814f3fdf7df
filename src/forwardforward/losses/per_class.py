"""Losses of per-class goodness against the label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from forwardforward._utils.arguments import NonNegativeInt, PositiveFloat, Probability, checked
from forwardforward._utils.numerics import accumulator, full_precision
from forwardforward.losses.base import ClassLoss
from forwardforward.targets import ClassProbabilities


@checked
class CrossEntropy(ClassLoss):
    r"""Cross-entropy of per-class goodness, :math:`L = -\frac1B \sum_i \log \mathrm{softmax}(g_i / T)_{y_i}`.

    Targets may also be probabilities of the classes :math:`p_{ik}`, as of :class:`~forwardforward.data.Mixup`:
    :math:`L = -\frac1B \sum_{ik} p_{ik} \log \mathrm{softmax}(g_i / T)_k`.

    Args:
        temperature: :math:`T`, in units of goodness.
        label_smoothing: Share of the target spread uniformly over the classes, in [0, 1).

    Raises:
        ValueError: If an argument is out of its range.

    Source: Papachristodoulou et al., CwComp (AAAI 2024), arXiv 2312.12668, and the per-class family after it.

    Example:
        >>> CrossEntropy()(torch.zeros(1, 4), torch.tensor([2]))
        tensor(1.3863)
    """

    target_kind = ClassProbabilities()

    def __init__(self, temperature: PositiveFloat = 1.0, label_smoothing: Probability = 0.0) -> None:
        super().__init__()
        self.temperature = temperature
        self.label_smoothing = label_smoothing

    def forward(self, goodness: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of per-class goodness ``(batch, classes)`` against labels or their probabilities."""
        logits = goodness.to(accumulator(goodness))
        if targets.is_floating_point():
            targets = targets.to(logits.dtype)
        return F.cross_entropy(logits / self.temperature, targets, label_smoothing=self.label_smoothing)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"temperature={self.temperature}, label_smoothing={self.label_smoothing}"


@checked
class SuperclassCrossEntropy(CrossEntropy):
    r"""Cross-entropy of superclasses, whose goodness is the mean over their classes.

    :math:`\hat g_j = \mathrm{mean}_{k: s_k = j} \, g_k` against the superclass :math:`s_y` of the label: a coarser
    target for early layers.

    Args:
        superclasses: The superclass :math:`s_k` of each class, from 0 up.
        temperature: :math:`T`, in units of goodness.
        label_smoothing: Share of the target spread uniformly over the superclasses, in [0, 1).

    Raises:
        ValueError: If the superclasses are not all of 0 to their highest, at least two of them, or an argument is out
            of its range.

    Source: the class hierarchy of HCL-FF (2026), arXiv 2605.24797.

    Example:
        >>> SuperclassCrossEntropy([0, 0, 1])(torch.zeros(1, 3), torch.tensor([2]))
        tensor(0.6931)
    """

    superclasses: Tensor
    members: Tensor

    def __init__(
        self,
        superclasses: Sequence[NonNegativeInt],
        temperature: PositiveFloat = 1.0,
        label_smoothing: Probability = 0.0,
    ) -> None:
        super().__init__(temperature, label_smoothing)
        distinct = sorted(set(superclasses))
        if distinct != list(range(max(2, len(distinct)))):
            raise ValueError(f"superclasses must be all of 0, 1, ... up to the highest, got {list(superclasses)}")
        self.register_buffer("superclasses", torch.tensor(list(superclasses)), persistent=False)
        self.register_buffer("members", F.one_hot(self.superclasses), persistent=False)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        options = {"temperature": self.temperature, "label_smoothing": self.label_smoothing}
        return {"superclasses": self.superclasses.tolist(), **options}

    def forward(self, goodness: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of per-class goodness ``(batch, classes)`` against labels or their probabilities."""
        if goodness.shape[1] != len(self.superclasses):
            raise ValueError(
                f"superclasses must be one per class, got {len(self.superclasses)} for {goodness.shape[1]}"
            )
        goodness = goodness.to(accumulator(goodness))
        with full_precision(goodness):
            means = goodness @ self.members.to(goodness.dtype)
            if targets.is_floating_point():
                targets = targets.to(goodness.dtype) @ self.members.to(goodness.dtype)
            else:
                targets = self.superclasses[targets]
        return super().forward(means / self.members.sum(0), targets)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"superclasses={self.superclasses.tolist()}, {super().extra_repr()}"
