"""Class objectives: per-class goodness against the targets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from forwardforward._utils.annotations import describe
from forwardforward._utils.arguments import NonNegativeFloat, checked
from forwardforward.batches import Batch
from forwardforward.goodness import Goodness, GoodnessByPosition, PerClassGoodness
from forwardforward.losses import BatchLoss, ClassLoss, PairLoss
from forwardforward.objectives.base import (
    LocalLoss,
    Objective,
    check_loss,
    checked_goodness,
    kind_of,
    loss_name,
    tried,
)
from forwardforward.specs import LayerSpec, setup_plugin
from forwardforward.targets import RealValues, TargetKind


@checked
class ClassObjective(Objective):
    """Per-class goodness against the targets: no negatives, no label in the input, one pass.

    The loss states the kind of the targets, see :mod:`forwardforward.targets`: classes, their probabilities, several
    labels, or real numbers.

    Args:
        goodness: A :class:`~forwardforward.goodness.PerClassGoodness`, or any callable from activations ``(batch,
            ...)`` to ``(batch, classes)``.
        loss: A :class:`~forwardforward.losses.ClassLoss`, or any callable ``loss(goodness, targets)``.
        target_kind: The targets that the loss accepts; default: those that a ``ClassLoss`` declares, of a plain
            function class indices.
        weight: Factor on the loss, for a sum of objectives.

    Raises:
        TypeError: If a part is not callable with these arguments.
        ValueError: If a part has the wrong kind, or ``weight`` is negative.

    Example:
        >>> objective = ClassObjective(lambda h: h[:, :2], torch.nn.functional.cross_entropy)
        >>> objective(torch.zeros(1, 5), Batch(torch.zeros(1, 5), torch.tensor([1]))).loss
        tensor(0.6931)
        >>> import forwardforward as ff
        >>> smooth_l1 = ClassObjective(lambda h: h[:, :1], torch.nn.functional.smooth_l1_loss, ff.targets.RealValues())
    """

    def __init__(
        self,
        goodness: Callable[[Tensor], Tensor],
        loss: Callable[[Tensor, Tensor], Tensor],
        target_kind: TargetKind | None = None,
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
        self._target_kind = target_kind
        if self.num_classes is not None:
            self._check_num_classes(self.num_classes)

    @property
    def target_kind(self) -> TargetKind:  # type: ignore[override]
        """The targets that the loss accepts."""
        return kind_of(self.loss) if self._target_kind is None else self._target_kind

    def forward(self, activations: Tensor, batch: Batch) -> LocalLoss:
        """Return the loss over the images of ``batch``."""
        if batch.targets is None:
            raise ValueError("targets must be given for a class objective, got None")
        goodness = self.goodness(activations)
        loss = self.loss(goodness, batch.targets)
        if self.weight != 1:
            loss = self.weight * loss
        with torch.no_grad():
            figures = self.target_kind.figures(goodness, self._scores(goodness), batch.targets)
            return LocalLoss(loss, figures.positive, figures.negative, figures.accuracy)

    def _scores(self, goodness: Tensor) -> Tensor:
        return self.loss.scores(goodness) if isinstance(self.loss, ClassLoss) else goodness

    def goodness_of(self, activations: Tensor) -> Tensor:
        """Return the goodness of each row for each class as the loss's scores, ``(rows, classes)``."""
        return self._scores(checked_goodness(self.goodness(activations), self.goodness))

    def check_goodness(self, goodness: Tensor) -> None:
        """Check that the goodness is one number per class, and set the number of classes if it is not known."""
        if goodness.dim() != 2 or len(goodness) != 1 or goodness.shape[1] != (self.num_classes or goodness.shape[1]):
            classes = "classes" if self.num_classes is None else self.num_classes
            raise ValueError(
                f"goodness must have shape (rows, {classes}) for a class objective, "
                f"got {tuple(goodness.shape)} for one row"
            )
        self._check_num_classes(goodness.shape[1])
        self.num_classes = goodness.shape[1]
        if not isinstance(self.loss, ClassLoss):
            targets = self.target_kind.example(goodness)
            check_loss(self.loss, "(goodness, targets) -> loss", goodness.repeat(2, 1), targets)

    def _check_num_classes(self, count: int) -> None:
        if count < 2 and self.target_kind != RealValues():
            raise ValueError(f"num_classes must be at least 2, got {count}")

    def extra_repr(self) -> str:
        """Return the factor on the loss."""
        return "" if self.weight == 1 else f"weight={self.weight}"

    @property
    def term_name(self) -> str:
        """Name of the loss."""
        return loss_name(self.loss)

    def setup(self, spec: LayerSpec) -> None:
        """Set up goodness and loss."""
        setup_plugin(self.goodness, spec, "goodness")
        lowest = self.goodness.lowest if isinstance(self.goodness, PerClassGoodness) else None
        setup_plugin(self.loss, replace(spec, lowest=lowest), "loss")

    def try_on(self, activations: Tensor, batch: Batch) -> None:
        """Try goodness and loss, then the objective."""
        goodness = tried("goodness", self.goodness, "activations -> goodness", activations)
        if batch.targets is not None:
            tried("loss", self.loss, "(goodness, targets) -> loss", goodness, batch.targets)
        super().try_on(activations, batch)
