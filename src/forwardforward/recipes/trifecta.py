"""The Trifecta: SymBa, batch normalization and overlapping local updates, in deep convolutional networks."""

from __future__ import annotations

import torch

from forwardforward.classifiers import Goodness
from forwardforward.data import Compose, RandomCrop, RandomRotation
from forwardforward.goodness import MeanOfSquares
from forwardforward.label_encoders import Concatenation, LearnedChannel
from forwardforward.losses import SymBa
from forwardforward.lr_schedules import Steps
from forwardforward.negatives import RandomLabel
from forwardforward.normalization import BatchNorm
from forwardforward.recipes.architectures import TRIFECTA_DEEP, TRIFECTA_FCN, TRIFECTA_SHALLOW, Convolutions, Dense
from forwardforward.recipes.recipe import Recipe
from forwardforward.update_schedules import Overlapping

__all__ = ["RECIPES"]

SHALLOW = Recipe(
    name="trifecta-s",
    summary="convolutions, symmetric loss, batch normalization, overlapping updates: the shallow network of 6 layers",
    source="Dooms, Tsang and Oramas, The Trifecta (2023), arXiv 2311.18130, and its program",
    architecture=Convolutions(pools=(1, 3, 6)),
    widths=TRIFECTA_SHALLOW,
    goodness=MeanOfSquares(),
    loss=SymBa(alpha=4.0),
    normalization=BatchNorm(affine=True),
    label_encoder=LearnedChannel,
    negatives=RandomLabel(),
    classifier=Goodness(slice(-1, None)),
    optimizer=torch.optim.Adam,
    lr=1e-3,
    lr_schedule=Steps({0.75: 0.1}),
    schedule=Overlapping(size=2, alternate="step"),
    standardize=True,
    augment=Compose(RandomCrop(4), RandomRotation(15)),
    epochs=200,
    batch_size=512,
    data_settings={
        "digits": {"widths": (32, 32, 64, 64, 64, 128), "augment": None, "epochs": 30, "batch_size": 50},
    },
)

DEEP = SHALLOW.replace(
    name="trifecta-d",
    summary="the same with the deep network of 12 layers",
    architecture=Convolutions(pools=(2, 6, 10)),
    widths=TRIFECTA_DEEP,
    lr_schedule=Steps({0.4: 0.5, 0.8: 0.1}),
    epochs=500,
    data_settings={
        "digits": {"widths": (16, *[32] * 4, *[64] * 4, *[128] * 3), "augment": None, "epochs": 30, "batch_size": 50},
    },
)

FCN = SHALLOW.replace(
    name="trifecta-fcn",
    summary="the same with 6 dense layers, the label behind the image",
    architecture=Dense(),
    widths=TRIFECTA_FCN,
    label_encoder=Concatenation,
    data_settings={
        "digits": {"widths": (300,) * 6, "augment": None, "epochs": 30, "batch_size": 50},
    },
)

RECIPES = (SHALLOW, DEEP, FCN)
