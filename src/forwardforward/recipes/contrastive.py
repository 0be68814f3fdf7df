"""Networks whose layers compare samples: a contrast beside a per-class goodness as in HCL-FF, SCFF without labels."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import zip_longest

from torch.optim import SGD

from forwardforward.classifiers import LinearHead
from forwardforward.data import Compose, RandomCrop, RandomFlip
from forwardforward.goodness import (
    ClassGroups,
    LearnedProjection,
    MeanActivation,
    MeanOfSquaresByPosition,
    PerClassGoodness,
)
from forwardforward.layers import FFLayer
from forwardforward.losses import CrossEntropy, SuperclassCrossEntropy, SupervisedContrastive, TwoThreshold
from forwardforward.lr_schedules import Cosine
from forwardforward.negatives import SelfContrast
from forwardforward.normalization import BatchNorm
from forwardforward.objectives import BatchObjective, ClassObjective, Embedding
from forwardforward.pooling import SpatialPool
from forwardforward.recipes.architectures import PER_CLASS, Architecture, Convolutions, DeeperForward
from forwardforward.recipes.per_class import DEEPERFORWARD, MONO_CONV
from forwardforward.recipes.recipe import Recipe
from forwardforward.update_schedules import Overlapping

__all__ = ["RECIPES", "Contrastive"]


@dataclass(frozen=True)
class Contrastive:
    """A network whose layers have HCL-FF's objective: a goodness for every class and a contrastive head.

    Args:
        network: The layers.
        goodness: Number of classes to the goodness of a layer.
        superclasses: For each layer from the first on, the superclass of each class; later layers tell the classes
            themselves.
        temperature: Of the contrastive loss.
        weight: Factor on the contrastive loss.
        dimensions: Of the embeddings that it compares.
        pool: Side of the pooled maps that the embeddings read.
    """

    network: Architecture
    goodness: Callable[[int], PerClassGoodness]
    superclasses: tuple[tuple[int, ...], ...] = ()
    temperature: float = 0.2
    weight: float = 1.0
    dimensions: int = 128
    pool: int = 1

    def __call__(self, input_shape: Sequence[int], widths: Sequence[int], num_classes: int) -> list[FFLayer]:
        """Return the layers, each with its objective.

        Raises:
            ValueError: If a list of superclasses does not hold one per class.
        """
        layers = self.network(input_shape, widths, num_classes)
        for layer, coarse in zip_longest(layers, self.superclasses[: len(layers)]):
            if coarse is not None and len(coarse) != num_classes:
                raise ValueError(f"superclasses must hold one of {num_classes} classes each, got {len(coarse)}")
            classes = ClassObjective(
                copy.deepcopy(self.goodness(num_classes)),
                CrossEntropy() if coarse is None else SuperclassCrossEntropy(coarse),
            )
            embedding = Embedding(self.dimensions, SpatialPool(self.pool))
            layer.objective = classes + BatchObjective(SupervisedContrastive(self.temperature), embedding, self.weight)
        return layers


NETWORK = Contrastive(DeeperForward(), partial(ClassGroups, goodness=MeanActivation()))
#: Ward's clusters of the rows of a linear classifier on CIFAR-10's pixels: two, then five. HCL-FF's program takes those
#: of the linear classifier on top of a network that it has trained before.
CIFAR10_CLUSTERS = ((0, 0, 1, 1, 1, 1, 1, 1, 0, 0), (1, 0, 3, 2, 3, 2, 2, 4, 1, 0))

HCL_FF = DEEPERFORWARD.replace(
    name="hcl-ff",
    summary="deeperforward with superclasses in early layers, a contrastive head in each, and augmentation",
    source="HCL-FF (CVPR 2026), arXiv 2605.24797; its learning rate, temperature and crops differ by source",
    architecture=NETWORK,
    augment=Compose(RandomCrop(4), RandomFlip()),
    epochs=1000,
    data_settings={
        # The network's first stage has five layers, the others four.
        "cifar10": {"architecture": replace(NETWORK, superclasses=CIFAR10_CLUSTERS[:1] * 5 + CIFAR10_CLUSTERS[1:] * 4)},
        "digits": {"widths": (20, 40), "augment": None, "epochs": 20, "batch_size": 50},
        "mnist": {"augment": RandomCrop(2), "epochs": 150},
        "fashion-mnist": {"augment": Compose(RandomCrop(2), RandomFlip())},
        "svhn": {"augment": RandomCrop(4)},
    },
)

MONO_CONV_WIDE = MONO_CONV.replace(
    name="mono-conv-wide",
    summary="mono-conv with five wider layers, a contrastive head in each and overlapping updates",
    source="Mono-Forward (arXiv 2501.09238), the contrast of HCL-FF (arXiv 2605.24797), the Trifecta's updates",
    architecture=Contrastive(
        replace(PER_CLASS, pools=(1, 2, 4, 5)), partial(LearnedProjection, pool=SpatialPool(2)), pool=2
    ),
    widths=(64, 128, 256, 256, 512),
    goodness=None,
    loss=None,
    schedule=Overlapping(2, "step"),
    epochs=30,
)

#: The goodness is read off the whole map, as in SCFF's program.
GOODNESS_BEFORE_POOL = ("normalize", "transform", "add", "activate", "goodness", "pool")

SCFF = Recipe(
    name="scff",
    summary="no labels: an image with itself against an image with another, linear readout",
    source="Chen et al., Self-Contrastive Forward-Forward (Nature Communications 16, 2025); filters and pools differ",
    architecture=Convolutions(pools=(1, 2, 3), order=GOODNESS_BEFORE_POOL),
    widths=(96, 384, 1536),
    goodness=MeanOfSquaresByPosition(),
    loss=TwoThreshold((0.0, 5.0, 6.0), (1.0, 9.0, 10.0), penalty=(0.0012, 0.0007, 0.0005)),
    normalization=BatchNorm(),
    negatives=SelfContrast(),
    head=partial(LinearHead, layers=slice(None), pool=SpatialPool(2)),
    optimizer=SGD,
    lr=0.02,
    options={"momentum": 0.9},
    overrides={"head": {"lr": 0.1}},
    lr_schedule=Cosine(),
    standardize=True,
    epochs=20,
    batch_size=100,
    data_settings={"digits": {"widths": (32, 64, 128), "batch_size": 50}},
)

RECIPES = (HCL_FF, MONO_CONV_WIDE, SCFF)
