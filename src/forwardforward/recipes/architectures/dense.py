"""Dense networks."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn

from forwardforward._utils.arguments import NumClasses, PositiveInt, checked
from forwardforward.layers import CarryLabel, FFLayer, FFLinear
from forwardforward.layers.initialization import Init

__all__ = ["Architecture", "Dense", "LabelInEveryLayer"]

#: Maps ``(input_shape, widths, num_classes)`` to the layers of a network.
Architecture = Callable[[Sequence[int], Sequence[int], int], list[FFLayer]]


@checked
@dataclass(frozen=True)
class Dense:
    """A stack of dense layers.

    Args:
        activation: Activation of every layer, which gets a copy of its own (default: ReLU).
        init: Initial weights, ``"default"`` or ``"he_uniform"``, see :class:`~forwardforward.FFLinear`.

    Example:
        >>> [layer.block for layer in Dense()((1, 28, 28), widths=(500, 100), num_classes=10)]
        [Linear(in_features=784, out_features=500, bias=True), Linear(in_features=500, out_features=100, bias=True)]
    """

    activation: nn.Module | None = None
    init: Init = "default"

    @checked
    def __call__(
        self, input_shape: Sequence[PositiveInt], widths: Sequence[PositiveInt], num_classes: NumClasses
    ) -> list[FFLayer]:
        """Return one layer per width."""
        return [
            FFLinear(in_features, out_features, activation=copy.deepcopy(self.activation), init=self.init)
            for in_features, out_features in itertools.pairwise([math.prod(input_shape), *widths])
        ]

    def __repr__(self) -> str:
        """Return the constructor call."""
        activation = [] if self.activation is None else [f"activation={self.activation!r}"]
        init = [] if self.init == "default" else [f"init={self.init!r}"]
        return f"Dense({', '.join([*activation, *init])})"


@checked
@dataclass(frozen=True)
class LabelInEveryLayer:
    """A stack of dense layers with ReLU, each of which reads the label's code beside the features.

    For a :class:`~forwardforward.label_encoders.Concatenation`, whose code has one column per class.

    Source: the forwarding of labels to every layer in Akkuş et al. (2026), arXiv 2604.13081.

    Example:
        >>> [
        ...     layer.block.block[0].in_features
        ...     for layer in LabelInEveryLayer()((26,), widths=(500, 100), num_classes=10)
        ... ]
        [26, 510]
    """

    @checked
    def __call__(
        self, input_shape: Sequence[PositiveInt], widths: Sequence[PositiveInt], num_classes: NumClasses
    ) -> list[FFLayer]:
        """Return one layer per width."""
        sizes = [math.prod(input_shape), *(width + num_classes for width in widths)]
        return [
            FFLayer(CarryLabel(nn.Sequential(nn.Linear(size, width), nn.ReLU()), num_classes))
            for size, width in zip(sizes, widths, strict=False)
        ]
