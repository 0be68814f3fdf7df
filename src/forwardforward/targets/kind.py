"""The base of the kinds of targets."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import ClassVar, NamedTuple

from torch import Tensor

from forwardforward.specs import Plugin

__all__ = ["Figures", "TargetKind"]


class Figures(NamedTuple):
    """Figures of one batch, for the history.

    Attributes:
        positive: Mean goodness of the true classes or labels; None if there are none.
        negative: Mean goodness of the others.
        accuracy: Share of right decisions; None for real values.

    Example:
        >>> Figures().accuracy is None
        True
    """

    positive: Tensor | None = None
    negative: Tensor | None = None
    accuracy: Tensor | None = None


class TargetKind(Plugin):
    """Base of the kinds of targets. Kinds are compared by value, and have no tensors.

    Attributes:
        metric: Name of the error that :meth:`error` returns; the smaller, the better.
        unit: Its unit, ``"%"`` or empty.
        mixes: Whether targets can be mixed with each other, as by :class:`~forwardforward.data.Mixup`.
        has_one_class: Whether every sample has one class, which some classifiers and all pair objectives need.

    Example:
        >>> import torch, forwardforward as ff
        >>> kind = ff.targets.MultiLabel()
        >>> kind.decide(torch.tensor([[2.0, -1.0, 3.0]]))
        tensor([[ True, False,  True]])
    """

    metric: ClassVar[str] = "error"
    unit: ClassVar[str] = "%"
    mixes: ClassVar[bool] = False
    has_one_class: ClassVar[bool] = False

    @abstractmethod
    def check(self, targets: Tensor, samples: int, outputs: int | None, values: bool = True) -> Tensor:
        """Return targets in the form that objectives use: int64 indices, or floating-point numbers.

        Args:
            targets: Any tensor.
            samples: Number of samples that they belong to.
            outputs: Number of outputs of a layer: classes, labels or values; None if it is not known yet.
            values: Whether to check the values too, which waits for the device.

        Raises:
            TypeError: If they have another dtype.
            ValueError: If they have another shape, or a value is out of range or not finite.
        """
        raise NotImplementedError

    @abstractmethod
    def example(self, like: Tensor) -> Tensor:
        """Return targets of two samples, to try a loss.

        Args:
            like: Goodness, ``(rows, outputs)``, whose dtype and device count.
        """
        raise NotImplementedError

    @abstractmethod
    def decide(self, scores: Tensor) -> Tensor:
        """Return the predictions of scores.

        Args:
            scores: ``(..., outputs)``.
        """
        raise NotImplementedError

    @abstractmethod
    def probabilities(self, scores: Tensor) -> Tensor:
        """Return the probabilities of scores, of the same shape.

        Args:
            scores: ``(..., outputs)``.
        """
        raise NotImplementedError

    @abstractmethod
    def mistakes(self, decisions: Tensor, targets: Tensor) -> Tensor:
        """Return what each decision adds to the error, ``(..., samples)``.

        Args:
            decisions: As :meth:`decide` returns them, ``(..., samples)`` or ``(..., samples, outputs)``.
            targets: Checked targets of the samples.
        """
        raise NotImplementedError

    @abstractmethod
    def error(self, total: float, samples: int, outputs: int) -> float:
        """Return the error of all samples.

        Args:
            total: Sum of :meth:`mistakes`.
            samples: Number of samples.
            outputs: Number of decisions per sample.
        """
        raise NotImplementedError

    def figures(self, goodness: Tensor, scores: Tensor, targets: Tensor) -> Figures:
        """Return the figures of one batch; default: none.

        Args:
            goodness: ``(batch, outputs)``.
            scores: The goodness as scores, of the same shape.
            targets: Checked targets.
        """
        return Figures()

    def soften(self, targets: Tensor, outputs: int) -> Tensor:
        """Return targets as floating-point numbers that can be mixed with each other; default: unchanged.

        Args:
            targets: Checked targets.
            outputs: Number of classes or labels.

        Raises:
            ValueError: If the kind has no mixed targets.
        """
        if not self.mixes:
            raise ValueError(
                f"augment must not mix targets of the kind {self!r}: a mixture of classes has no wrong label, as pair "
                "objectives need; class objectives with CrossEntropy() accept it"
            )
        return targets

    def loss(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of the one-pass head, a scalar.

        Args:
            scores: Logits, ``(batch, outputs)``.
            targets: Checked targets.

        Raises:
            ValueError: If there is no head for this kind.
        """
        raise ValueError(f"head must be None for targets of the kind {self!r}")

    def is_true(self, targets: Tensor, outputs: int) -> Tensor:
        """Return which classes or labels are true for each sample, ``(samples, outputs)``.

        Args:
            targets: Checked targets.
            outputs: Number of classes or labels.

        Raises:
            ValueError: If no output is true or false.
        """
        raise ValueError(f"targets must be classes or labels, got targets of the kind {self!r}")


def common_kind(kinds: Iterable[TargetKind | None]) -> TargetKind | None:
    """Return the kind of targets that all objectives of a network accept.

    Class indices are class probabilities too, so an objective that needs indices decides.

    Args:
        kinds: The kinds of the objectives; None for those that accept any.

    Returns:
        The kind, None if all accept any.

    Raises:
        ValueError: If they have none in common.

    Example:
        >>> import forwardforward as ff
        >>> common_kind([ff.targets.ClassProbabilities(), ff.targets.ClassIndices()])
        ClassIndices()
    """
    distinct = list(dict.fromkeys(kind for kind in kinds if kind is not None))
    one_class = [kind for kind in distinct if kind.has_one_class]
    if len(one_class) == len(distinct) > 1:
        return next((kind for kind in distinct if not kind.mixes), distinct[0])  # the stricter one
    if len(distinct) > 1:
        raise ValueError(
            f"objectives of one network must accept the same targets, got {', '.join(map(repr, distinct))}"
        )
    return distinct[0] if distinct else None


def measured(value: float, metric: str = "error", unit: str = "%") -> str:
    """Return a measured error as text.

    Args:
        value: The number.
        metric: Its name.
        unit: Its unit.

    Example:
        >>> measured(2.5), measured(54.25, "RMSE", "")
        ('error 2.50 %', 'RMSE 54.25')
    """
    return f"{metric} {value:.2f} {unit}" if unit else f"{metric} {value:.4g}"
