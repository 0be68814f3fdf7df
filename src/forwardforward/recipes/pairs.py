"""Dense networks trained on positive and negative samples."""

from __future__ import annotations

from functools import partial

import torch

from forwardforward.goodness import EntmaxEnergy, MeanOfSquares, SumOfSquares, WithoutLabel
from forwardforward.heads import LinearHead
from forwardforward.label_encoders import Concatenation, Overlay
from forwardforward.losses import SwishSymBa, SymBa, Threshold
from forwardforward.lr_schedules import Cooldown
from forwardforward.negatives import HardLabel, HybridMask, RandomLabel
from forwardforward.normalization import PeerNormalization, RMSNorm
from forwardforward.optimizers import SmoothedSGD
from forwardforward.recipes.architectures import LabelInEveryLayer
from forwardforward.recipes.recipe import Recipe, derive

__all__ = ["RECIPES"]

HINTON = Recipe(
    name="hinton",
    summary="dense network, threshold equal to the width, hard negative labels, peer normalization",
    source="Hinton (2022), arXiv 2212.13345, and its Matlab program",
    widths=(1000, 1000, 1000),
    goodness=SumOfSquares(),
    loss=Threshold(theta="width"),
    normalization=RMSNorm(),
    peer=PeerNormalization(),
    label_encoder=Overlay,
    negatives=HardLabel(),
    optimizer=SmoothedSGD,
    lr=0.005,
    optimizer_options={"weight_cost": 0.002},
    overrides={"head": {"lr": 0.1, "weight_cost": 0.003}},
    lr_schedule=Cooldown(0.5),
    epochs=60,
    batch_size=100,
    data_settings={
        "*.npz": {"label_encoder": Concatenation},  # an overlay would replace features that may carry information
        "digits": {"widths": (300, 300, 300), "label_encoder": Concatenation, "epochs": 30, "batch_size": 20},
    },
)

HINTON_2000 = derive(
    HINTON, name="hinton-2000", summary="hinton with the paper's four layers of 2000 units", widths=(2000,) * 4
)

UNSUPERVISED = derive(
    HINTON,
    name="unsupervised",
    summary="no labels in training: hybrid images as negatives, linear head on all layers but the first",
    source="Hinton (2022), arXiv 2212.13345",
    widths=(2000, 2000, 2000, 2000),
    label_encoder=None,
    negatives=HybridMask(),
    head=LinearHead,
    epochs=100,
    data_settings={"digits": {"widths": (300, 300, 300), "lr": 0.01, "epochs": 30, "batch_size": 20}},
)

SYMBA = Recipe(
    name="symba",
    summary="dense network, symmetric loss without a threshold, random negative labels",
    source="Lee and Song (2023), arXiv 2303.08418; its random class pattern replaced by Hinton's one-hot overlay",
    goodness=MeanOfSquares(),
    loss=SymBa(alpha=4.0),
    normalization=RMSNorm(),
    label_encoder=Overlay,
    negatives=RandomLabel(),
    optimizer=torch.optim.Adam,
    lr=1e-3,
    lr_schedule=Cooldown(0.5),
    epochs=60,
    data_settings={
        "*.npz": {"label_encoder": Concatenation},  # an overlay would replace features that may carry information
        "digits": {"widths": (300, 300, 300), "label_encoder": Concatenation, "epochs": 30, "batch_size": 50},
    },
)

BEST_MLP = derive(
    SYMBA,
    name="best-mlp",
    summary="best pair objective on the validation split of MNIST: swish form of SymBa, hard negative labels",
    source="swish form of SymBa (arXiv 2303.08418) with Hinton's hard negative labels (arXiv 2212.13345)",
    widths=(1000, 1000),
    loss=SwishSymBa(alpha=4.0),
    negatives=HardLabel(),
    overrides={"head": {"lr": 1e-3}},
)

SELECTIVE = derive(
    BEST_MLP,
    name="selective",
    summary="best-mlp with the label in every layer, and a goodness of the largest activations",
    source="goodness and labels of Akkuş et al. (2026), arXiv 2604.13081; loss, negatives and optimizer of best-mlp",
    architecture=LabelInEveryLayer(),
    widths=(2000, 2000, 2000, 2000),
    goodness=partial(WithoutLabel, goodness=EntmaxEnergy()),
    label_encoder=Concatenation,
)

RECIPES = (HINTON, HINTON_2000, UNSUPERVISED, SYMBA, BEST_MLP, SELECTIVE)
