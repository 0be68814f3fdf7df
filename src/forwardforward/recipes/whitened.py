"""Strictly local convolutional networks behind a frozen whitening: this library's best networks on small images."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from forwardforward._utils.arguments import NonNegativeFloat, NonNegativeInt, NumClasses, PositiveInt, Probability, checked
from forwardforward.classifiers import SumOverLayers
from forwardforward.data import Compose, RandomCrop, RandomFlip
from forwardforward.goodness import LearnedProjection
from forwardforward.losses import CrossEntropy, SupervisedContrastive
from forwardforward.lr_schedules import Cooldown
from forwardforward.normalization import BatchNorm
from forwardforward.objectives import BatchObjective, ClassObjective, Embedding, Objective, PooledObjective
from forwardforward.pooling import SpatialPool
from forwardforward.preprocessing import PatchWhitening
from forwardforward.recipes.architectures import Convolutions
from forwardforward.recipes.per_class import POOL_FIRST
from forwardforward.recipes.recipe import Recipe, derive
from forwardforward.views import Mirror

__all__ = ["RECIPES", "PooledContrast"]


@checked
@dataclass(frozen=True)
class PooledContrast:
    """Cross-entropy of a linear map of pooled maps, plus supervised contrast of an embedding of the same.

    Args:
        pool: Side of the pooled maps.
        label_smoothing: Of the cross-entropy.
        weight: Factor on the contrastive loss; 0 for none.
        temperature: Temperature of the contrastive loss.
        dimensions: Size of the embeddings.

    Example:
        >>> type(PooledContrast()(num_classes=10, layer=0)).__name__
        'PooledObjective'
    """

    pool: PositiveInt = 3
    label_smoothing: Probability = 0.1
    weight: NonNegativeFloat = 1.0
    temperature: NonNegativeFloat = 0.2
    dimensions: PositiveInt = 128

    @checked
    def __call__(self, num_classes: NumClasses, layer: NonNegativeInt) -> Objective:
        """Return the objective of a layer.

        Args:
            num_classes: Number of classes.
            layer: Index of the layer; the objectives of all layers are equal.
        """
        goodness = LearnedProjection(num_classes, init="zeros")
        objective: Objective = ClassObjective(goodness, CrossEntropy(label_smoothing=self.label_smoothing))
        if self.weight:
            loss = SupervisedContrastive(self.temperature)
            objective = objective + BatchObjective(loss, Embedding(self.dimensions), self.weight)
        return PooledObjective(objective, SpatialPool(self.pool))


WHITENED = Recipe(
    name="whitened",
    summary="whitened patches, 6 convolutions, cross-entropy and supervised contrast of pooled maps in every layer",
    source="this library; the whitening of arXiv 2404.00498, the contrastive loss of HCL-FF (arXiv 2605.24797)",
    architecture=Convolutions(pools=(0, 2, 4), order=POOL_FIRST, activation=nn.GELU),
    widths=(96, 96, 256, 256, 384, 384),
    objective=PooledContrast(),
    normalization=BatchNorm(affine=True),
    classifier=SumOverLayers(slice(-1, None)),
    optimizer=torch.optim.Adam,
    lr=0.007,
    optimizer_options={"fused": True},
    lr_schedule=Cooldown(0.2, warmup=0.2),
    preprocessing=PatchWhitening(),
    views=Mirror(),
    augment=Compose(RandomCrop(2, fill="reflect"), RandomFlip()),
    epochs=20,
    batch_size=128,
)

RECIPES = (WHITENED,)
