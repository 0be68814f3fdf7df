"""Stacks of layers whose steps are timed: the same sizes for Forward-Forward and backpropagation."""

from __future__ import annotations

import argparse
import itertools
import math
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import nn

import forwardforward as ff
from benchmarks.plain import convolutional_layers, dense_layers, network
from forwardforward.layers import FFLayer
from forwardforward.recipes import get
from forwardforward.recipes.architectures import Convolutions

__all__ = ["CLASSES", "DEFAULT", "FFLIB", "Stack", "parse"]

CLASSES = 10

#: The stack of fflib's example, with the label behind the image. Only its own comparison is measured on it.
FFLIB = "fflib"

#: Names of the stacks that are measured by default.
DEFAULT = (
    "784-4x2000@512",
    "784-500-500@128",
    "784-500-500@512",
    "784-3x1000@100",
    "784-4x100@128",
    "mono-conv@128",
    "trifecta-s/4@128",
    FFLIB,
)


@dataclass(frozen=True)
class Stack(ABC):
    """Sizes of layers and of a batch.

    Args:
        name: Name on the command line and in tables.
        widths: Numbers of units or filters.
        batch_size: Images per step.
    """

    name: str
    widths: tuple[int, ...]
    batch_size: int

    @property
    @abstractmethod
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one image."""

    @property
    @abstractmethod
    def products(self) -> list[int]:
        """Multiply-adds of each layer's forward product with one image, without its label."""

    @property
    @abstractmethod
    def heads(self) -> list[int]:
        """Multiply-adds of each layer's projection to the classes in the network of class objectives."""

    @property
    @abstractmethod
    def output(self) -> int:
        """Multiply-adds of the output layer of backpropagation, for one image."""

    @property
    def codes(self) -> int:
        """Multiply-adds of the products with learned label codes in one step of a pair objective."""
        return 0

    @abstractmethod
    def pair(self) -> ff.FFSequential:
        """Return a network with a pair objective."""

    @abstractmethod
    def per_class(self) -> ff.FFSequential:
        """Return a network with a class objective."""

    @abstractmethod
    def plain(self) -> nn.Sequential:
        """Return a network of torch's modules for backpropagation."""

    @property
    def multiply_adds(self) -> dict[str, int]:
        """Multiply-adds of one step of each method.

        Backpropagation computes three products per layer (forward, gradient of the weights, gradient of the input), two
        in the first layer. A local objective needs no gradient of the input: a class objective computes two products
        per layer, and three of its projection. A pair objective computes these two for positive and negative samples;
        its first layer reads the same image in both, so that one product serves both.
        """
        first, *later = self.products
        per_image = {
            "backpropagation": 2 * first + 3 * sum(later) + 3 * self.output,
            "pair": 2 * first + 4 * sum(later),
            "class": 2 * (first + sum(later)) + 3 * sum(self.heads),
        }
        steps = {method: self.batch_size * count for method, count in per_image.items()}
        return {**steps, "pair": steps["pair"] + self.codes}


@dataclass(frozen=True)
class Dense(Stack):
    """Dense layers with ReLU.

    Args:
        inputs: Number of pixels.
        appended: Whether the label is appended to the image in place of its first pixels.
    """

    inputs: int
    appended: bool = False

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one image."""
        return (self.inputs,)

    @property
    def products(self) -> list[int]:
        """Multiply-adds of each layer's forward product."""
        return [math.prod(sizes) for sizes in itertools.pairwise([self.inputs, *self.widths])]

    @property
    def heads(self) -> list[int]:
        """Multiply-adds of each layer's projection."""
        return [CLASSES * width for width in self.widths]

    @property
    def output(self) -> int:
        """Multiply-adds of the output layer."""
        return CLASSES * self.widths[-1]

    def _layers(self, inputs: int) -> list[FFLayer]:
        return [ff.FFLinear(*sizes) for sizes in itertools.pairwise([inputs, *self.widths])]

    def pair(self) -> ff.FFSequential:
        """Return a network with Hinton's objective."""
        encoders = ff.label_encoders
        return ff.FFSequential(
            *self._layers(self.inputs + CLASSES if self.appended else self.inputs),
            goodness=ff.goodness.SumOfSquares(),
            loss=ff.losses.Threshold(theta="width"),
            normalization=ff.normalization.RMSNorm(),
            label_encoder=encoders.Concatenation(CLASSES) if self.appended else encoders.Overlay(CLASSES),
            negatives=ff.negatives.RandomLabel(),
        )

    def per_class(self) -> ff.FFSequential:
        """Return a network with the cross-entropy of a learned projection in every layer."""
        return ff.FFSequential(
            *self._layers(self.inputs),
            goodness=ff.goodness.LearnedProjection(CLASSES),
            loss=ff.losses.CrossEntropy(),
            normalization=ff.normalization.RMSNorm(),
        )

    def plain(self) -> nn.Sequential:
        """Return dense layers without normalization."""
        return network(dense_layers(self.inputs, self.widths), self.widths[-1], CLASSES)


