"""Several labels per sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from forwardforward._utils.numerics import accumulator
from forwardforward.targets.kind import Figures, TargetKind

__all__ = ["MultiLabel"]


@dataclass(frozen=True)
class MultiLabel(TargetKind):
    """Any number of labels per sample, ``(N, labels)``: 1 for a label that applies, 0 for one that does not.

    Numbers between 0 and 1 are the probabilities of labels, as those of mixed images. A label is predicted if its score
    is above 0. Errors are the wrong labels of all samples in percent, the Hamming loss; a label of 0.5 or less does not
    apply.

    Example:
        >>> kind = MultiLabel()
        >>> kind.check(torch.tensor([[True, False]]), samples=1, outputs=2)
        tensor([[1., 0.]])
        >>> kind.mistakes(torch.tensor([[True, True]]), torch.tensor([[1.0, 0.0]]))
        tensor([1])
    """

    metric: ClassVar[str] = "label error"
    mixes: ClassVar[bool] = True

    def check(self, targets: Tensor, samples: int, outputs: int | None, values: bool = True) -> Tensor:
        """Return the labels as floating-point rows; see :meth:`TargetKind.check`."""
        shape, expected = tuple(targets.shape), "labels" if outputs is None else outputs
        if targets.dim() != 2 or len(targets) != samples or (outputs is not None and shape[1] != outputs):
            remedy = ""
            if targets.dim() == 1 and not targets.is_floating_point() and targets.dtype != torch.bool:
                remedy = f"; of class indices, torch.nn.functional.one_hot(targets, {expected})"
            raise ValueError(
                f"targets must be one row of labels per sample, ({samples}, {expected}), got {shape}{remedy}"
            )
        if targets.is_complex():
            raise TypeError(f"targets must be 0 and 1, or between, got {targets.dtype}")
        rows = targets.to(accumulator(targets) if targets.is_floating_point() else torch.float32)
        if values and rows.numel():
            lowest, highest = torch.stack(rows.aminmax()).tolist()
            if not (lowest >= 0 and highest <= 1):  # also for NaN
                raise ValueError(f"targets must be 0 and 1, or between, got {lowest:.4g} to {highest:.4g}")
        return rows

    def example(self, like: Tensor) -> Tensor:
        """Return a row of zeros and a row of ones."""
        outputs = like.shape[1]
        return torch.stack([like.new_zeros(outputs), like.new_ones(outputs)]).to(accumulator(like))

    def decide(self, scores: Tensor) -> Tensor:
        """Return whether each label's score is above 0."""
        return scores > 0

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return the sigmoid of the scores."""
        return scores.sigmoid()

    def mistakes(self, decisions: Tensor, targets: Tensor) -> Tensor:
        """Return the number of wrong labels of each sample."""
        return (decisions != (targets > 0.5)).sum(-1)

    def error(self, total: float, samples: int, outputs: int) -> float:
        """Return the share of wrong labels, in percent."""
        return 100 * total / (samples * outputs)

    def figures(self, goodness: Tensor, scores: Tensor, targets: Tensor) -> Figures:
        """Return the mean goodness of labels that apply and of those that do not, and the share of right labels."""
        true, false = targets, 1 - targets
        positive = (goodness * true).sum() / true.sum().clamp(min=1e-6)
        negative = (goodness * false).sum() / false.sum().clamp(min=1e-6)
        accuracy = (self.decide(scores) == (targets > 0.5)).float().mean()
        return Figures(positive, negative, accuracy)

    def loss(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Return the binary cross-entropy, a mean over samples and labels."""
        return F.binary_cross_entropy_with_logits(scores, targets.to(scores.dtype))

    def is_true(self, targets: Tensor, outputs: int) -> Tensor:
        """Return which labels apply."""
        return targets > 0.5
