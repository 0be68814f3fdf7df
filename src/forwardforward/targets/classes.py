"""Classes: one per sample, as an index or as probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from forwardforward._utils.checks import all_finite, check_label_type, check_labels, label_remedy
from forwardforward._utils.numerics import accumulator
from forwardforward.targets.kind import Figures, TargetKind

__all__ = ["ClassIndices", "ClassProbabilities"]

#: Largest difference of a row's sum from 1: half-precision numbers have 11 bits.
TOLERANCE = 1e-2


@dataclass(frozen=True)
class ClassIndices(TargetKind):
    """One class per sample, as a whole number from 0, ``(N,)``. Errors are the wrongly classified samples, in percent.

    The kind of pair objectives, whose negatives are images with a wrong label, of batch objectives and of plain
    functions.

    Example:
        >>> kind = ClassIndices()
        >>> kind.check(torch.tensor([0, 2]), samples=2, outputs=3)
        tensor([0, 2])
        >>> kind.decide(torch.tensor([[0.0, 1.0, 5.0]]))
        tensor([2])
    """

    has_one_class: ClassVar[bool] = True

    def check(self, targets: Tensor, samples: int, outputs: int | None, values: bool = True) -> Tensor:
        """Return class indices as int64; see :meth:`TargetKind.check`."""
        if targets.shape != (samples,):
            shape = tuple(targets.shape)
            remedy = label_remedy("labels", shape, samples)
            if targets.dim() == 2 and targets.is_floating_point() and shape[1] > 1:
                remedy += "; probabilities of classes need class objectives with CrossEntropy()"
            raise ValueError(f"labels must be one per image, ({samples},), got {shape}{remedy}")
        check_label_type(targets)
        if values:
            check_labels(targets, outputs)
        return targets.long()

    def example(self, like: Tensor) -> Tensor:
        """Return the indices 0 and 1."""
        return torch.tensor([0, 1], device=like.device)

    def decide(self, scores: Tensor) -> Tensor:
        """Return the class with the highest score, ``(...)``."""
        return scores.argmax(-1)

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return the softmax of the scores."""
        return scores.softmax(-1)

    def mistakes(self, decisions: Tensor, targets: Tensor) -> Tensor:
        """Return whether each class is wrong."""
        return decisions != _indices(targets)

    def error(self, total: float, samples: int, outputs: int) -> float:
        """Return the share of wrongly classified samples, in percent."""
        return 100 * total / samples

    def figures(self, goodness: Tensor, scores: Tensor, targets: Tensor) -> Figures:
        """Return the mean goodness of the true class and of the others, and the share of right classes."""
        if targets.is_floating_point():
            true = (goodness * targets).sum(1)
        else:
            true = goodness.gather(1, targets[:, None]).squeeze(1)
        others = (goodness.sum(1) - true) / (goodness.shape[1] - 1)
        accuracy = (goodness.argmax(1) == _indices(targets)).float().mean()
        return Figures(true.mean(), others.mean(), accuracy)

    def loss(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropy."""
        return F.cross_entropy(scores, targets.to(scores.dtype) if targets.is_floating_point() else targets)

    def is_true(self, targets: Tensor, outputs: int) -> Tensor:
        """Return the true class as one-hot rows."""
        return _indices(targets)[:, None] == torch.arange(outputs, device=targets.device)


@dataclass(frozen=True)
class ClassProbabilities(ClassIndices):
    """Class indices ``(N,)``, or the probability of each class, ``(N, classes)``: smoothed, mixed or distilled labels.

    Rows are not negative and sum to 1. In evaluations, the class with the highest probability is the true one.

    Example:
        >>> kind = ClassProbabilities()
        >>> kind.check(torch.tensor([[0.75, 0.25]]), samples=1, outputs=2)
        tensor([[0.7500, 0.2500]])
        >>> kind.soften(torch.tensor([1]), outputs=2)
        tensor([[0., 1.]])
    """

    mixes: ClassVar[bool] = True

    def check(self, targets: Tensor, samples: int, outputs: int | None, values: bool = True) -> Tensor:
        """Return class indices as int64, or probabilities as floating-point rows; see :meth:`TargetKind.check`."""
        is_distribution = targets.dim() == 2 and targets.is_floating_point() and targets.shape[1] > 1
        if not is_distribution:
            return super().check(targets, samples, outputs, values)
        if len(targets) != samples or (outputs is not None and targets.shape[1] != outputs):
            expected = (samples, "classes" if outputs is None else outputs)
            raise ValueError(
                f"labels must be one class per image or its probabilities, ({expected[0]}, {expected[1]}), "
                f"got {tuple(targets.shape)}"
            )
        rows = targets.to(accumulator(targets))
        if values and len(rows):
            if not all_finite(rows):
                raise ValueError("labels must be finite probabilities, got NaN or infinity")
            sums = rows.sum(1)
            lowest, farthest = float(rows.min()), float(sums[(sums - 1).abs().argmax()])
            if lowest < 0 or abs(farthest - 1) > TOLERANCE:
                got = f"the value {lowest:.4g}" if lowest < 0 else f"a row of sum {farthest:.4g}"
                raise ValueError(
                    f"labels must be probabilities, at least 0 and of sum 1 in each row, got {got}; several labels of "
                    "one image need BinaryCrossEntropy()"
                )
        return rows

    def soften(self, targets: Tensor, outputs: int) -> Tensor:
        """Return the probabilities of the classes, of indices one-hot rows."""
        return targets if targets.is_floating_point() else self.is_true(targets, outputs).float()


def _indices(targets: Tensor) -> Tensor:
    """Return class indices, of probabilities the most likely class."""
    return targets.argmax(-1) if targets.is_floating_point() else targets
