"""Networks whose layers each say a goodness for every class; no negatives."""

from __future__ import annotations

import torch

from forwardforward.goodness import LearnedProjection
from forwardforward.losses import CrossEntropy
from forwardforward.normalization import RMSNorm
from forwardforward.optimizers import Cooldown
from forwardforward.recipes.recipe import Recipe

__all__ = ["RECIPES"]

MONO = Recipe(
    name="mono",
    summary="no negatives: cross-entropy of a learned projection to the classes in every layer",
    source="Gong, Li and Abdulla (2025), Mono-Forward, arXiv 2501.09238",
    goodness=LearnedProjection,
    loss=CrossEntropy(),
    normalization=RMSNorm(),
    rule=torch.optim.Adam,
    lr=1e-3,
    lr_schedule=Cooldown(0.5),
    epochs=10,
    data_settings={"digits": {"hidden": (300, 300, 300), "epochs": 20, "batch_size": 50}},
)

RECIPES = (MONO,)
