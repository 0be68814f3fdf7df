"""Networks whose layers compare samples: a contrastive loss beside a per-class goodness, or pairs without labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from torch import nn
from torch.optim import SGD

from forwardforward._utils.arguments import (
    NonNegativeFloat,
    NonNegativeInt,
    NumClasses,
    PositiveFloat,
    PositiveInt,
    checked,
)
from forwardforward.classifiers import BestInterval, WithHead
from forwardforward.data import Kornia, RandomCrop
from forwardforward.goodness import (
    ClassGroups,
    LearnedProjection,
    MeanActivation,
    MeanOfSquaresByPosition,
    PerClassGoodness,
)
from forwardforward.heads import LinearHead
from forwardforward.losses import (
    CrossEntropy,
    FallingTemperature,
    SuperclassCrossEntropy,
    SupervisedContrastive,
    TwoThreshold,
)
from forwardforward.lr_schedules import Cosine
from forwardforward.negatives import SelfContrast
from forwardforward.normalization import BatchNorm, GroupNorm
from forwardforward.objectives import BatchObjective, ClassObjective, Embedding, Objective
from forwardforward.pooling import SpatialPool
from forwardforward.recipes.architectures import Convolutions, DeeperForward
from forwardforward.recipes.hierarchies import (
    CIFAR10_TREE,
    CIFAR100_TREE,
    FASHION_TREE,
    MNIST_TREE,
    levels,
    spread_over_layers,
)
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
        schedule: Factor on the temperature, ``progress -> factor``; default: constant.
        weight: Factor on the contrastive loss.
        dimensions: Size of the embeddings.
        pool: Side of the pooled maps from which the embeddings are computed, one for all layers or one per layer; later
            layers take the last.
        normalized: Whether the embeddings are computed from maps that are normalized group by group, by a linear map
            without bias followed by batch normalization, as in HCL-FF's program; default: from the maps that the
            goodness reads, batch-normalized before the linear map.

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
    schedule: Callable[[float], float] | None = None
    weight: NonNegativeFloat = 1.0
    dimensions: PositiveInt = 128
    pool: PositiveInt | tuple[PositiveInt, ...] = 1
    normalized: bool = False

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
        sides = (self.pool,) if isinstance(self.pool, int) else self.pool
        pool: nn.Module = SpatialPool(sides[min(layer, len(sides) - 1)])
        if self.normalized:
            pool = nn.Sequential(GroupNorm(num_classes), pool)
        embedding = Embedding(self.dimensions, pool, normalize="output" if self.normalized else "input")
        contrast = BatchObjective(SupervisedContrastive(self.temperature, self.schedule), embedding, self.weight)
        return ClassObjective(self.goodness(num_classes), loss) + contrast


#: Temperature 0.8 to 0.2 in the first 50 epochs, here of 1000, then to 0.1. The pool has side 4 up to 100 channels,
#: then 2 up to 400.
OBJECTIVE = ContrastiveObjective(
    partial(ClassGroups, goodness=MeanActivation()),
    schedule=FallingTemperature(),
    pool=(4,) * 5 + (2,) * 8 + (1,),
    normalized=True,
)
NARROW_OBJECTIVE = replace(OBJECTIVE, pool=(4,) * 9 + (2,))

HCL_FF = derive(
    DEEPERFORWARD,
    name="hcl-ff",
    summary="deeperforward with superclasses in early layers, a contrastive loss in every layer, and augmentation",
    source="HCL-FF (CVPR 2026), arXiv 2605.24797, as its program",
    architecture=DeeperForward(keeps_last_size=True, by_class=True),
    goodness=None,
    loss=None,
    objective=OBJECTIVE,
    head=partial(LinearHead, layers=slice(-1, None), pool=SpatialPool(), normalize=False),
    classifier=WithHead(BestInterval()),
    lr=0.04,
    optimizer_options={"weight_decay": 1e-4},
    overrides={"objective": {"lr": 0.08}},  # of the contrastive heads, whose gradients are clipped by themselves
    clip_norm=1.0,
    lr_schedule=Cosine(floor=0.005),
    augment=Kornia(
        {
            "RandomResizedCrop": {"size": (32, 32), "scale": (0.4, 1.0)},
            "RandomHorizontalFlip": {},
            "ColorJitter": {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.1, "p": 0.8},
            "RandomGrayscale": {"p": 0.2},
        }
    ),
    epochs=1000,
    data_settings={
        "cifar10": {"objective": replace(OBJECTIVE, superclasses=spread_over_layers(CIFAR10_TREE))},
        "cifar100": {"objective": replace(OBJECTIVE, superclasses=levels(CIFAR100_TREE)), "batch_size": 512},
        "digits": {"widths": (20, 40), "augment": None, "epochs": 20, "batch_size": 50},
        "mnist": {
            "widths": (40, 80, 160, 320),
            "objective": replace(
                NARROW_OBJECTIVE,
                superclasses=spread_over_layers(MNIST_TREE),
                schedule=FallingTemperature(warmup=1.0),
            ),
            "augment": Kornia({"RandomAffine": {"degrees": 10.0, "translate": (0.1, 0.1), "scale": (0.9, 1.1)}}),
            "lr_schedule": Cosine(floor=1.5),
            "epochs": 50,
        },
        "fashion-mnist": {
            "widths": (40, 80, 160, 320),
            "objective": replace(
                NARROW_OBJECTIVE,
                superclasses=spread_over_layers(FASHION_TREE),
                schedule=FallingTemperature(warmup=1 / 3),
            ),
            "augment": Kornia(
                {
                    "RandomAffine": {"degrees": 10.0, "translate": (0.1, 0.1), "scale": (0.9, 1.1)},
                    "RandomHorizontalFlip": {"p": 0.2},
                }
            ),
            "lr_schedule": Cosine(floor=0.2),
            "epochs": 150,
        },
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
