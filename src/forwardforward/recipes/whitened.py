"""Strictly local convolutional networks behind a frozen whitening: this library's best networks on small images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from forwardforward._utils.arguments import (
    NonNegativeFloat,
    NonNegativeInt,
    NumClasses,
    PositiveFloat,
    PositiveInt,
    Probability,
    checked,
)
from forwardforward.baselines import Backpropagation
from forwardforward.classifiers import SumOverLayers
from forwardforward.data import Compose, Cutout, RandomCrop, RandomFlip
from forwardforward.goodness import LearnedProjection
from forwardforward.losses import CrossEntropy, SimilarityMatching, SupervisedContrastive
from forwardforward.lr_schedules import Cooldown
from forwardforward.normalization import BatchNorm
from forwardforward.objectives import (
    BatchObjective,
    ClassObjective,
    Embedding,
    Objective,
    PooledObjective,
    SimilarityEmbedding,
)
from forwardforward.pooling import SpatialPool
from forwardforward.preprocessing import PatchWhitening
from forwardforward.recipes.architectures import Convolutions
from forwardforward.recipes.per_class import POOL_FIRST
from forwardforward.recipes.recipe import Recipe, derive
from forwardforward.update_schedules import EndToEnd
from forwardforward.views import Mirror

__all__ = ["RECIPES", "PooledContrast"]


@checked
@dataclass(frozen=True)
class PooledContrast:
    """Cross-entropy of a linear map of pooled maps, supervised contrast of an embedding of the same, and similarity.

    Args:
        pool: Side of the pooled maps.
        label_smoothing: Of the cross-entropy.
        contrast: Factor on the contrastive loss; 0 for none.
        temperature: Temperature of the contrastive loss.
        dimensions: Size of the embeddings.
        similarity: Factor on similarity matching of the maps, by a 3x3 convolution to ``dimensions`` channels; 0 for
            none.

    Example:
        >>> type(PooledContrast()(num_classes=10, layer=0)).__name__
        'PooledObjective'
    """

    pool: PositiveInt = 3
    label_smoothing: Probability = 0.1
    contrast: NonNegativeFloat = 1.0
    temperature: PositiveFloat = 0.2
    dimensions: PositiveInt = 128
    similarity: NonNegativeFloat = 0.0

    @checked
    def __call__(self, num_classes: NumClasses, layer: NonNegativeInt) -> Objective:
        """Return the objective of a layer.

        Args:
            num_classes: Number of classes.
            layer: Index of the layer; the objectives of all layers are equal.
        """
        goodness = LearnedProjection(num_classes, init="zeros")
        terms: Objective = ClassObjective(goodness, CrossEntropy(label_smoothing=self.label_smoothing))
        if self.contrast:
            loss = SupervisedContrastive(self.temperature)
            terms = terms + BatchObjective(loss, Embedding(self.dimensions), self.contrast)
        objective: Objective = PooledObjective(terms, SpatialPool(self.pool))
        if self.similarity:
            embedding = SimilarityEmbedding(self.dimensions)
            objective = objective + BatchObjective(SimilarityMatching(num_classes), embedding, self.similarity)
        return objective


WHITENED = Recipe(
    name="whitened",
    summary="whitened patches, 6 convolutions, cross-entropy and supervised contrast of pooled maps in every layer",
    source="this library; whitening as in arXiv 2404.00498, the contrastive loss of HCL-FF (arXiv 2605.24797)",
    architecture=Convolutions(pools=(0, 2, 4), order=POOL_FIRST, activation=nn.GELU()),
    widths=(96, 96, 256, 256, 384, 384),
    objective=PooledContrast(),
    normalization=BatchNorm(affine=True),
    classifier=SumOverLayers(slice(-2, None)),
    optimizer=torch.optim.Adam,
    lr=0.007,
    optimizer_options={"fused": True},
    lr_schedule=Cooldown(0.2, warmup=0.2),
    preprocessing=PatchWhitening(),
    views=Mirror(shift=1),
    augment=Compose(RandomCrop(2, fill="reflect"), RandomFlip()),
    epochs=22,
    batch_size=128,
    data_settings={
        "digits": {
            "widths": (16, 16, 32, 32),
            "architecture": Convolutions(pools=(2,), order=POOL_FIRST, activation=nn.GELU()),
            "views": None,
            "augment": None,
            "batch_size": 50,
        },
        "mnist": {"views": None, "augment": RandomCrop(2)},
        "svhn": {"views": None, "augment": RandomCrop(2, fill="reflect")},
    },
)

WHITENED_SMALL = derive(
    WHITENED,
    name="whitened-small",
    summary="whitened with narrower layers: below 0.5 M parameters in prediction",
    widths=(48, 64, 96, 96, 128, 136),
    epochs=15,
)

WHITENED_WIDE = derive(
    WHITENED,
    name="whitened-wide",
    summary="whitened with wider layers, cutout and more epochs",
    widths=(128, 128, 384, 384, 512, 512),
    augment=Compose(RandomCrop(4, fill="reflect"), RandomFlip(), Cutout(8)),
    epochs=90,
)

WHITENED_BACKPROP = derive(
    WHITENED,
    name="whitened-backprop",
    summary="baseline: the network of whitened trained end to end with cross-entropy",
    source="backpropagation",
    objective=None,
    classifier=None,
    baseline=Backpropagation,
)

WHITENED_DEEP_SUPERVISION = derive(
    WHITENED,
    name="whitened-deep-supervision",
    summary="baseline: sum of whitened's local losses, backpropagated through all layers",
    source="Lee et al., Deeply-Supervised Nets (2015), arXiv 1409.5185",
    schedule=EndToEnd(),
)

RECIPES = (WHITENED, WHITENED_SMALL, WHITENED_WIDE, WHITENED_BACKPROP, WHITENED_DEEP_SUPERVISION)
