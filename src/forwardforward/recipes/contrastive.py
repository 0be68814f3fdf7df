"""Networks whose layers compare samples: a contrastive loss beside a per-class goodness, or pairs without labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from torch.optim import SGD

from forwardforward._utils.arguments import (
    NonNegativeFloat,
    NonNegativeInt,
    NumClasses,
    PositiveFloat,
    PositiveInt,
    checked,
)
from forwardforward.data import Compose, RandomCrop, RandomFlip
from forwardforward.goodness import (
    ClassGroups,
    LearnedProjection,
    MeanActivation,
    MeanOfSquaresByPosition,
    PerClassGoodness,
)
from forwardforward.heads import LinearHead
from forwardforward.losses import CrossEntropy, SuperclassCrossEntropy, SupervisedContrastive, TwoThreshold
from forwardforward.lr_schedules import Cosine
from forwardforward.negatives import SelfContrast
from forwardforward.normalization import BatchNorm
from forwardforward.objectives import BatchObjective, ClassObjective, Embedding, Objective
from forwardforward.pooling import SpatialPool
from forwardforward.recipes.architectures import Convolutions
from forwardforward.recipes.per_class import DEEPERFORWARD, MONO_CONV, POOL_FIRST
from forwardforward.recipes.recipe import Recipe, derive
from forwardforward.update_schedules import Overlapping

__all__ = ["RECIPES", "ContrastiveObjective"]


@checked
@dataclass(frozen=True)
class ContrastiveObjective:
    """HCL-FF's objective: cross-entropy of a per-class goodness plus a contrastive loss on embeddings.

    Args:
        goodness: ``num_classes -> per-class goodness``.
        superclasses: For each of the first layers, the superclass of every class; later layers distinguish the
            classes themselves.
        temperature: Temperature of the contrastive loss.
        weight: Factor on the contrastive loss.
        dimensions: Size of the embeddings.
        pool: Side of the pooled maps from which the embeddings are computed.

    Source: HCL-FF (CVPR 2026), arXiv 2605.24797.

    Example:
        >>> import forwardforward as ff
        >>> objective = ContrastiveObjective(ff.goodness.ClassGroups, superclasses=((0, 0, 1, 1),))
        >>> [type(objective(num_classes=4, layer=layer)).__name__ for layer in range(2)]
        ['SumObjective', 'SumObjective']
    """

    goodness: Callable[[int], PerClassGoodness]
    superclasses: tuple[tuple[NonNegativeInt, ...], ...] = ()
    temperature: PositiveFloat = 0.2
    weight: NonNegativeFloat = 1.0
    dimensions: PositiveInt = 128
    pool: PositiveInt = 1

    @checked
    def __call__(self, num_classes: NumClasses, layer: NonNegativeInt) -> Objective:
        """Return the objective of a layer.

        Args:
            num_classes: Number of classes.
            layer: Index of the layer.

        Raises:
            ValueError: If the layer's superclasses are not one per class.
        """
        superclasses = self.superclasses[layer] if layer < len(self.superclasses) else None
        if superclasses is not None and len(superclasses) != num_classes:
            raise ValueError(
                f"superclasses must contain one per class, {num_classes}, got {len(superclasses)} for layer {layer}"
            )
        loss = CrossEntropy() if superclasses is None else SuperclassCrossEntropy(superclasses)
        embedding = Embedding(self.dimensions, SpatialPool(self.pool))
        contrast = BatchObjective(SupervisedContrastive(self.temperature), embedding, self.weight)
        return ClassObjective(self.goodness(num_classes), loss) + contrast


OBJECTIVE = ContrastiveObjective(partial(ClassGroups, goodness=MeanActivation()))
#: Ward's clusters of the rows of a linear classifier on the pixels of CIFAR-10: two, then five. HCL-FF's program takes
#: those of the linear classifier on top of a previously trained network.
CIFAR10_CLUSTERS = ((0, 0, 1, 1, 1, 1, 1, 1, 0, 0), (1, 0, 3, 2, 3, 2, 2, 4, 1, 0))

HCL_FF = derive(
    DEEPERFORWARD,
    name="hcl-ff",
    summary="deeperforward with superclasses in early layers, a contrastive loss in every layer, and augmentation",
    source="HCL-FF (CVPR 2026), arXiv 2605.24797; its learning rate, temperature and crops differ by source",
    goodness=None,
    loss=None,
    objective=OBJECTIVE,
    augment=Compose(RandomCrop(4, fill="mean"), RandomFlip()),
    epochs=1000,
    data_settings={
        # The network's first stage has five layers, the others four.
        "cifar10": {"objective": replace(OBJECTIVE, superclasses=CIFAR10_CLUSTERS[:1] * 5 + CIFAR10_CLUSTERS[1:] * 4)},
        "digits": {"widths": (20, 40), "augment": None, "epochs": 20, "batch_size": 50},
        "mnist": {"augment": RandomCrop(2), "epochs": 150},
        "fashion-mnist": {"augment": Compose(RandomCrop(2), RandomFlip())},
        "svhn": {"augment": RandomCrop(4, fill="mean")},
    },
)

MONO_CONV_WIDE = derive(
    MONO_CONV,
    name="mono-conv-wide",
    summary="mono-conv with 5 wider layers, a contrastive loss in every layer and overlapping local updates",
    source="Mono-Forward (arXiv 2501.09238), the contrastive loss of HCL-FF (arXiv 2605.24797), the Trifecta's updates",
    architecture=Convolutions(pools=(0, 1, 3, 4), order=POOL_FIRST),
    widths=(64, 128, 256, 256, 512),
    goodness=None,
    loss=None,
    objective=ContrastiveObjective(partial(LearnedProjection, pool=SpatialPool(2)), pool=2),
    schedule=Overlapping(2, "step"),
    epochs=30,
)

#: The goodness is that of the maps before pooling, as in SCFF's program.
GOODNESS_BEFORE_POOL = ("normalize", "transform", "add", "activate", "goodness", "pool")

SCFF = Recipe(
    name="scff",
    summary="no labels in training: an image paired with itself against a pair of different images, linear head",
    source="Chen et al., Self-Contrastive Forward-Forward (Nature Communications 16, 2025); filters and pools differ",
    architecture=Convolutions(pools=(0, 1, 2), order=GOODNESS_BEFORE_POOL),
    widths=(96, 384, 1536),
    goodness=MeanOfSquaresByPosition(),
    loss=TwoThreshold((0.0, 5.0, 6.0), (1.0, 9.0, 10.0), penalty=(0.0012, 0.0007, 0.0005)),
    normalization=BatchNorm(),
    negatives=SelfContrast(),
    head=partial(LinearHead, layers=slice(None), pool=SpatialPool(2)),
    optimizer=SGD,
    lr=0.02,
    optimizer_options={"momentum": 0.9},
    overrides={"head": {"lr": 0.1}},
    lr_schedule=Cosine(),
    standardize=True,
    epochs=20,
    batch_size=100,
    data_settings={"digits": {"widths": (32, 64, 128), "batch_size": 50}},
)

RECIPES = (HCL_FF, MONO_CONV_WIDE, SCFF)
