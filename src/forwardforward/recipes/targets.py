"""Recipes for targets other than classes: mixed classes, several labels, real values."""

from __future__ import annotations

import torch

from forwardforward.classifiers import SumOverLayers
from forwardforward.data import Mixup
from forwardforward.goodness import LearnedProjection
from forwardforward.losses import BinaryCrossEntropy, OrdinalCrossEntropy
from forwardforward.lr_schedules import Cooldown
from forwardforward.normalization import BatchNorm, RMSNorm
from forwardforward.recipes.architectures import Dense
from forwardforward.recipes.per_class import MONO
from forwardforward.recipes.recipe import Recipe, derive

__all__ = ["RECIPES"]

MONO_MIXUP = derive(
    MONO,
    name="mono-mixup",
    summary="mono on images and labels that are mixed in pairs",
    source="Mono-Forward, arXiv 2501.09238, with mixup, arXiv 1710.09412",
    augment=Mixup(0.2),
)

MULTI_LABEL = derive(
    MONO,
    name="multi-label",
    summary="dense network for any number of labels per sample, each label's goodness against a threshold",
    source="the projection of Mono-Forward, arXiv 2501.09238, with Hinton's threshold for each label",
    architecture=Dense(input_dropout=0.2, dropout=0.1),
    loss=BinaryCrossEntropy(),
    normalization=BatchNorm(affine=True),
    lr=1e-2,
    epochs=40,
    batch_size=50,
    data_settings={"digit-pairs": {"widths": (300, 300, 300)}},
)

ORDINAL = Recipe(
    name="ordinal",
    summary="dense network for regression, cross-entropy of 30 ordered bins in every layer",
    source="after the ordinal goodness of FFR (2026), arXiv 2606.03927",
    widths=(100, 100, 100),
    goodness=LearnedProjection(30),
    loss=OrdinalCrossEntropy(),
    normalization=RMSNorm(),
    classifier=SumOverLayers(slice(-1, None)),
    optimizer=torch.optim.Adam,
    lr=1e-3,
    lr_schedule=Cooldown(0.5),
    standardize=True,
    epochs=40,
    batch_size=50,
)

RECIPES = (MONO_MIXUP, MULTI_LABEL, ORDINAL)
