"""Baselines: the same stacks with errors sent backward."""

from __future__ import annotations

import torch

from forwardforward.baselines import Backpropagation
from forwardforward.optimizers import Cooldown
from forwardforward.recipes.pairs import HINTON
from forwardforward.recipes.recipe import Recipe
from forwardforward.schedules import EndToEnd

__all__ = ["RECIPES"]

BACKPROP = Recipe(
    name="backprop",
    summary="baseline: the same stack trained end to end by cross-entropy",
    source="backpropagation",
    baseline=Backpropagation,
    rule=torch.optim.Adam,
    lr=1e-3,
    lr_schedule=Cooldown(0.5),
    epochs=20,
    data_settings={"digits": {"hidden": (300, 300, 300), "epochs": 20, "batch_size": 50}},
)

BACKPROP_GOODNESS = HINTON.with_(
    name="backprop-goodness",
    summary="baseline: hinton's summed local losses, backpropagated through all layers",
    source="backpropagation of the losses of Hinton (2022), arXiv 2212.13345",
    schedule=EndToEnd(),
)

RECIPES = (BACKPROP, BACKPROP_GOODNESS)
