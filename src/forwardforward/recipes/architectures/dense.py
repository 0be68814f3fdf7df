"""Dense networks."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn

from forwardforward._utils.arguments import NumClasses, PositiveInt, Probability, checked
from forwardforward.layers import NORMALIZE_FIRST, CarryLabel, FFLayer, FFLinear
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
        order: Order of the operations in every layer, see :class:`~forwardforward.FFLayer`.
        input_dropout: Probability of dropping an input of the first layer.
        dropout: Probability of dropping an input of each later layer. The objectives read activations without dropout.

    Example:
        >>> [layer.block for layer in Dense()((1, 28, 28), widths=(500, 100), num_classes=10)]
        [Linear(in_features=784, out_features=500, bias=True), Linear(in_features=500, out_features=100, bias=True)]
    """

    activation: nn.Module | None = None
    init: Init = "default"
    order: tuple[str, ...] = NORMALIZE_FIRST
    input_dropout: Probability = 0.0
    dropout: Probability = 0.0

    @checked
    def __call__(
        self, input_shape: Sequence[PositiveInt], widths: Sequence[PositiveInt], num_classes: NumClasses
    ) -> list[FFLayer]:
        """Return one layer per width."""
        layers: list[FFLayer] = []
        for in_features, out_features in itertools.pairwise([math.prod(input_shape), *widths]):
            activation = copy.deepcopy(self.activation)
            layer: FFLayer = FFLinear(
                in_features, out_features, activation=activation, init=self.init, order=self.order
            )
            p = self.dropout if layers else self.input_dropout
            if p:  # not a part of FFLinear, whose first product is shared among an image's labels
                block = nn.Sequential(nn.Flatten(), nn.Dropout(p), layer.block)
                layer = FFLayer(block, activation=layer.activation, order=self.order)
            layers.append(layer)
        return layers

    def __repr__(self) -> str:
        """Return the constructor call."""
        activation = [] if self.activation is None else [f"activation={self.activation!r}"]
        others = [
            f"{entry.name}={value!r}"
            for entry in dataclasses.fields(self)
            if entry.name != "activation" and (value := getattr(self, entry.name)) != entry.default
        ]
        return f"Dense({', '.join([*activation, *others])})"


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
