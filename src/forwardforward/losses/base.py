"""Base classes of the losses; the base class states the kind of objective that a loss belongs to."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn

from forwardforward.specs import Plugin
from forwardforward.targets import ClassIndices, TargetKind


class PairLoss(Plugin, nn.Module):
    """Base of the losses of positive against negative goodness.

    A subclass implements :meth:`forward`; :meth:`accuracy` may be overridden. A loss that depends on the layer's index
    or on the goodness's scale implements ``setup(spec)``, see :class:`~forwardforward.specs.LayerSpec`.

    Example:
        >>> import torch
        >>> class Hinge(PairLoss):
        ...     def forward(self, positive, negative):
        ...         return torch.relu(1 - positive + negative).mean()
        >>> Hinge()(torch.tensor([3.0, 0.5]), torch.tensor([1.0, 0.5]))
        tensor(0.5000)
    """

    @abstractmethod
    def forward(self, positive: Tensor, negative: Tensor) -> Tensor:
        """Return the loss, a scalar.

        Args:
            positive: Goodness of the positive samples, ``(batch,)``, or ``(batch, ...)`` by position.
            negative: Goodness of the negative samples, of the same shape.
        """
        raise NotImplementedError

    @property
    def thresholds(self) -> tuple[float | Tensor, float | Tensor] | None:
        """Goodness above which positive and below which negative samples are right; None: only their order counts."""
        return None

    def accuracy(self, positive: Tensor, negative: Tensor) -> Tensor:
        """Return the share of correct decisions: here, of pairs with more goodness for the positive sample.

        Args:
            positive: Goodness of the positive samples.
            negative: Goodness of the negative samples.
        """
        return (positive > negative).float().mean()


class ClassLoss(Plugin, nn.Module):
    """Base of the losses of per-class goodness against targets.

    Attributes:
        target_kind: The targets that the loss accepts, see :mod:`forwardforward.targets`; default: class indices.

    Example:
        >>> import torch
        >>> class MeanMargin(ClassLoss):
        ...     def forward(self, goodness, targets):
        ...         return (goodness.mean(1) - goodness.gather(1, targets[:, None])[:, 0]).mean()
        >>> MeanMargin()(torch.tensor([[3.0, 1.0]]), torch.tensor([0]))
        tensor(-1.)
    """

    target_kind: TargetKind = ClassIndices()

    @abstractmethod
    def forward(self, goodness: Tensor, targets: Tensor) -> Tensor:
        """Return the loss, a scalar.

        Args:
            goodness: Goodness of each sample for each class, ``(batch, classes)``.
            targets: Targets of the kind that the loss accepts, such as class indices ``(batch,)``.
        """
        raise NotImplementedError

    def scores(self, goodness: Tensor) -> Tensor:
        """Return the goodness as scores, on which the kind of the targets decides; default: unchanged.

        Args:
            goodness: ``(batch, classes)``.
        """
        return goodness


class BatchLoss(Plugin, nn.Module):
    """Base of the losses that compare the embeddings of a batch with each other.

    Attributes:
        target_kind: The targets that the loss accepts, see :mod:`forwardforward.targets`; default: class indices.

    Example:
        >>> import torch
        >>> class Spread(BatchLoss):
        ...     def forward(self, embeddings, targets):
        ...         return -embeddings.var(0).sum()
        >>> Spread()(torch.tensor([[0.0], [2.0]]), torch.tensor([0, 1]))
        tensor(-2.)
    """

    target_kind: TargetKind = ClassIndices()

    @abstractmethod
    def forward(self, embeddings: Tensor, targets: Tensor) -> Tensor:
        """Return the loss, a scalar.

        Args:
            embeddings: One row per sample, ``(batch, dimensions)``.
            targets: Targets of the kind that the loss accepts, such as class indices ``(batch,)``.
        """
        raise NotImplementedError
