"""The Trifecta: SymBa, batch normalization and overlapping local updates in deep networks.

The networks are those of the paper's figure 12.
"""

from __future__ import annotations

import torch

from forwardforward.classifiers import SumOverLayers
from forwardforward.data import Compose, RandomCrop, RandomRotation
from forwardforward.goodness import MeanOfSquares
from forwardforward.label_encoders import Concatenation, LearnedChannel
from forwardforward.losses import SymBa
from forwardforward.lr_schedules import Steps
from forwardforward.negatives import RandomLabel
from forwardforward.normalization import BatchNorm
from forwardforward.recipes.architectures import Convolutions, Dense
from forwardforward.recipes.recipe import Recipe, derive
from forwardforward.update_schedules import Overlapping

__all__ = ["RECIPES"]

SHALLOW = Recipe(
    name="trifecta-s",
    summary="6 convolutions, symmetric loss, batch normalization, overlapping local updates",
    source="Dooms, Tsang and Oramas, The Trifecta (2023), arXiv 2311.18130, and its program",
    architecture=Convolutions(pools=(0, 2, 5), init="he_uniform"),
    widths=(128, 128, 256, 256, 256, 512),
    goodness=MeanOfSquares(),
    loss=SymBa(alpha=4.0),
    normalization=BatchNorm(affine=True),
    label_encoder=LearnedChannel,
    negatives=RandomLabel(),
    classifier=SumOverLayers(slice(-1, None)),
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

DEEP = derive(
    SHALLOW,
    name="trifecta-d",
    summary="trifecta-s with 12 convolutions",
    architecture=Convolutions(pools=(1, 5, 9), init="he_uniform"),
    widths=(64, *[128] * 4, *[256] * 4, *[512] * 3),
    lr_schedule=Steps({0.4: 0.5, 0.8: 0.1}),
    epochs=500,
    data_settings={
        "digits": {"widths": (16, *[32] * 4, *[64] * 4, *[128] * 3), "augment": None, "epochs": 30, "batch_size": 50},
    },
)

FCN = derive(
    SHALLOW,
    name="trifecta-fcn",
    summary="trifecta-s with 6 dense layers and the label appended to the image",
    architecture=Dense(init="he_uniform"),
    widths=(2048,) * 6,
    label_encoder=Concatenation,
    data_settings={
        "digits": {"widths": (300,) * 6, "augment": None, "epochs": 30, "batch_size": 50},
    },
)

RECIPES = (SHALLOW, DEEP, FCN)
