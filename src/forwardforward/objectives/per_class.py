"""Class objectives: per-class goodness against the label."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from forwardforward._utils.annotations import describe
from forwardforward._utils.arguments import NonNegativeFloat, checked
from forwardforward.batches import Batch
from forwardforward.goodness import Goodness, GoodnessByPosition, PerClassGoodness
from forwardforward.losses import BatchLoss, ClassLoss, PairLoss
from forwardforward.objectives.base import LocalLoss, Objective, check_loss, checked_goodness, loss_name
from forwardforward.specs import LayerSpec, setup_plugin


@checked
class ClassObjective(Objective):
    """Per-class goodness against the label: no negatives, no label in the input, one pass.

    Args:
        goodness: A :class:`~forwardforward.goodness.PerClassGoodness`, or any callable from activations ``(batch,
            ...)`` to ``(batch, classes)``.
        loss: A :class:`~forwardforward.losses.ClassLoss`, or any callable ``loss(goodness, targets)``.
        weight: Factor on the loss, for a sum of objectives.

    Raises:
        TypeError: If a part is not callable with these arguments.
        ValueError: If a part has the wrong kind, or ``weight`` is negative.

    Example:
        >>> objective = ClassObjective(lambda h: h[:, :2], torch.nn.functional.cross_entropy)
        >>> objective(torch.zeros(1, 5), Batch(torch.zeros(1, 5), torch.tensor([1]))).loss
        tensor(0.6931)
    """

    def __init__(
        self,
        goodness: Callable[[Tensor], Tensor],
        loss: Callable[[Tensor, Tensor], Tensor],
        weight: NonNegativeFloat = 1.0,
    ) -> None:
        super().__init__()
        if isinstance(goodness, Goodness | GoodnessByPosition):
            raise ValueError(f"goodness must be per class for the loss {describe(loss)}, got {describe(goodness)}")
        if isinstance(loss, PairLoss | BatchLoss | Objective):
            raise ValueError(
                f"loss must compare per-class goodness with labels for a class objective, got {describe(loss)}"
            )
        self.goodness = goodness
        self.loss = loss
        self.weight = weight
        self.num_classes = goodness.num_classes if isinstance(goodness, PerClassGoodness) else None

    def forward(self, activations: Tensor, batch: Batch) -> LocalLoss:
        """Return the loss over the images of ``batch``."""
        if batch.targets is None:
            raise ValueError("targets must be given for a class objective, got None")
        goodness = self.goodness(activations)
        loss = self.loss(goodness, batch.targets)
        if self.weight != 1:
            loss = self.weight * loss
        with torch.no_grad():
            true = goodness.gather(1, batch.targets[:, None]).squeeze(1)
            others = (goodness.sum(1) - true) / (goodness.shape[1] - 1)
            accuracy = (goodness.argmax(1) == batch.targets).float().mean()
            return LocalLoss(loss, true.mean(), others.mean(), accuracy)

    def goodness_of(self, activations: Tensor) -> Tensor:
        """Return the goodness of each row for each class, ``(rows, classes)``."""
        return checked_goodness(self.goodness(activations), self.goodness)

    def check_goodness(self, goodness: Tensor) -> None:
        """Check that the goodness is one number per class, and set the number of classes if it is not known."""
        if goodness.dim() != 2 or len(goodness) != 1 or goodness.shape[1] != (self.num_classes or goodness.shape[1]):
            classes = "classes" if self.num_classes is None else self.num_classes
            raise ValueError(
                f"goodness must have shape (rows, {classes}) for a class objective, "
                f"got {tuple(goodness.shape)} for one row"
            )
        if goodness.shape[1] < 2:
            raise ValueError(f"num_classes must be at least 2, got {goodness.shape[1]}")
        self.num_classes = goodness.shape[1]
        if not isinstance(self.loss, ClassLoss):
            targets = torch.tensor([0, 1], device=goodness.device)
            check_loss(self.loss, "(goodness, targets) -> loss", goodness.repeat(2, 1), targets)

    def extra_repr(self) -> str:
        """Return the factor on the loss."""
        return "" if self.weight == 1 else f"weight={self.weight}"

    @property
    def term_name(self) -> str:
        """Name of the loss."""
        return loss_name(self.loss)

    def setup(self, spec: LayerSpec) -> None:
        """Set up goodness and loss."""
        setup_plugin(self.goodness, spec)
        setup_plugin(self.loss, spec)
