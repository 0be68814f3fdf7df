"""The networks of the study: what is fixed by the paper, what is ours, and the variants.

Fixed by the paper: depths 2 to 32, widths 100 to 1000, 30 seeds, 30 epochs of MNIST, labels in the border pixels, ReLU,
sum of squares, peer normalization of 0.03. Ours, chosen on validation images by ``python -m benchmarks.dynamics
choose``: optimizer, learning rate, batch size and threshold.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

import forwardforward as ff
from forwardforward.goodness import LearnedProjection
from forwardforward.layers import Residual
from forwardforward.losses import CrossEntropy, SquaredError, Threshold, Uniform
from forwardforward.normalization import PeerNormalization

__all__ = [
    "BATCH_SIZE",
    "DEPTHS",
    "EPOCHS",
    "PAPER",
    "VARIANTS",
    "WIDTHS",
    "Setting",
    "first_layers",
    "network",
    "optimizer",
]

DEPTHS = (2, 4, 8, 16, 32)
WIDTHS = (100, 200, 400, 700, 1000)
EPOCHS = 30

#: Ours, as are the defaults of optimizer, learning rate and threshold in `Setting`.
BATCH_SIZE = 128

OPTIMIZERS: dict[str, Callable[[float], ff.LocalOptimizer]] = {
    "adam": lambda lr: ff.LocalOptimizer(torch.optim.Adam, lr=lr),
    "sgd": lambda lr: ff.LocalOptimizer(torch.optim.SGD, lr=lr, momentum=0.9),
}
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky relu": lambda: nn.LeakyReLU(0.1),
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
}
GOODNESS: dict[str, Callable[[], nn.Module]] = {
    "sum of squares": ff.goodness.SumOfSquares,
    "mean of squares": ff.goodness.MeanOfSquares,
    "sum of magnitudes": ff.goodness.L1,
}


#: Goodness, loss and label encoder of a setting, for a number of classes.
OBJECTIVES: dict[str, Callable[[Setting, int], dict[str, Any]]] = {
    "pairs": lambda setting, num_classes: {
        "goodness": GOODNESS[setting.goodness](),
        "loss": Threshold(Uniform(setting.theta)),
        "label_encoder": ff.label_encoders.Border(num_classes),
    },
    "classes": lambda _, num_classes: {"goodness": LearnedProjection(num_classes), "loss": CrossEntropy()},
    "values": lambda _, num_classes: {"goodness": LearnedProjection(1), "loss": SquaredError()},
}


@dataclass(frozen=True)
class Setting:
    """A network and its training, apart from depth, width and seeds.

    Args:
        label: Name in tables.
        data: Data set.
        peer: Strength of the peer normalization.
        decay: Weight of the old means in the peer normalization, its momentum.
        activation: A key of ``ACTIVATIONS``.
        goodness: A key of ``GOODNESS``.
        theta: Threshold, as a factor on the goodness's scale.
        optimizer: A key of ``OPTIMIZERS``.
        lr: Learning rate.
        connection: ``"chain"``; ``"residual"``, where each layer but the first adds its input; or ``"parallel"``, where
            every layer reads the image.
        grows: When a layer is appended, a key of ``benchmarks.dynamics.growth.CONDITIONS``; "" for a fixed depth.
        objective: A key of ``OBJECTIVES``: ``"pairs"`` of true and wrong labels, the paper's; ``"classes"``, where each
            layer classifies by a linear map of its activations; or ``"values"``, where it predicts the class index as a
            real number.
        dropout: Probability of dropping an input of each layer but the first.
    """

    label: str
    data: str = "mnist"
    peer: float = 0.03
    decay: float = 0.9
    activation: str = "relu"
    goodness: str = "sum of squares"
    theta: float = 0.5  # the best on validation images at this rate, see choose
    optimizer: str = "adam"
    lr: float = 1e-4  # low, so that curves of one point per epoch show the order in which layers learn
    connection: str = "chain"
    grows: str = ""
    objective: str = "pairs"
    dropout: float = 0.0

    @property
    def has_pairs(self) -> bool:
        """Whether labels are in the input, and every image is also a negative sample."""
        return self.objective == "pairs"

    def settings(self) -> dict[str, Any]:
        """Return what determines the result."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name != "label"}


