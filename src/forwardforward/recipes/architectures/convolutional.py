"""Convolutional networks."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from forwardforward._utils.arguments import NonNegativeInt, NumClasses, PositiveInt, checked
from forwardforward._utils.checks import InputShapeError, check_image_shape
from forwardforward.layers import NORMALIZE_FIRST, FFConv2d, FFLayer, Residual, SkipConnection
from forwardforward.normalization import GroupNorm, LayerNorm

__all__ = ["Convolutions", "DeeperForward"]


@checked
@dataclass(frozen=True)
class Convolutions:
    """A stack of convolutions with ReLU, with stride 1, padding that keeps the size, and 2x2 max-pools.

    Layers are numbered from 0. Numbers in ``pools`` and ``grouped`` beyond the last layer have no effect, so that one
    architecture serves networks of different depths.

    Args:
        pools: Indices of the layers that end with a max-pool.
        kernel_size: Size of the convolution kernels, odd.
        order: Order of the operations in every layer, see :class:`~forwardforward.FFLayer`.
        bias: Whether the convolutions have a bias.
        grouped: Indices of the layers whose convolution has one group of channels per class.
        residual: Whether each layer but the first adds its input to its convolution's output (the Trifecta's
            appendix I).

    Example:
        >>> [layer.block.out_channels for layer in Convolutions(pools=(0, 2))((3, 32, 32), (16, 16, 32), 10)]
        [16, 16, 32]
    """

    pools: tuple[NonNegativeInt, ...] = ()
    kernel_size: PositiveInt = 3
    order: tuple[str, ...] = NORMALIZE_FIRST
    bias: bool = False
    grouped: tuple[NonNegativeInt, ...] = ()
    residual: bool = False

    @checked
    def __call__(
        self, input_shape: Sequence[PositiveInt], widths: Sequence[PositiveInt], num_classes: NumClasses
    ) -> list[FFLayer]:
        """Return one layer per width, which is its number of output channels.

        Raises:
            ValueError: If ``input_shape`` is not (channels, height, width) or too small for the pools, or the channels
                of grouped layers are not divisible by the number of classes.
        """
        check_image_shape(input_shape, "convolutions")
        pools = sum(index < len(widths) for index in self.pools)
        if min(input_shape[1:]) < 2**pools:
            raise InputShapeError(f"input_shape must be large enough for {pools} pools, got {tuple(input_shape)}")
        channels = list(itertools.pairwise([input_shape[0], *widths]))
        for index, (in_channels, out_channels) in enumerate(channels):
            if index in self.grouped and (in_channels % num_classes or out_channels % num_classes):
                raise ValueError(
                    f"widths must be multiples of the {num_classes} classes around layer {index}, which has one group "
                    f"of channels per class, got {tuple(widths)}"
                )
        return [
            FFConv2d(
                in_channels,
                out_channels,
                self.kernel_size,
                padding=self.kernel_size // 2,
                groups=num_classes if index in self.grouped else 1,
                bias=self.bias,
                pool=2 if index in self.pools else None,
                residual=Residual() if self.residual and index > 0 else None,
                order=self.order,
            )
            for index, (in_channels, out_channels) in enumerate(channels)
        ]


@checked
@dataclass(frozen=True)
class DeeperForward:
    """The residual network of DeeperForward: one convolution, then four per width.

    Each layer convolves, activates, computes its goodness and normalizes each class's group of channels. Every second
    layer adds the output of the layer two layers before. The fourth layer of each width but the last concatenates the
    two instead, so the number of channels doubles, and the next layer has stride 2. The input is layer-normalized.

    Example:
        >>> layers = DeeperForward()((3, 32, 32), widths=(20, 40), num_classes=10)
        >>> len(layers), layers[2].residual
        (9, SkipConnection(distance=2, pool=1, concatenate=False))
    """

    @checked
    def __call__(
        self, input_shape: Sequence[PositiveInt], widths: Sequence[PositiveInt], num_classes: NumClasses
    ) -> list[FFLayer]:
        """Return the layers, one and four per width.

        Raises:
            ValueError: If ``input_shape`` is not (channels, height, width), or a width is not twice the one before.
        """
        check_image_shape(input_shape, "convolutions")
        if any(following != 2 * width for width, following in itertools.pairwise(widths)):
            raise ValueError(f"widths must double from one to the next, got {tuple(widths)}")
        layers = [_deeperforward_layer(input_shape[0], widths[0], num_classes, normalize_input=True)]
        for stage, width in enumerate(widths):
            for half in range(2):
                shrinks = half == 0 and stage > 0
                concatenates = half == 1 and stage < len(widths) - 1
                skip = SkipConnection(distance=2, pool=2 if shrinks else 1, concatenate=concatenates)
                layers.append(_deeperforward_layer(width, width, num_classes, stride=2 if shrinks else 1))
                layers.append(_deeperforward_layer(width, width, num_classes, residual=skip))
        return layers


def _deeperforward_layer(
    in_channels: int,
    out_channels: int,
    num_classes: int,
    stride: int = 1,
    residual: SkipConnection | None = None,
    normalize_input: bool = False,
) -> FFLayer:
    convolution: nn.Module = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")  # type: ignore[arg-type]
    return FFLayer(
        nn.Sequential(LayerNorm(), convolution) if normalize_input else convolution,
        activation=nn.ReLU(),
        normalization=GroupNorm(num_classes),
        residual=residual,
        # The goodness is computed before the normalization, which would make it the same for every class.
        order=("transform", "activate", "goodness", "normalize", "add", "pool"),
    )
