"""Pair objectives: goodness of positive against negative samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from forwardforward._utils.annotations import describe
from forwardforward._utils.arguments import checked
from forwardforward.batches import Batch
from forwardforward.goodness import Goodness, GoodnessByPosition, PerClassGoodness
from forwardforward.losses import BatchLoss, ClassLoss, PairLoss
from forwardforward.objectives.base import (
    LocalLoss,
    Objective,
    check_loss,
    checked_goodness,
    is_cross_entropy,
    loss_name,
    tried,
)
from forwardforward.specs import LayerSpec, setup_plugin
from forwardforward.targets import ClassIndices


@checked
class PairObjective(Objective):
    """Goodness of positive samples against goodness of negative samples.

    Args:
        goodness: A scalar goodness, or one by position; any callable from activations ``(rows, ...)`` to ``(rows,
            ...)``.
        loss: A :class:`~forwardforward.losses.PairLoss`, or any callable ``loss(positive, negative)``.

    Targets are class indices: the negative of an image has a wrong label, which a mixture of classes does not have.

    Raises:
        TypeError: If a part is not callable with these arguments.
        ValueError: If a part has the wrong kind.

    Example:
        >>> objective = PairObjective(lambda h: h.square().sum(1), lambda p, n: torch.relu(1 - p + n).mean())
        >>> objective(torch.tensor([[2.0], [1.0]]), Batch(torch.zeros(2, 1), has_negatives=True)).loss
        tensor(0.)
    """

    uses_negatives = True
    target_kind = ClassIndices()

    def __init__(self, goodness: Callable[[Tensor], Tensor], loss: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        if isinstance(goodness, PerClassGoodness):
            raise ValueError(
                f"goodness must be one number per sample for the loss {describe(loss)}, got {describe(goodness)}"
            )
        if isinstance(loss, Objective | ClassLoss | BatchLoss) or is_cross_entropy(loss):
            raise ValueError(
                f"loss must compare positive with negative goodness for a pair objective, got {describe(loss)}"
            )
        self.goodness = goodness
        self.loss = loss
        #: Goodness of a sample whose activations all have magnitude one; None if unknown. The layer's setup sets it.
        self.scale: float | None = None

    def forward(self, activations: Tensor, batch: Batch) -> LocalLoss:
        """Return the loss over the pairs of ``batch``."""
        if not batch.has_negatives:
            raise ValueError("batch must have positive and negative samples for a pair objective, got plain images")
        goodness = self.goodness(activations)
        if len(goodness) % 2:
            raise ValueError(f"batch must have one negative sample per positive one, got {len(goodness)} rows")
        positive, negative = goodness.chunk(2)
        loss = self.loss(positive, negative)
        with torch.no_grad():
            accuracy = self._accuracy(positive, negative)
            return LocalLoss(loss, positive.detach().mean(), negative.detach().mean(), accuracy)

    def _accuracy(self, positive: Tensor, negative: Tensor) -> Tensor:
        """Return the loss's accuracy; of a plain function, the share of pairs in the right order."""
        if isinstance(self.loss, PairLoss):
            return self.loss.accuracy(positive, negative)
        return (positive > negative).float().mean()

    def goodness_of(self, activations: Tensor) -> Tensor:
        """Return the goodness of each row, ``(rows,)``; of a goodness by position, its mean."""
        goodness = checked_goodness(self.goodness(activations), self.goodness)
        return goodness.flatten(1).mean(1) if goodness.dim() > 1 else goodness

    def check_goodness(self, goodness: Tensor) -> None:
        """Check that the goodness is one number per sample."""
        if goodness.shape != (1,):
            raise ValueError(
                f"goodness must have shape (rows,), or (rows, ...) by position, for a pair objective, "
                f"got {tuple(goodness.shape)} for one row"
            )
        if not isinstance(self.loss, PairLoss):
            check_loss(self.loss, "(positive, negative) -> loss", goodness.repeat(2), goodness.repeat(2))

    @property
    def term_name(self) -> str:
        """Name of the loss."""
        return loss_name(self.loss)

    def setup(self, spec: LayerSpec) -> None:
        """Set up the goodness, and the loss with the goodness's scale."""
        setup_plugin(self.goodness, spec, "goodness")
        scale = None
        # a goodness by position sees the channels of one position
        features = spec.features if isinstance(self.goodness, GoodnessByPosition) else spec.size
        if isinstance(self.goodness, Goodness | GoodnessByPosition):
            try:
                scale = float(self.goodness.scale(features))
            except NotImplementedError:
                scale = None
        self.scale = scale
        setup_plugin(self.loss, replace(spec, scale=scale), "loss")

    def try_on(self, activations: Tensor, batch: Batch) -> None:
        """Try goodness and loss, then the objective."""
        goodness = tried("goodness", self.goodness, "activations -> goodness", activations)
        tried("loss", self.loss, "(positive, negative) -> loss", *goodness.chunk(2))
        super().try_on(activations, batch)