PAPER = Setting("the paper's setting")


def changed(label: str, **changes: Any) -> Setting:
    """Return the paper's setting with changes."""
    return dataclasses.replace(PAPER, label=label, **changes)


#: Settings by name. The first is the paper's grid; the others are its open questions, at one size each.
VARIANTS: dict[str, Setting] = {
    "paper": PAPER,
    "grow-reach": changed("grows when the last layer reaches 0.7", grows="reach"),
    "grow-plateau": changed("grows when the last layer stops improving", grows="plateau"),
    "peer0": changed("no peer normalization", peer=0.0),
    "peer0.3": changed("peer normalization 0.3", peer=0.3),
    "decay0.5": changed("peer normalization with momentum 0.5", decay=0.5),
    "decay0.99": changed("peer normalization with momentum 0.99", decay=0.99),
    "lr3": changed("3 times the learning rate", lr=3e-4),
    "lr10": changed("10 times the learning rate", lr=1e-3),
    "leaky-relu": changed("leaky ReLU", activation="leaky relu"),
    "gelu": changed("GELU", activation="gelu"),
    "tanh": changed("tanh, half the threshold", activation="tanh", theta=0.5 * PAPER.theta),
    "mean": changed("mean of squares", goodness="mean of squares"),
    "l1": changed("sum of magnitudes", goodness="sum of magnitudes"),
    "theta0.5": changed("half the threshold", theta=0.5 * PAPER.theta),
    "theta2": changed("twice the threshold", theta=2 * PAPER.theta),
    "residual": changed("residual connections", connection="residual"),
    "parallel": changed("layers in parallel", connection="parallel"),
    "dropout": changed("dropout of 0.2 between the layers", dropout=0.2),
    "classes": changed("no pairs: cross-entropy of each layer's linear map", objective="classes"),
    "regression": changed("regression of the digit, R² in place of accuracy", objective="values"),
    "cifar10": changed("CIFAR-10", data="cifar10"),
}


def layer(setting: Setting, inputs: int, width: int, index: int) -> ff.FFLayer:
    """Return one layer.

    Args:
        setting: The setting.
        inputs: Number of inputs.
        width: Number of units.
        index: Index of the layer.
    """
    residual = Residual() if index and setting.connection == "residual" else None
    dense = ff.FFLinear(inputs, width, activation=ACTIVATIONS[setting.activation](), residual=residual)
    if not index or not setting.dropout:
        return dense
    # the objective reads activations without dropout
    block = nn.Sequential(nn.Dropout(setting.dropout), dense.block)
    return ff.FFLayer(block, activation=dense.activation, residual=residual)


def network(setting: Setting, depth: int, width: int, input_shape: Sequence[int], num_classes: int) -> ff.FFSequential:
    """Return a network; of layers in parallel, one of them.

    Args:
        setting: The setting.
        depth: Number of layers.
        width: Units per layer.
        input_shape: Shape of an image.
        num_classes: Number of classes.
    """
    depth = 1 if setting.connection == "parallel" else depth
    inputs = torch.Size(input_shape).numel()
    return ff.FFSequential(
        *(layer(setting, *sizes, i) for i, sizes in enumerate(itertools.pairwise([inputs, *[width] * depth]))),
        **OBJECTIVES[setting.objective](setting, num_classes),
        normalization=ff.normalization.RMSNorm(),
        peer=PeerNormalization(setting.peer, setting.decay) if setting.peer else None,
        input_shape=input_shape,
    )


def optimizer(setting: Setting) -> ff.LocalOptimizer:
    """Return the local optimizers of a network."""
    return OPTIMIZERS[setting.optimizer](setting.lr)


def first_layers(setting: Setting, depth: int) -> int:
    """Return the number of layers with which a training begins."""
    return 1 if setting.grows else depth
