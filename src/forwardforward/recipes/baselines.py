"""Baselines: the same networks trained by global errors."""

from __future__ import annotations

import torch

from forwardforward.baselines import (
    Backpropagation,
    DirectFeedbackAlignment,
    DirectRandomTargetProjection,
    FeedbackAlignment,
    Pepita,
    SignSymmetry,
)
from forwardforward.lr_schedules import Cooldown, Steps
from forwardforward.recipes.pairs import HINTON
from forwardforward.recipes.recipe import Recipe, derive
from forwardforward.update_schedules import EndToEnd

__all__ = ["RECIPES"]

BACKPROP = Recipe(
    name="backprop",
    summary="baseline: dense network trained end to end with cross-entropy",
    source="backpropagation",
    baseline=Backpropagation,
    optimizer=torch.optim.Adam,
    lr=1e-3,
    lr_schedule=Cooldown(0.5),
    epochs=20,
    data_settings={"digits": {"widths": (300, 300, 300), "epochs": 20, "batch_size": 50}},
)

BACKPROP_GOODNESS = derive(
    HINTON,
    name="backprop-goodness",
    summary="baseline: sum of hinton's local losses, backpropagated through all layers",
    source="backpropagation of the losses of Hinton (2022), arXiv 2212.13345",
    schedule=EndToEnd(),
)

FEEDBACK_ALIGNMENT = derive(
    BACKPROP,
    name="feedback-alignment",
    summary="baseline: dense network, errors propagated backward through fixed random weights",
    source="Lillicrap et al. (2016), Nature Communications 7:13276",
    baseline=FeedbackAlignment,
    lr=3e-4,
    data_settings={"digits": {**BACKPROP.data_settings["digits"], "lr": 1e-3}},
)

DFA = derive(
    FEEDBACK_ALIGNMENT,
    name="dfa",
    summary="baseline: dense network, the output's error sent to every layer through fixed random weights",
    source="Nøkland (NeurIPS 2016), arXiv 1609.01596",
    baseline=DirectFeedbackAlignment,
)

DRTP = derive(
    FEEDBACK_ALIGNMENT,
    name="drtp",
    summary="baseline: dense network, the label sent to every layer through fixed random weights",
    source="Frenkel et al. (2021), arXiv 1909.01311",
    baseline=DirectRandomTargetProjection,
)

SIGN_SYMMETRY = derive(
    BACKPROP,
    name="sign-symmetry",
    summary="baseline: dense network, errors propagated backward through the signs of the weights",
    source="Liao et al. (AAAI 2016), arXiv 1510.05067",
    baseline=SignSymmetry,
)

PEPITA = Recipe(
    name="pepita",
    summary="baseline: dense network, second forward pass on an input modulated by the output error",
    source="Dellaferrera and Kreiman (2022), arXiv 2201.11665, without dropout",
    widths=(1024,),
    baseline=Pepita,
    optimizer=torch.optim.SGD,
    lr=0.1,
    optimizer_options={"momentum": 0.9},
    lr_schedule=Steps({0.6: 0.1, 0.9: 0.01}),
    epochs=100,
    batch_size=64,
    data_settings={"digits": {"widths": (300,), "epochs": 40, "batch_size": 50}},
)

RECIPES = (BACKPROP, BACKPROP_GOODNESS, FEEDBACK_ALIGNMENT, DFA, DRTP, SIGN_SYMMETRY, PEPITA)