@dataclass(frozen=True)
class Convolutional(Stack):
    """The convolutions of a recipe.

    Args:
        architecture: The recipe's architecture.
    """

    architecture: Convolutions

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one image."""
        return (3, 32, 32)

    @property
    def _sizes(self) -> list[int]:
        """Height of each layer's input and, last, of the last layer's output."""
        height = self.input_shape[1]
        pools = [sum(pool < layer for pool in self.architecture.pools) for layer in range(len(self.widths) + 1)]
        return [height // 2**number for number in pools]

    def _product(self, in_channels: int, out_channels: int, size: int) -> int:
        return in_channels * out_channels * self.architecture.kernel_size**2 * size**2

    @property
    def products(self) -> list[int]:
        """Multiply-adds of each layer's convolution."""
        channels = itertools.pairwise([self.input_shape[0], *self.widths])
        return [self._product(*pair, size) for pair, size in zip(channels, self._sizes[:-1], strict=True)]

    @property
    def codes(self) -> int:
        """Multiply-adds of the label maps: forward, and the gradients of weights and maps."""
        return 3 * CLASSES * self._product(1, self.widths[0], self._sizes[0])

    @property
    def heads(self) -> list[int]:
        """Multiply-adds of each layer's projection of maps pooled to 2x2."""
        return [CLASSES * 4 * width for width in self.widths]

    @property
    def _features(self) -> int:
        return self.widths[-1] * self._sizes[-1] ** 2

    @property
    def output(self) -> int:
        """Multiply-adds of the output layer."""
        return CLASSES * self._features

    def _layers(self, channels: int) -> list[FFLayer]:
        return self.architecture((channels, *self.input_shape[1:]), self.widths, CLASSES)

    def pair(self) -> ff.FFSequential:
        """Return a network with the Trifecta's objective and label channel."""
        return ff.FFSequential(
            *self._layers(self.input_shape[0] + 1),
            goodness=ff.goodness.MeanOfSquares(),
            loss=ff.losses.SymBa(alpha=4.0),
            normalization=ff.normalization.BatchNorm(affine=True),
            label_encoder=ff.label_encoders.LearnedChannel(CLASSES, self.input_shape[-1]),
            negatives=ff.negatives.RandomLabel(),
            input_shape=self.input_shape,
        )

    def per_class(self) -> ff.FFSequential:
        """Return a network with the cross-entropy of a learned projection of the pooled maps in every layer."""
        return ff.FFSequential(
            *self._layers(self.input_shape[0]),
            goodness=ff.goodness.LearnedProjection(CLASSES, pool=ff.pooling.SpatialPool(2)),
            loss=ff.losses.CrossEntropy(),
            normalization=ff.normalization.BatchNorm(affine=True),
            input_shape=self.input_shape,
        )

    def plain(self) -> nn.Sequential:
        """Return the same operations in the same order, and a linear layer on the last maps."""
        architecture = self.architecture
        layers = convolutional_layers(self.input_shape[0], self.widths, architecture.pools, architecture.order)
        return network(layers, self._features, CLASSES)


#: A dense stack, such as 784-500-500@128, or the convolutions of a recipe, such as trifecta-s/4@128.
DENSE = re.compile(r"(?P<inputs>\d+)(?P<widths>(-\d+(x\d+)?)+)@(?P<batch>\d+)")
CONVOLUTIONAL = re.compile(r"(?P<recipe>[a-z][a-z-]*)(/(?P<divisor>\d+))?@(?P<batch>\d+)")


def parse(name: str) -> Stack:
    """Return the stack of a name, as a type for argparse.

    Args:
        name: ``INPUTS-WIDTH-WIDTH@BATCH``, in which ``4x100`` stands for four widths of 100; ``RECIPE@BATCH`` or
            ``RECIPE/DIVISOR@BATCH`` for a recipe's convolutions, with its widths divided; or ``fflib``.
    """
    if name == FFLIB:
        return Dense(name, (2000, 2000), 128, 784, appended=True)
    if dense := DENSE.fullmatch(name):
        widths = _widths(dense["widths"])
        if min(*widths, int(dense["batch"])) and int(dense["inputs"]) >= CLASSES:  # the label covers so many pixels
            return Dense(name, widths, int(dense["batch"]), int(dense["inputs"]))
    if convolutional := CONVOLUTIONAL.fullmatch(name):
        return _convolutional(name, convolutional["recipe"], int(convolutional["divisor"] or 1), convolutional["batch"])
    raise argparse.ArgumentTypeError(f"must be stacks such as {', '.join(DEFAULT)}, got {name!r}")


def _widths(text: str) -> tuple[int, ...]:
    widths: list[int] = []
    for part in text.strip("-").split("-"):
        count, _, width = part.rpartition("x")
        widths += [int(width)] * int(count or 1)
    return tuple(widths)


def _convolutional(name: str, recipe_name: str, divisor: int, batch: str) -> Convolutional:
    try:
        recipe = get(recipe_name)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must name a recipe, got {name!r}") from error
    widths = tuple(width // divisor if divisor else 0 for width in recipe.widths)
    if not isinstance(recipe.architecture, Convolutions) or not min(*widths, int(batch)):
        raise argparse.ArgumentTypeError(f"must name a recipe of convolutions, its widths and a batch, got {name!r}")
    return Convolutional(name, widths, int(batch), recipe.architecture)
