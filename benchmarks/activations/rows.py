"""Rows of the studies of activations and weights: Forward-Forward, and backpropagation in the same layers."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.cells import Row, Setting
from benchmarks.recorders import Histograms
from benchmarks.thresholds import EPOCHS, GANDHI, OWN, PAPER_BEST
from forwardforward.baselines import Backpropagation
from forwardforward.goodness import MeanOfSquares
from forwardforward.label_encoders import RandomChannel
from forwardforward.losses import Threshold, Uniform
from forwardforward.normalization import UnitLength
from forwardforward.recipes import Recipe
from forwardforward.recipes.architectures import Convolutions, Dense

__all__ = [
    "ACTIVATIONS",
    "BACKWARD_ROW",
    "BOTH",
    "CONVOLUTIONAL",
    "EPOCHS",
    "FORWARD_ROW",
    "LABELS",
    "PAPER_RATIO",
    "QUICK",
    "REDUCED",
    "ROWS",
    "SHARES",
    "SHOWN",
]


class Scaled(nn.Module):
    """An activation with another range, ``factor * activation(z) + shift``."""

    def __init__(self, activation: nn.Module, factor: float, shift: float = 0.0) -> None:
        super().__init__()
        self.activation = copy.deepcopy(activation)
        self.factor, self.shift = factor, shift

    def forward(self, z: Tensor) -> Tensor:
        """Return the scaled activation."""
        return self.factor * self.activation(z) + self.shift

    def __repr__(self) -> str:
        """Return the constructor call."""
        return f"Scaled({self.activation!r}, {self.factor}, {self.shift})"


ACTIVATIONS: dict[str, tuple[str, nn.Module | None]] = {
    "relu": ("ReLU", None),
    "leaky": ("leaky ReLU", nn.LeakyReLU(0.01)),
    "gelu": ("GELU", nn.GELU()),
    "tanh": ("tanh", nn.Tanh()),
    "sigmoid": ("sigmoid", nn.Sigmoid()),
}

#: Bounded activations with a range in which the width is reached: squares up to 4 in place of 1.
SCALED: dict[str, tuple[str, nn.Module]] = {
    "tanh-scaled": ("2 tanh", Scaled(nn.Tanh(), 2.0)),
    "sigmoid-scaled": ("2 sigmoid", Scaled(nn.Sigmoid(), 2.0)),
    "sigmoid-centered": ("4 sigmoid - 2", Scaled(nn.Sigmoid(), 4.0, -2.0)),
}

#: Thresholds as shares of the width. The sum of squares of a bounded activation is less than the width.
SHARES = {"": 1.0, "-half": 0.5}

#: The threshold of a sigmoid whose units are all at one half, as they are at the start.
QUARTER = 0.25

DECAYS = (0.1, 1.0, 3.0)

#: The layer in figures of one layer: the first of those that classify.
SHOWN = 1

#: Ratio of the weights to backpropagation's in the paper.
PAPER_RATIO = "10 to 20"

QUICK = Setting(epochs=5, width=0.25, images=20_000)

#: The paper's network and all images, for fewer epochs.
REDUCED = Setting(epochs=20, precision="bf16")

FORWARD = GANDHI.replace(loss=Threshold(Uniform(1.0)))
UNUSED: dict[str, Any] = dict.fromkeys(("goodness", "loss", "label_encoder", "negatives"))
BACKWARD = GANDHI.replace(**UNUSED, baseline=Backpropagation)

#: The paper's own learning rate and unit length, with Hinton's threshold.
OWN_FORWARD = OWN.replace(loss=Threshold(Uniform(1.0)))
OWN_BACKWARD = OWN.replace(**UNUSED, baseline=Backpropagation)


def activated(name: str, suffix: str, share: float) -> Row:
    """Return a row of an activation and a threshold."""
    label, activation = {**ACTIVATIONS, **SCALED}[name]
    recipe = FORWARD.replace(architecture=Dense(activation), loss=Threshold(Uniform(share)))
    text = "θ = width" if share == 1 else f"θ = {share:g} · width"
    paper = {"mnist": PAPER_BEST["mnist"]} if name + suffix == "relu" else {}
    return Row(name + suffix, f"{label}, {text}", recipe, EPOCHS, paper=paper, recorders=(Histograms,))


def compared(line: str, label: str, recipe: Recipe, **changes: Any) -> Row:
    """Return a row of the studies of weights and robustness."""
    return Row(line, label, recipe.replace(**changes), EPOCHS, recorders=(Histograms,))


def decayed(decay: float) -> Row:
    """Return a row of Forward-Forward with weight decay."""
    options = {**GANDHI.optimizer_options, "weight_decay": decay}
    return compared(
        f"relu-decay{decay:g}",
        f"Forward-Forward, weight decay {decay:g}",
        FORWARD,
        optimizer=torch.optim.AdamW,
        optimizer_options=options,
    )


ROWS = (
    *(activated(name, suffix, share) for suffix, share in SHARES.items() for name in ACTIVATIONS),
    *(activated(name, "", 1.0) for name in SCALED),
    *(activated(name, "-quarter", QUARTER) for name in ("tanh", "sigmoid")),
)

FORWARD_ROW = compared("relu", "Forward-Forward", FORWARD, architecture=Dense())
BACKWARD_ROW = compared("bp", "backpropagation, the same layers", BACKWARD)
BOTH = (
    FORWARD_ROW,
    *(decayed(decay) for decay in DECAYS),
    compared("relu-lr0.01", "Forward-Forward, learning rate 0.01", FORWARD, lr=0.01),
    compared("relu-unit", "Forward-Forward, inputs of length 1", FORWARD, normalization=UnitLength()),
    compared("relu-plain", "Forward-Forward, not normalized", FORWARD, normalization=None),
    compared("relu-own", "Forward-Forward, inputs of length 1, learning rate 0.01", OWN_FORWARD),
    BACKWARD_ROW,
    compared("bp-plain", "backpropagation, not normalized", BACKWARD, normalization=None),
    compared("bp-unit", "backpropagation, inputs of length 1", BACKWARD, normalization=UnitLength()),
    compared("bp-lr0.01", "backpropagation, learning rate 0.01", BACKWARD, lr=0.01),
    compared("bp-own", "backpropagation, not normalized, learning rate 0.01", OWN_BACKWARD, normalization=None),
)

#: Three convolutions with pools after the first two; a goodness of 1 is that of activations of size 1.
CONVOLUTIONS = {"architecture": Convolutions(pools=(0, 1), bias=True), "widths": (32, 64, 128)}
CONVOLUTIONAL = (
    compared(
        "conv",
        "Forward-Forward, convolutions",
        FORWARD,
        goodness=MeanOfSquares(),
        label_encoder=RandomChannel,
        **CONVOLUTIONS,
    ),
    compared("conv-bp", "backpropagation, the same convolutions", BACKWARD, **CONVOLUTIONS),
)
LABELS = {row.name: row.label for row in (*ROWS, *BOTH, *CONVOLUTIONAL)}
