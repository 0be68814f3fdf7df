"""Networks in which every layer computes a goodness per class: one pass, no negatives."""

from __future__ import annotations

from functools import partial

import torch

from forwardforward.classifiers import BestInterval, SumOverLayers
from forwardforward.data import Compose, RandomCrop, RandomFlip
from forwardforward.goodness import ClassGroups, LearnedProjection, MeanActivation, Prototypes, RandomProjection
from forwardforward.layers import TRANSFORM_FIRST
from forwardforward.losses import CrossEntropy
from forwardforward.lr_schedules import Cooldown, Cosine
from forwardforward.normalization import BatchNorm, RMSNorm
from forwardforward.pooling import SpatialPool
from forwardforward.recipes.architectures import Convolutions, DeeperForward, Dense
from forwardforward.recipes.recipe import Recipe, derive
from forwardforward.update_schedules import Staggered

__all__ = ["RECIPES"]

#: Pool before normalization and activation, which then process a quarter of the positions.
POOL_FIRST = ("transform", "pool", "normalize", "add", "activate", "goodness")
#: The order of CwComp's program; the goodness is that of the layer's output.
CWCOMP_ORDER = ("transform", "add", "activate", "pool", "normalize", "goodness")

MONO = Recipe(
    name="mono",
    summary="dense network, cross-entropy of a learned projection to the classes in every layer",
    source="Gong, Li and Abdulla (2025), Mono-Forward, arXiv 2501.09238",
    goodness=LearnedProjection,
    loss=CrossEntropy(),
    normalization=RMSNorm(),
    optimizer=torch.optim.Adam,
    lr=1e-3,
    lr_schedule=Cooldown(0.5),
    epochs=10,
    data_settings={"digits": {"widths": (300, 300, 300), "epochs": 20, "batch_size": 50}},
)

MONO_DROPOUT = derive(
    MONO,
    name="mono-dropout",
    summary="mono with 3 layers of 2000, dropout and batch normalization",
    source="the objective of Mono-Forward (arXiv 2501.09238), dropout (Srivastava et al. 2014)",
    architecture=Dense(order=TRANSFORM_FIRST, input_dropout=0.2, dropout=0.5),
    widths=(2000, 2000, 2000),
    normalization=BatchNorm(affine=True),
    classifier=SumOverLayers(slice(1, None)),
    optimizer_options={"fused": True},
    lr_schedule=Cosine(),
    epochs=60,
    data_settings={"digits": {"widths": (300, 300, 300), "batch_size": 50}},
)

MONO_CONV = Recipe(
    name="mono-conv",
    summary="4 convolutions, cross-entropy of a learned projection of the pooled maps in every layer",
    source="Mono-Forward (arXiv 2501.09238), with batch normalization and pooled maps",
    architecture=Convolutions(pools=(0, 1, 2), order=POOL_FIRST),
    widths=(40, 100, 160, 200),
    goodness=partial(LearnedProjection, pool=SpatialPool(2)),
    loss=CrossEntropy(),
    normalization=BatchNorm(affine=True),
    classifier=SumOverLayers(slice(-2, None)),
    optimizer=torch.optim.Adam,
    lr=3e-3,
    lr_schedule=Cosine(warmup=0.1),
    standardize=True,
    augment=Compose(RandomCrop(4, fill="mean"), RandomFlip()),
    epochs=15,
    batch_size=128,
    data_settings={
        "digits": {"widths": (20, 40, 80), "augment": None, "batch_size": 50},
        "mnist": {"augment": RandomCrop(2)},
        "fashion-mnist": {"augment": Compose(RandomCrop(2), RandomFlip())},
        "svhn": {"augment": RandomCrop(4, fill="mean")},
    },
)

CLASS_GROUPS = derive(
    MONO_CONV,
    name="class-groups",
    summary="mono-conv with one group of channels per class in place of the projection",
    source="the goodness of CwComp (arXiv 2312.12668) and its order of operations",
    architecture=Convolutions(pools=(0, 1, 2), order=CWCOMP_ORDER),
    goodness=ClassGroups,
    data_settings={**MONO_CONV.data_settings, "cifar100": {"widths": (100, 100, 200, 200)}},
)

ASGE = derive(
    MONO_CONV,
    name="asge",
    summary="mono-conv with a fixed random projection of pooled root mean squares",
    source="the goodness of ASGE (2025), arXiv 2509.12394; its exact patches are not published",
    goodness=partial(RandomProjection, pool=SpatialPool(2, "rms")),
)

HFF = derive(
    MONO_CONV,
    name="hff",
    summary="mono-conv with the cosine similarity to one learned prototype per class",
    source="the goodness of HFF (2026), arXiv 2605.00082",
    goodness=partial(Prototypes, pool=SpatialPool(2)),
)

CWCOMP_RECIPE = Recipe(
    name="cwcomp",
    summary="4 convolutions, one group of channels per class, every second one grouped by class, staggered updates",
    source="Papachristodoulou et al., CwComp (AAAI 2024), arXiv 2312.12668, and its program",
    architecture=Convolutions(pools=(1, 3), grouped=(1, 3), order=CWCOMP_ORDER, bias=True),
    widths=(20, 80, 240, 480),
    goodness=ClassGroups,
    loss=CrossEntropy(),
    normalization=BatchNorm(affine=True, eps=1e-4),
    classifier=SumOverLayers(slice(-1, None)),
    optimizer=torch.optim.Adam,
    lr=0.01,
    schedule=Staggered([(0, 0.55), (0, 0.8), (0, 1), (0, 1)]),
    standardize=True,
    epochs=20,
    batch_size=128,
    data_settings={
        "cifar100": {"widths": (100, 200, 400, 800)},
        "digits": {"widths": (20, 40, 40, 80), "epochs": 40, "batch_size": 50},
        "mnist": {"schedule": Staggered([(0, 0.4), (0, 0.6), (0, 0.8), (0, 1)]), "epochs": 5},
        "fashion-mnist": {"schedule": Staggered([(0, 0.5), (0, 0.75), (0, 0.95), (0, 1)])},
    },
)

DEEPERFORWARD = Recipe(
    name="deeperforward",
    summary="17 residual convolutions, mean activation of one group of channels per class, layers chosen on validation",
    source="Sun et al., DeeperForward (ICLR 2025)",
    architecture=DeeperForward(dropout=0.2),
    widths=(100, 200, 400, 800),
    goodness=partial(ClassGroups, goodness=MeanActivation()),
    loss=CrossEntropy(),
    classifier=BestInterval(),
    optimizer=torch.optim.AdamW,
    lr=0.08,
    optimizer_options={"weight_decay": 5e-4},
    lr_schedule=Cosine(floor=0.1),
    standardize=True,
    epochs=150,
    batch_size=128,
    data_settings={"digits": {"widths": (20, 40), "epochs": 20, "batch_size": 50}},
)

RECIPES = (MONO, MONO_DROPOUT, MONO_CONV, CLASS_GROUPS, ASGE, HFF, CWCOMP_RECIPE, DEEPERFORWARD)
