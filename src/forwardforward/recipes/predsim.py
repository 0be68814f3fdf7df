"""Local error signals by similarity matching and prediction: Nøkland and Eidnes' networks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from forwardforward._utils.arguments import NonNegativeInt, NumClasses, PositiveInt, Probability, checked
from forwardforward.data import Compose, RandomCrop, RandomFlip
from forwardforward.goodness import LearnedProjection
from forwardforward.heads import LinearHead
from forwardforward.losses import CrossEntropy, SimilarityMatching
from forwardforward.lr_schedules import Cooldown, Steps
from forwardforward.objectives import BatchObjective, ClassObjective, Objective, PooledObjective, SimilarityEmbedding
from forwardforward.pooling import LimitedPool
from forwardforward.recipes.architectures import LocalVGG
from forwardforward.recipes.recipe import Recipe, derive

__all__ = ["RECIPES", "PredSim"]


@checked
@dataclass(frozen=True)
class PredSim:
    """Similarity matching beside the cross-entropy of a linear map of pooled activations.

    Args:
        similarity: Factor on similarity matching; the cross-entropy has one minus this factor.
        limit: Largest number of pooled activations that the linear map reads.
        dimensions: Channels of the similarity's convolution; default: as many as the layer has.
        stride: Stride of that convolution.

    Source: Nøkland and Eidnes, Training Neural Networks with Local Error Signals (ICML 2019), arXiv 1901.06656.

    Example:
        >>> type(PredSim()(num_classes=10, layer=0)).__name__
        'SumObjective'
    """

    similarity: Probability = 0.99
    limit: PositiveInt = 2048
    dimensions: PositiveInt | None = None
    stride: PositiveInt = 1

    @checked
    def __call__(self, num_classes: NumClasses, layer: NonNegativeInt) -> Objective:
        """Return the objective of a layer.

        Args:
            num_classes: Number of classes.
            layer: Index of the layer; the objectives of all layers are equal.
        """
        goodness = LearnedProjection(num_classes, init="zeros")
        prediction = ClassObjective(goodness, CrossEntropy(), weight=1 - self.similarity)
        embedding = SimilarityEmbedding(self.dimensions, stride=self.stride)
        matching = BatchObjective(SimilarityMatching(num_classes), embedding, self.similarity)
        return PooledObjective(prediction, LimitedPool(self.limit)) + matching


#: A quarter after 50, 75, 87.5 and 93.75 % of the epochs each.
QUARTERS = Steps({0.5: 0.25, 0.75: 0.25**2, 0.875: 0.25**3, 0.9375: 0.25**4})

PREDSIM = Recipe(
    name="predsim",
    summary="VGG8b, similarity matching beside cross-entropy in every layer, dropout",
    source="Nøkland and Eidnes (ICML 2019), arXiv 1901.06656, and their program",
    architecture=LocalVGG(),
    widths=(128, 256, 256, 512, 512, 512, 1024),
    objective=PredSim(),
    head=partial(LinearHead, layers=slice(-1, None), pool=nn.Flatten()),
    classifier="head",
    optimizer=torch.optim.Adam,
    lr=5e-4,
    optimizer_options={"fused": True},
    lr_schedule=QUARTERS,
    standardize=True,
    augment=Compose(RandomCrop(4), RandomFlip()),
    epochs=400,
    batch_size=128,
    data_settings={
        "digits": {
            "architecture": LocalVGG(pools=(1, 3), dropout=0.1),
            "widths": (16, 32, 32, 32, 64),
            "augment": None,
            "epochs": 20,
            "batch_size": 50,
        },
        "mnist": {"augment": RandomCrop(2), "objective": PredSim(limit=1024), "epochs": 100},
        "fashion-mnist": {
            "architecture": LocalVGG(dropout=0.1),
            "augment": Compose(RandomCrop(2), RandomFlip()),
            "objective": PredSim(limit=1024),
            "epochs": 200,
        },
        "cifar100": {"architecture": LocalVGG(dropout=0.05), "objective": PredSim(limit=4096)},
        "svhn": {"architecture": LocalVGG(dropout=0.3), "augment": None, "lr": 3e-4, "epochs": 100},
    },
)

PREDSIM_FAST = derive(
    PREDSIM,
    name="predsim-fast",
    summary="predsim with half the width, a narrow similarity with stride 2, and 30 epochs",
    source="the objective of arXiv 1901.06656 with less arithmetic",
    architecture=LocalVGG(dropout=0.05),
    widths=(64, 128, 128, 256, 256, 256, 512),
    objective=PredSim(dimensions=128, stride=2),
    lr=2e-3,
    lr_schedule=Cooldown(0.2, warmup=0.2),
    epochs=30,
    data_settings={
        **PREDSIM.data_settings,
        "mnist": {"augment": RandomCrop(2)},
        "fashion-mnist": {"augment": Compose(RandomCrop(2), RandomFlip())},
        "cifar100": {},
        "svhn": {"augment": None},
    },
)

RECIPES = (PREDSIM, PREDSIM_FAST)
