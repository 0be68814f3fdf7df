"""Networks whose layers each say a goodness for every class: one pass, no negatives."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch

from forwardforward.classifiers import BestInterval, Goodness
from forwardforward.data import Compose, RandomCrop, RandomFlip
from forwardforward.goodness import ClassGroups, LearnedProjection, MeanActivation, Prototypes, RandomProjection
from forwardforward.losses import CrossEntropy
from forwardforward.lr_schedules import Cooldown, Cosine
from forwardforward.normalization import BatchNorm, RMSNorm
from forwardforward.pooling import SpatialPool
from forwardforward.recipes.architectures import CWCOMP, PER_CLASS, DeeperForward
from forwardforward.recipes.recipe import Recipe
from forwardforward.update_schedules import Staggered

__all__ = ["RECIPES"]

MONO = Recipe(
    name="mono",
    summary="no negatives: cross-entropy of a learned projection to the classes in every layer",
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

MONO_CONV = Recipe(
    name="mono-conv",
    summary="four convolutions, each with a learned projection of its pooled maps to the classes",
    source="Mono-Forward (arXiv 2501.09238), with batch normalization and pooled maps",
    architecture=PER_CLASS,
    widths=(40, 100, 160, 200),
    goodness=partial(LearnedProjection, pool=SpatialPool(2)),
    loss=CrossEntropy(),
    normalization=BatchNorm(affine=True),
    classifier=Goodness(slice(-2, None)),
    optimizer=torch.optim.Adam,
    lr=3e-3,
    lr_schedule=Cosine(warmup=0.1),
    standardize=True,
    augment=Compose(RandomCrop(4), RandomFlip()),
    epochs=15,
    batch_size=128,
    data_settings={
        "digits": {"widths": (20, 40, 80), "augment": None, "batch_size": 50},
        "mnist": {"augment": RandomCrop(2)},
        "fashion-mnist": {"augment": Compose(RandomCrop(2), RandomFlip())},
        "svhn": {"augment": RandomCrop(4)},
    },
)

CLASS_GROUPS = MONO_CONV.replace(
    name="class-groups",
    summary="the same network with a group of channels a class in place of the projection",
    source="the goodness of CwComp (arXiv 2312.12668) and its order of operations",
    architecture=replace(PER_CLASS, order=CWCOMP.order),
    goodness=ClassGroups,
    data_settings={**MONO_CONV.data_settings, "cifar100": {"widths": (100, 100, 200, 200)}},
)

ASGE = MONO_CONV.replace(
    name="asge",
    summary="the same network with a fixed random projection of pooled root mean squares",
    source="the goodness of ASGE (2025), arXiv 2509.12394; its exact patches are not published",
    goodness=partial(RandomProjection, pool=SpatialPool(2, "rms")),
)

HFF = MONO_CONV.replace(
    name="hff",
    summary="the same network with the cosine to a learned prototype a class",
    source="the goodness of HFF (2026), arXiv 2605.00082",
    goodness=partial(Prototypes, pool=SpatialPool(2)),
)

CWCOMP_RECIPE = Recipe(
    name="cwcomp",
    summary="a group of channels a class, every second layer's filters apart by class, layers in staggered windows",
    source="Papachristodoulou et al., CwComp (AAAI 2024), arXiv 2312.12668, and its program",
    architecture=CWCOMP,
    widths=(20, 80, 240, 480),
    goodness=ClassGroups,
    loss=CrossEntropy(),
    normalization=BatchNorm(affine=True, eps=1e-4),
    classifier=Goodness(slice(-1, None)),
    optimizer=torch.optim.Adam,
    lr=0.01,
    schedule=Staggered([(0, 0.55), (0.1, 0.9), (0.2, 1), (0.3, 1)]),
    standardize=True,
    epochs=20,
    batch_size=128,
    data_settings={
        "cifar100": {"widths": (100, 200, 400, 800)},
        "digits": {"widths": (20, 40, 40, 80), "epochs": 40, "batch_size": 50},
    },
)

DEEPERFORWARD = Recipe(
    name="deeperforward",
    summary="17 residual convolutions, mean activation of a group of channels a class, layers chosen by validation",
    source="Sun et al., DeeperForward (ICLR 2025); without its dropout",
    architecture=DeeperForward(),
    widths=(100, 200, 400, 800),
    goodness=partial(ClassGroups, goodness=MeanActivation()),
    loss=CrossEntropy(),
    classifier=BestInterval(),
    optimizer=torch.optim.AdamW,
    lr=0.08,
    options={"weight_decay": 5e-4},
    lr_schedule=Cosine(floor=0.1),
    standardize=True,
    epochs=150,
    batch_size=128,
    data_settings={"digits": {"widths": (20, 40), "epochs": 20, "batch_size": 50}},
)

RECIPES = (MONO, MONO_CONV, CLASS_GROUPS, ASGE, HFF, CWCOMP_RECIPE, DEEPERFORWARD)
