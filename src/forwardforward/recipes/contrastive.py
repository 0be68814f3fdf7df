"""Networks whose layers compare samples: HCL-FF beside a per-class goodness, SCFF without labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from torch.optim import SGD

from forwardforward.classifiers import LinearHead
from forwardforward.data import Compose, RandomCrop, RandomFlip
from forwardforward.goodness import ClassGroups, MeanActivation, MeanOfSquaresByPosition
from forwardforward.layers import FFLayer
from forwardforward.losses import CrossEntropy, SuperclassCrossEntropy, SupervisedContrastive, TwoThreshold
from forwardforward.models import Convolutions, DeeperForward
from forwardforward.negatives import SelfContrast
from forwardforward.normalization import BatchNorm
from forwardforward.objectives import BatchObjective, ClassObjective, Embedding
from forwardforward.optimizers import Cosine
from forwardforward.pooling import SpatialPool
from forwardforward.recipes.per_class import DEEPERFORWARD
from forwardforward.recipes.recipe import Recipe

__all__ = ["RECIPES", "HierarchicalContrastive"]


@dataclass(frozen=True)
class HierarchicalContrastive:
    """DeeperForward's network with HCL-FF's objective: coarse classes before fine ones, and a contrastive head.

    Args:
        superclasses: For each stage of the network from the first on, the superclass of each class; later stages tell
            the classes themselves.
        temperature: Of the contrastive loss.
        weight: Factor on the contrastive loss.
        dimensions: Of the embeddings that it compares.
    """

    superclasses: tuple[tuple[int, ...], ...] = ()
    temperature: float = 0.2
    weight: float = 1.0
    dimensions: int = 128

    def __call__(self, input_shape: Sequence[int], widths: Sequence[int], num_classes: int) -> list[FFLayer]:
        """Return the layers, each with its objective.

        Raises:
            ValueError: If a list of superclasses is not of one a class.
        """
        layers = DeeperForward()(input_shape, widths, num_classes)
        for number, layer in enumerate(layers):
            stage = max(0, number - 1) // 4
            coarse = self.superclasses[stage] if stage < len(self.superclasses) else None
            if coarse is not None and len(coarse) != num_classes:
                raise ValueError(f"superclasses must hold one of {num_classes} classes each, got {len(coarse)}")
            layer.objective = ClassObjective(
                ClassGroups(num_classes, MeanActivation()),
                CrossEntropy() if coarse is None else SuperclassCrossEntropy(coarse),
            ) + BatchObjective(
                SupervisedContrastive(self.temperature), Embedding(self.dimensions, SpatialPool()), self.weight
            )
        return layers


HCL_FF = DEEPERFORWARD.with_(
    name="hcl-ff",
    summary="deeperforward with superclasses in early layers, a contrastive head in each, and augmentation",
    source="HCL-FF (CVPR 2026), arXiv 2605.24797; its learning rate, temperature and crops differ by source",
    architecture=HierarchicalContrastive(),
    augment=Compose(RandomCrop(4), RandomFlip()),
    epochs=1000,
    data_settings={
        # Ward's clusters of the rows of a linear classifier on the pixels, as the paper makes them.
        "cifar10": {
            "architecture": HierarchicalContrastive(((0, 0, 1, 1, 1, 1, 1, 1, 0, 0), (1, 0, 3, 2, 3, 2, 2, 4, 1, 0)))
        },
        "digits": {"hidden": (20, 40), "augment": None, "epochs": 20, "batch_size": 50},
        "mnist": {"augment": RandomCrop(2)},
        "fashion-mnist": {"augment": Compose(RandomCrop(2), RandomFlip())},
        "svhn": {"augment": RandomCrop(4)},
    },
)

SCFF = Recipe(
    name="scff",
    summary="no labels: an image with itself against an image with another, linear readout",
    source="Chen et al., Self-Contrastive Forward-Forward (Nature Communications 16, 2025); its readout's pools differ",
    architecture=Convolutions(pools=(1, 2, 3)),
    hidden=(96, 384, 1536),
    goodness=MeanOfSquaresByPosition(),
    loss=TwoThreshold((0.0, 5.0, 6.0), (1.0, 9.0, 10.0), penalty=1e-3),
    normalization=BatchNorm(),
    negatives=SelfContrast(),
    head=partial(LinearHead, layers=slice(None), pool=SpatialPool(2)),
    rule=SGD,
    lr=0.02,
    options={"momentum": 0.9},
    overrides={"head": {"lr": 0.1}},
    lr_schedule=Cosine(),
    standardize=True,
    epochs=20,
    batch_size=100,
    data_settings={"digits": {"hidden": (32, 64, 128), "batch_size": 50}},
)

RECIPES = (HCL_FF, SCFF)
