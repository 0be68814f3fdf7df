"""The setting of Extending the Forward Forward Algorithm."""

from __future__ import annotations

import torch

from forwardforward.goodness import SumOfSquares
from forwardforward.label_encoders import Concatenation, Overlay
from forwardforward.losses import Pyramidal, Threshold
from forwardforward.negatives import RandomLabel
from forwardforward.normalization import UnitLength
from forwardforward.recipes.recipe import Recipe
from forwardforward.recipes.text import IMDB_THRESHOLD

__all__ = ["RECIPES"]

GANDHI = Recipe(
    name="gandhi",
    summary="four dense layers of 2000, thresholds that grow with depth, inputs of length one, Adam with rate 0.01",
    source="Gandhi et al., Extending the Forward Forward Algorithm (2023), arXiv 2307.04205; the normalization is ours",
    widths=(2000, 2000, 2000, 2000),
    goodness=SumOfSquares(),
    loss=Threshold(theta=Pyramidal(0.4)),
    normalization=UnitLength(),
    label_encoder=Overlay,
    negatives=RandomLabel(),
    optimizer=torch.optim.Adam,
    lr=0.01,
    optimizer_options={"fused": True},
    epochs=60,
    batch_size=100,
    data_settings={
        "*.npz": {"label_encoder": Concatenation},  # an overlay would replace features that may carry information
        "digits": {"widths": (300,) * 4, "label_encoder": Concatenation, "epochs": 30, "batch_size": 50},
        "imdb": {
            **{name: getattr(IMDB_THRESHOLD, name) for name in ("label_encoder", "representation", "standardize")},
            "epochs": 6,
        },
    },
)

RECIPES = (GANDHI,)
