"""The recipes of the Trifecta's studies, without some of their parts, the rows' lengths, and the reduced settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from benchmarks.cells import Row, Setting
from forwardforward.baselines import Backpropagation, FeedbackAlignment, Pepita
from forwardforward.label_encoders import RandomChannel
from forwardforward.layers import TRANSFORM_FIRST, FFLayer
from forwardforward.losses import SymBa, Threshold
from forwardforward.normalization import RMSNorm
from forwardforward.recipes import Recipe, get
from forwardforward.recipes.architectures import Convolutions
from forwardforward.update_schedules import Joint

SHALLOW, DEEP, DENSE = (get(f"trifecta-{size}") for size in ("s", "d", "fcn"))

#: A minute or two per cell on two cores.
QUICK = Setting(epochs=4, width=0.125, images=4_000, batch_size=64, precision="bf16", lr_factor=0.5)

#: About ten minutes per cell on two cores with bf16 units, and as many steps as about 64 of the paper's epochs: fewer
#: images in smaller batches, with the learning rate times about the square root of the ratio of the batches.
REDUCED = Setting(epochs=40, width=0.25, images=10_000, batch_size=64, precision="bf16", lr_factor=0.5)

#: The same for the dense networks of the figures, whose batches stay large: their weights outnumber their activations.
DENSE_REDUCED = Setting(epochs=40, width=0.25, images=10_000, precision="bf16")

#: The deep network, whose rows have fewer epochs themselves.
SHORT_REDUCED = Setting(width=0.25, images=10_000, batch_size=64, precision="bf16", lr_factor=0.5)

#: The rows of residual connections are measured after 30 and 100 epochs, which here are as many steps on fewer images.
RESIDUAL_REDUCED = Setting(width=0.25, images=5_000, batch_size=64, precision="bf16", lr_factor=0.5)

#: The rows of rolling averages have batches of their own.
SMALL_BATCHES = Setting(epochs=10, width=0.25, images=10_000, precision="bf16")

MNIST_REDUCED = Setting(width=0.5, batch_size=128, precision="bf16", lr_factor=0.5)

LOSSES: dict[str, tuple[str, nn.Module]] = {
    "ftl2": ("threshold 2", Threshold(theta=2.0)),
    "ftl10": ("threshold 10", Threshold(theta=10.0)),
    "symba": ("SymBa", SymBa(alpha=4.0)),
}


def changed(recipe: Recipe, **changes: Any) -> Convolutions:
    """Return a recipe's architecture with other arguments."""
    assert isinstance(recipe.architecture, Convolutions)
    return replace(recipe.architecture, **changes)


@dataclass(frozen=True)
class WithDropout(Convolutions):
    """Convolutions of which each but the first drops channels of its input; the objectives read all channels.

    Args:
        dropout: Probability of dropping a channel.
    """

    dropout: float = 0.2

    def __call__(self, input_shape: Sequence[int], widths: Sequence[int], num_classes: int) -> list[FFLayer]:
        """Return one layer per width."""
        first, *layers = super().__call__(input_shape, widths, num_classes)
        return [
            first,
            *(
                FFLayer(
                    nn.Sequential(nn.Dropout2d(self.dropout), layer.block),
                    activation=layer.activation,
                    pool=layer.pool,
                    order=layer.order,
                )
                for layer in layers
            ),
        ]


#: Fields that a baseline does not use.
UNUSED: dict[str, Any] = {
    **dict.fromkeys(("goodness", "loss", "label_encoder", "negatives", "classifier")),
    "schedule": Joint(),
}

#: Backpropagation, with its usual order of operations.
BACKPROP = DEEP.replace(architecture=changed(DEEP, order=TRANSFORM_FIRST), baseline=Backpropagation, **UNUSED)
FEEDBACK = DENSE.replace(baseline=FeedbackAlignment, **UNUSED)

#: PEPITA's convolutional network: one layer of 32 kernels of 5x5, a max-pool, and the output layer.
PEPITA = get("pepita").replace(
    baseline=Pepita,
    architecture=Convolutions(pools=(0,), kernel_size=5, order=TRANSFORM_FIRST, bias=True, init="he_uniform"),
    widths=(32,),
)


def without(recipe: Recipe, norm: bool = False, overlap: bool = False, **changes: Any) -> Recipe:
    """Return a recipe with length in place of batch normalization, or without overlapping updates.

    Length normalization, which does not subtract the mean, is the form that the paper calls layer normalization.
    Without overlapping updates the label maps are random, as in the paper.
    """
    if norm:
        changes = {"normalization": RMSNorm(), **changes}
    if overlap:
        maps = {} if recipe is DENSE else {"label_encoder": RandomChannel}
        changes = {"schedule": Joint(), **maps, **changes}
    return recipe.replace(**changes)


def shallow(line: str, label: str, recipe: Recipe, epochs: int = 100, **paper: str) -> Row:
    """Return a row of the shallow network, whose schedules run over 200 epochs."""
    return Row(line, label, recipe, epochs, total_epochs=200, paper=paper)


def deep(line: str, label: str, recipe: Recipe, epochs: int, **paper: str) -> Row:
    """Return a row of the deep network, whose schedules run over 500 epochs."""
    return Row(line, label, recipe, epochs, total_epochs=500, paper=paper)
