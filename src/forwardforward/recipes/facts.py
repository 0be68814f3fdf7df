"""What a comparison of results must state about a recipe, beside its errors."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from forwardforward.baselines import DirectFeedbackAlignment, Pepita
from forwardforward.data import Compose, Kornia
from forwardforward.losses import PairLoss
from forwardforward.recipes.recipe import Recipe
from forwardforward.step import check_groups

#: Steps in which a schedule's groups are looked at: two epochs' first steps cover alternating schedules.
STEPS = 4


@dataclass(frozen=True)
class Facts:
    """Facts that a table of results shows for each row.

    Attributes:
        gradient_crosses: Largest number of layers that a gradient crosses: ``"1"`` for strictly local learning,
            ``"all"`` for an error that is propagated through the whole network.
        passes: Forward passes per image in a training step: two for pairs of samples.
        augmentation: Names of the random changes of the training images; empty for none.
        views: Views of an image over which predictions are averaged; empty for the image alone.
    """

    gradient_crosses: str
    passes: int
    augmentation: str
    views: str

    @classmethod
    def of(cls, recipe: Recipe) -> Facts:
        """Return the facts of a recipe with its settings for a data set."""
        return cls(
            gradient_crosses=_gradient_crosses(recipe),
            passes=2 if isinstance(recipe.loss, PairLoss) or recipe.baseline is Pepita else 1,
            augmentation=", ".join(_names(recipe.augment)),
            views="" if recipe.views is None else repr(recipe.views),
        )

    def to_dict(self) -> dict[str, str | int]:
        """Return the facts in a form that JSON can represent."""
        return asdict(self)


def _gradient_crosses(recipe: Recipe) -> str:
    if recipe.baseline is not None:
        local = DirectFeedbackAlignment, Pepita
        return "1" if isinstance(recipe.baseline, type) and issubclass(recipe.baseline, local) else "all"
    depth = max(len(recipe.widths), 2)
    steps = [
        check_groups(recipe.schedule(depth, epoch, step, recipe.epochs), depth)
        for epoch in range(min(2, recipe.epochs))
        for step in range(STEPS)
    ]
    longest = max((len(group.layers) for groups in steps for group in groups), default=1)
    return "all" if longest == depth and depth > 2 else str(longest)


def _names(augment: object) -> list[str]:
    if augment is None:
        return []
    if isinstance(augment, Compose):
        return [name for part in augment.augmentations for name in _names(part)]
    if isinstance(augment, Kornia):
        return list(augment.transforms)
    return [getattr(augment, "__name__", type(augment).__name__)]
