"""The recipes that are compared: one network, trained by different losses, by local or by end-to-end gradients."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from forwardforward.baselines import Backpropagation
from forwardforward.goodness import ClassGroups, LearnedProjection, MeanOfSquares, SumOfSquares
from forwardforward.label_encoders import LearnedChannel, Overlay
from forwardforward.layers import FFLayer
from forwardforward.losses import CrossEntropy, SupervisedContrastive, SymBa, Threshold, Uniform
from forwardforward.negatives import HybridMask, SelfContrast
from forwardforward.normalization import BatchNorm, RMSNorm
from forwardforward.objectives import BatchObjective, Embedding
from forwardforward.pooling import SpatialPool
from forwardforward.recipes import Recipe
from forwardforward.recipes.architectures import Convolutions, Dense
from forwardforward.update_schedules import EndToEnd

__all__ = ["CONVOLUTIONAL", "DENSE", "EPOCHS", "METHODS", "REFERENCES", "UNLABELED"]

#: Epochs of the studies' own setting; the paper's number is not in the part that is available to us.
EPOCHS = 60

#: Names of the methods in tables.
METHODS = {
    "ff": "Forward-Forward (pair goodness)",
    "ff-joint": "pair goodness, backpropagated",
    "class": "per-class goodness",
    "class-joint": "per-class goodness, backpropagated",
    "contrast": "contrastive",
    "contrast-joint": "contrastive, backpropagated",
    "groups": "per-class goodness of groups of units",
    "bp": "backpropagation",
    "hybrid": "unsupervised, hybrid masks",
    "scff": "unsupervised, self-contrastive pairs (SCFF)",
}

#: Names of the recipes whose cells also measure untrained features and pixels, once per network.
REFERENCES = ("self-supervision-hybrid", "self-supervision-convolutional-bp")

#: Optimizer options of the one-pass head, by which methods without a goodness per class are measured on the pretext.
HEAD: dict[str, Any] = {"head": {"lr": 1e-3}}

#: Fields of pair objectives, absent from the others.
NO_PAIRS: dict[str, Any] = dict.fromkeys(("goodness", "loss", "label_encoder", "negatives"))


@dataclass(frozen=True)
class DenseInGroups(Dense):
    """A stack of dense layers whose widths are rounded up to a multiple of the number of classes."""

    def __call__(self, input_shape: Any, widths: Any, num_classes: Any) -> list[FFLayer]:
        """Return one layer per width."""
        return super().__call__(input_shape, [-(-width // num_classes) * num_classes for width in widths], num_classes)


@dataclass(frozen=True)
class Contrast:
    """The contrastive objective of a layer, on embeddings of its activations.

    Args:
        pool: Side of the pooled maps; None for layers without maps.
    """

    pool: int | None = None

    def __call__(self, num_classes: int, layer: int) -> BatchObjective:
        """Return the objective of a layer."""
        pool = None if self.pool is None else SpatialPool(self.pool)
        return BatchObjective(SupervisedContrastive(), Embedding(128, pool))


def variants(pairs: Recipe, per_class: Any, contrast: Contrast) -> dict[str, Recipe]:
    """Return a network's recipes by method: three losses, each with local gradients and end to end.

    Args:
        pairs: The recipe with a pair objective and labels in the input.
        per_class: Per-class goodness, ``num_classes -> goodness``.
        contrast: The contrastive objective.
    """
    local = {
        "ff": pairs,
        "class": pairs.replace(**NO_PAIRS | {"goodness": per_class, "loss": CrossEntropy()}),
        "contrast": pairs.replace(**NO_PAIRS, objective=contrast, overrides=HEAD),
    }
    joint = {f"{name}-joint": recipe.replace(schedule=EndToEnd()) for name, recipe in local.items()}
    backprop = pairs.replace(**NO_PAIRS, baseline=Backpropagation, optimizer_options={"fused": True})
    return {**local, **joint, "bp": backprop}


#: The paper's network. Its batch size and threshold are not in the part that is available to us.
PAIRS = Recipe(
    name="self-supervision",
    summary="4 dense layers, label of the pretext in the first pixels",
    source="A Study of Forward-Forward Algorithm for Self-Supervised Learning (2023), arXiv 2309.11955",
    widths=(2000, 2000, 2000, 2000),
    goodness=SumOfSquares(),
    loss=Threshold(Uniform(1.0)),
    normalization=RMSNorm(),
    label_encoder=Overlay,
    optimizer=torch.optim.Adam,
    lr=1e-4,
    epochs=EPOCHS,
    batch_size=128,
)

DENSE = variants(PAIRS, LearnedProjection, Contrast())
DENSE["groups"] = DENSE["class"].replace(architecture=DenseInGroups(), goodness=ClassGroups)

#: The same network, trained on images without any labels.
UNLABELED = {
    "hybrid": PAIRS.replace(name=REFERENCES[0], label_encoder=None, negatives=HybridMask(), overrides=HEAD),
    "scff": PAIRS.replace(label_encoder=None, negatives=SelfContrast(), overrides=HEAD),
}

#: A small residual network of convolutions, with the Trifecta's pair objective.
CONVOLUTIONAL = variants(
    Recipe(
        name="self-supervision-convolutional",
        summary="6 residual convolutions, label of the pretext as a learned channel",
        source="the next checks of arXiv 2309.11955, with the objective of The Trifecta (2023), arXiv 2311.18130",
        architecture=Convolutions(pools=(1, 3, 5), residual=True),
        widths=(32, 32, 64, 64, 128, 128),
        goodness=MeanOfSquares(),
        loss=SymBa(alpha=4.0),
        normalization=BatchNorm(affine=True),
        label_encoder=LearnedChannel,
        optimizer=torch.optim.Adam,
        lr=1e-3,
        standardize=True,
        epochs=EPOCHS,
        batch_size=128,
    ),
    partial(LearnedProjection, pool=SpatialPool(2)),
    Contrast(pool=2),
)
CONVOLUTIONAL["bp"] = CONVOLUTIONAL["bp"].replace(name=REFERENCES[1])
