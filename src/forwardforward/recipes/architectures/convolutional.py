"""Convolutional networks."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from torch import nn

from forwardforward._utils.arguments import NonNegativeInt, NumClasses, PositiveInt, Probability, checked
from forwardforward._utils.checks import InputShapeError, check_image_shape
from forwardforward.layers import NORMALIZE_FIRST, FFConv2d, FFLayer, MaxPool2d, Residual, SkipConnection
from forwardforward.layers.feedback import use_random_feedback
from forwardforward.layers.initialization import Init, he_uniform
from forwardforward.normalization import BatchNorm, GroupNorm, LayerNorm

__all__ = ["Convolutions", "DeeperForward", "InvertedBottlenecks", "LocalVGG"]

#: A layer of `LocalVGG`: its pool drops channels, after the objective.
OBJECTIVE_BEFORE_DROPOUT = ("transform", "normalize", "add", "activate", "goodness", "pool")


@checked
@dataclass(frozen=True)
class Convolutions:
    """A stack of convolutions, with stride 1, padding that keeps the size, and 2x2 max-pools.

    Layers are numbered from 0. Numbers in ``pools`` and ``grouped`` beyond the last layer have no effect, so that one
    architecture serves networks of different depths.

    Args:
        pools: Indices of the layers that end with a max-pool.
        kernel_size: Size of the convolution kernels, odd.
        order: Order of the operations in every layer, see :class:`~forwardforward.FFLayer`.
        activation: Activation of every layer, which gets a copy of its own (default: ReLU).
        bias: Whether the convolutions have a bias.
        grouped: Indices of the layers whose convolution has one group of channels per class.
        residual: Whether each layer but the first adds its input to its convolution's output (the Trifecta's
            appendix I).
        init: Initial weights, ``"default"`` or ``"he_uniform"``, see :class:`~forwardforward.FFConv2d`.
        random_feedback: Whether each convolution but the first passes gradients to its input through fixed random
            kernels, as in :class:`~forwardforward.baselines.FeedbackAlignment`; it matters in groups of several layers
            only (suggested in the Trifecta's appendix F). ``fit(compile=True)`` does not support it.

    Example:
        >>> [layer.block.out_channels for layer in Convolutions(pools=(0, 2))((3, 32, 32), (16, 16, 32), 10)]
        [16, 16, 32]
    """

    pools: tuple[NonNegativeInt, ...] = ()
    kernel_size: PositiveInt = 3
    order: tuple[str, ...] = NORMALIZE_FIRST
    activation: nn.Module | None = None
    bias: bool = False
    grouped: tuple[NonNegativeInt, ...] = ()
    residual: bool = False
    init: Init = "default"
    random_feedback: bool = False

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
        layers: list[FFLayer] = []
        for index, (in_channels, out_channels) in enumerate(channels):
            layer = FFConv2d(
                in_channels,
                out_channels,
                self.kernel_size,
                padding=self.kernel_size // 2,
                groups=num_classes if index in self.grouped else 1,
                bias=self.bias,
                activation=copy.deepcopy(self.activation),
                pool=2 if index in self.pools else None,
                init=self.init,
                residual=Residual() if self.residual and index > 0 else None,
                order=self.order,
            )
            if self.random_feedback and index > 0:
                use_random_feedback(layer.block)
            layers.append(layer)
        return layers


@checked
@dataclass(frozen=True)
class LocalVGG:
    """Convolutions with batch normalization, leaky ReLU and dropout of whole channels, then dense layers.

    A layer convolves, normalizes, activates and computes its objective, and then drops channels and pools: the
    objective reads maps without dropout.

    Args:
        pools: Indices of the layers that end with a 2x2 max-pool.
        dense: Number of dense layers at the end, of the widths given last.
        dropout: Probability of dropping a channel or, in a dense layer, a unit.

    Source: VGG8b of Nøkland and Eidnes (2019), arXiv 1901.06656: ``pools=(1, 3, 4, 5)`` with widths 128, 256, 256, 512,
    512, 512 and 1024.

    Example:
        >>> layers = LocalVGG(pools=(0,), dense=1)((3, 8, 8), widths=(4, 6, 10), num_classes=10)
        >>> [type(layer.block).__name__ for layer in layers]
        ['Conv2d', 'Conv2d', 'Sequential']
    """

    pools: tuple[NonNegativeInt, ...] = (1, 3, 4, 5)
    dense: NonNegativeInt = 1
    dropout: Probability = 0.2

    @checked
    def __call__(
        self, input_shape: Sequence[PositiveInt], widths: Sequence[PositiveInt], num_classes: NumClasses
    ) -> list[FFLayer]:
        """Return one layer per width.

        Raises:
            ValueError: If ``input_shape`` is not (channels, height, width) or too small for the pools, or no width is
                left for the convolutions.
        """
        check_image_shape(input_shape, "convolutions")
        count = len(widths) - self.dense
        if count < 1:
            raise ValueError(f"widths must contain more than the {self.dense} dense layers, got {tuple(widths)}")
        pools = [index for index in self.pools if index < count]
        if min(input_shape[1:]) < 2 ** len(pools):
            raise InputShapeError(f"input_shape must be large enough for {len(pools)} pools, got {tuple(input_shape)}")
        features, height, width = input_shape
        layers: list[FFLayer] = []
        for index, channels in enumerate(widths[:count]):
            parts: list[nn.Module] = [nn.Dropout2d(self.dropout)]
            if index in pools:
                parts.append(MaxPool2d(2))
                height, width = height // 2, width // 2
            layers.append(
                FFConv2d(
                    features,
                    channels,
                    3,
                    padding=1,
                    activation=nn.LeakyReLU(0.01),
                    normalization=BatchNorm(affine=True),
                    pool=nn.Sequential(*parts),
                    order=OBJECTIVE_BEFORE_DROPOUT,
                )
            )
            features = channels
        features *= height * width
        for units in widths[count:]:
            layers.append(
                FFLayer(
                    nn.Sequential(nn.Flatten(), nn.Linear(features, units)),
                    activation=nn.LeakyReLU(0.01),
                    normalization=BatchNorm(affine=True),
                    pool=nn.Dropout(self.dropout),
                    order=OBJECTIVE_BEFORE_DROPOUT,
                )
            )
            features = units
        return layers


@checked
@dataclass(frozen=True)
class InvertedBottlenecks:
    """One convolution, then inverted bottlenecks, each a layer with one objective.

    A block expands the channels by a 1x1 convolution, filters each of them by a 3x3 convolution, and projects them by
    a 1x1 convolution, with ReLU after each. The initial weights are He et al.'s, uniform.

    Args:
        pools: Indices of the layers that end with a 2x2 max-pool.
        expansion: Factor from a block's input channels to those of its 3x3 convolution.

    Source: Sandler et al., MobileNetV2 (2018), arXiv 1801.04381, which has no activation after the projection;
    proposed for Forward-Forward by Dooms et al., The Trifecta (2023), arXiv 2311.18130.

    Example:
        >>> layers = InvertedBottlenecks(pools=(0,), expansion=2)((3, 8, 8), widths=(4, 6), num_classes=10)
        >>> [convolution.out_channels for convolution in layers[1].block[::2]]
        [8, 8, 6]
    """

    pools: tuple[NonNegativeInt, ...] = ()
    expansion: PositiveInt = 4

    @checked
    def __call__(
        self, input_shape: Sequence[PositiveInt], widths: Sequence[PositiveInt], num_classes: NumClasses
    ) -> list[FFLayer]:
        """Return one layer per width, which is its number of output channels.

        Raises:
            ValueError: If ``input_shape`` is not (channels, height, width) or too small for the pools.
        """
        stem = Convolutions(self.pools, init="he_uniform")
        layers = stem(input_shape, widths, num_classes)[:1]
        for index, (in_channels, out_channels) in enumerate(itertools.pairwise(widths), start=1):
            expanded = self.expansion * in_channels
            convolutions = (
                nn.Conv2d(in_channels, expanded, 1, bias=False),
                nn.Conv2d(expanded, expanded, 3, padding=1, groups=expanded, bias=False),
                nn.Conv2d(expanded, out_channels, 1, bias=False),
            )
            for convolution in convolutions:
                he_uniform(convolution)
            expand, depthwise, project = convolutions
            block = nn.Sequential(expand, nn.ReLU(), depthwise, nn.ReLU(), project)
            layers.append(FFLayer(block, activation=nn.ReLU(), pool=MaxPool2d(2) if index in self.pools else None))
        return layers


@checked
@dataclass(frozen=True)
class DeeperForward:
    """The residual network of DeeperForward: one convolution, then four per width.

    Each layer convolves, activates, computes its goodness and normalizes each class's group of channels. Every second
    layer adds the output of the layer two layers before. The fourth layer of each width but the last concatenates the
    two instead, so the number of channels doubles, and the next layer has stride 2. The input is layer-normalized.

    Args:
        keeps_last_size: Whether the layers of the last width have the size of those before, without a stride.
        by_class: Whether maps are concatenated class by class, so that each class's group contains channels of both.
        dropout: Probability of dropping an activation, before the goodness reads it.

    Example:
        >>> layers = DeeperForward()((3, 32, 32), widths=(20, 40), num_classes=10)
        >>> len(layers), layers[2].residual
        (9, SkipConnection(distance=2, pool=1, concatenate=False))
    """

    keeps_last_size: bool = False
    by_class: bool = False
    dropout: Probability = 0.0

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
        layer = partial(_deeperforward_layer, num_classes=num_classes, dropout=self.dropout)
        layers = [layer(input_shape[0], widths[0], normalize_input=True)]
        for stage, width in enumerate(widths):
            for half in range(2):
                is_last = stage == len(widths) - 1
                shrinks = half == 0 and stage > 0 and not (self.keeps_last_size and is_last)
                concatenates = half == 1 and not is_last
                groups = num_classes if concatenates and self.by_class else 1
                skip = SkipConnection(2, pool=2 if shrinks else 1, concatenate=concatenates, groups=groups)
                layers.append(layer(width, width, stride=2 if shrinks else 1))
                layers.append(layer(width, width, residual=skip))
        return layers


def _deeperforward_layer(
    in_channels: int,
    out_channels: int,
    num_classes: int,
    dropout: float,
    stride: int = 1,
    residual: SkipConnection | None = None,
    normalize_input: bool = False,
) -> FFLayer:
    convolution: nn.Module = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")  # type: ignore[arg-type]
    return FFLayer(
        nn.Sequential(LayerNorm(), convolution) if normalize_input else convolution,
        activation=nn.Sequential(nn.ReLU(), nn.Dropout(dropout)) if dropout else nn.ReLU(),
        normalization=GroupNorm(num_classes),
        residual=residual,
        # The goodness is computed before the normalization, which would make it the same for every class.
        order=("transform", "activate", "goodness", "normalize", "add", "pool"),
    )
