"""Networks of torch's own modules, for backpropagation as anyone would write it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import nn

__all__ = ["convolutional_layers", "dense_layers", "network"]


def dense_layers(inputs: int, widths: Sequence[int]) -> list[nn.Sequential]:
    """Return dense layers with ReLU.

    Args:
        inputs: Number of inputs.
        widths: Numbers of units.
    """
    return [nn.Sequential(nn.Linear(*sizes), nn.ReLU()) for sizes in itertools.pairwise([inputs, *widths])]


def convolutional_layers(
    channels: int, widths: Sequence[int], pools: Sequence[int], order: Sequence[str], affine: bool = True
) -> list[nn.Sequential]:
    """Return layers of 3x3 convolutions with batch normalization, ReLU and 2x2 max-pools.

    Args:
        channels: Number of input channels.
        widths: Numbers of filters.
        pools: Indices of the layers with a pool.
        order: Order of the operations, see ``FFLayer``; those of Forward-Forward are left out.
        affine: Whether batch normalization has learned parameters.
    """
    layers = []
    for index, (in_channels, out_channels) in enumerate(itertools.pairwise([channels, *widths])):
        before = order.index("normalize") < order.index("transform")
        operations = {
            "transform": nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
            "normalize": nn.BatchNorm2d(
                in_channels if before else out_channels,
                affine=affine and not (before and index == 0),  # it would need the gradient of the first layer's input
            ),
            "activate": nn.ReLU(inplace=True),
        }
        if index in pools:
            operations["pool"] = nn.MaxPool2d(2)
        layers.append(nn.Sequential(*(operations[name] for name in order if name in operations)))
    return layers


def network(layers: Sequence[nn.Module], features: int, num_classes: int) -> nn.Sequential:
    """Return the layers with a linear layer on top.

    Args:
        layers: The layers.
        features: Number of outputs of the last one.
        num_classes: Number of classes.
    """
    return nn.Sequential(*layers, nn.Sequential(nn.Flatten(), nn.Linear(features, num_classes)))
