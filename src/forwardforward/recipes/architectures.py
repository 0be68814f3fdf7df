"""Named architectures of the papers, as lists of layers to put into a stack.

An *architecture* is a callable ``(input_shape, widths, num_classes) -> layers``; recipes hold one. The functions
below name the papers' networks with their sizes:

    >>> import forwardforward as ff
    >>> layers = trifecta_shallow(in_channels=4)  # three colours and a label channel
    >>> model = ff.FFSequential(
    ...     *layers,
    ...     goodness=ff.goodness.MeanOfSquares(),
    ...     loss=ff.losses.SymBa(),
    ...     normalization=ff.normalization.BatchNorm(affine=True),
    ...     label_encoder=ff.label_encoders.LearnedChannel(num_classes=10, size=32),
    ...     classifier=ff.classifiers.SumOverLayers(slice(-1, None)),
    ... )
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn

from forwardforward._utils.checks import InputShapeError, check_image_shape
from forwardforward.layers import (
    NORMALIZE_FIRST,
    FFConv2d,
    FFEmbedding,
    FFEmbeddingBag,
    FFLayer,
    FFLinear,
    Shortcut,
    Skip,
)
from forwardforward.normalization import GroupNorm, LayerNorm

__all__ = [
    "Convolutions",
    "DeeperForward",
    "Dense",
    "EntryBag",
    "WordConvolutions",
    "cwcomp",
    "deeperforward",
    "trifecta_deep",
    "trifecta_fcn",
    "trifecta_shallow",
]

#: Input shape, widths and number of classes to layers.
Architecture = Callable[[Sequence[int], Sequence[int], int], list[FFLayer]]


@dataclass(frozen=True)
class Dense:
    """A stack of dense layers.

    Args:
        activation: What each layer applies to its products, in a copy of its own; a ReLU unless given.
    """

    activation: nn.Module | None = None

    def __call__(self, input_shape: Sequence[int], widths: Sequence[int], num_classes: int) -> list[FFLayer]:
        """Return one layer a width."""
        features = 1
        for size in input_shape:
            features *= size
        return [
            FFLinear(*sizes, activation=copy.deepcopy(self.activation))
            for sizes in itertools.pairwise([features, *widths])
        ]

    def __repr__(self) -> str:
        """Return the call that made this."""
        return "Dense()" if self.activation is None else f"Dense(activation={self.activation!r})"


@dataclass(frozen=True)
class Convolutions:
    """A stack of convolutions with ReLU, of stride 1 and padded to keep the size, with 2x2 max-pools in between.

    Args:
        pools: Numbers of the layers, from 1, that end with a max-pool.
        kernel_size: Side of the filters, odd.
        order: Order of the operations in every layer, see :class:`~forwardforward.FFLayer`.
        bias: Whether the convolutions have a bias.
        grouped: Numbers of the layers, from 1, in which each class has filters of its own, which see that class's
            channels alone.
        residual: Whether each layer adds its input to its convolution's output (the Trifecta's appendix I).
    """

    pools: tuple[int, ...] = ()
    kernel_size: int = 3
    order: tuple[str, ...] = NORMALIZE_FIRST
    bias: bool = False
    grouped: tuple[int, ...] = ()
    residual: bool = False

    def __call__(self, input_shape: Sequence[int], widths: Sequence[int], num_classes: int) -> list[FFLayer]:
        """Return one layer a width, which is its number of channels.

        Raises:
            ValueError: If the input is not (channels, height, width) or too small for the pools, or layers whose
                filters are apart by class do not divide by the classes.
        """
        check_image_shape(input_shape, "convolutions")
        if min(input_shape[1:]) < 2 ** len([pool for pool in self.pools if pool <= len(widths)]):
            raise InputShapeError(
                f"input_shape must be large enough for {len(self.pools)} pools, got {tuple(input_shape)}"
            )
        channels = [input_shape[0], *widths]
        if any(channels[i] % num_classes for number in self.grouped for i in (number - 1, number) if i < len(channels)):
            raise ValueError(
                f"widths must be multiples of the {num_classes} classes around layers with filters apart by class, "
                f"got {tuple(widths)}"
            )
        return [
            FFConv2d(
                *sizes,
                self.kernel_size,
                padding=self.kernel_size // 2,
                groups=num_classes if number in self.grouped else 1,
                bias=self.bias,
                pool=2 if number in self.pools else None,
                shortcut=Shortcut() if self.residual and number > 1 else None,
                order=self.order,
            )
            for number, sizes in enumerate(itertools.pairwise(channels), start=1)
        ]


@dataclass(frozen=True)
class DeeperForward:
    """The residual network of DeeperForward: one convolution and four for each of the widths.

    Layers convolve, activate, show their goodness and then normalize, each class's group of channels by itself. Every
    second layer adds what passed two layers earlier; behind the fourth layer of a width, that is joined to the
    channels instead, so widths double, and the next layer has stride 2. The input is layer-normalized.
    """

    def __call__(self, input_shape: Sequence[int], widths: Sequence[int], num_classes: int) -> list[FFLayer]:
        """Return the layers, 4 a width and one.

        Raises:
            ValueError: If the input is not (channels, height, width), or the widths do not double.
        """
        check_image_shape(input_shape, "convolutions")
        if any(b != 2 * a for a, b in itertools.pairwise(widths)):
            raise ValueError(f"widths must double from one to the next, got {tuple(widths)}")
        order = ("transform", "activate", "goodness", "normalize", "add", "pool")
        layers: list[FFLayer] = []

        def add(in_channels: int, channels: int, stride: int = 1, first: bool = False) -> FFLayer:
            convolution: nn.Module = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
            nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")  # type: ignore[arg-type]
            layers.append(
                FFLayer(
                    nn.Sequential(LayerNorm(), convolution) if first else convolution,
                    activation=nn.ReLU(),
                    normalization=GroupNorm(num_classes),
                    order=order,
                    in_features=in_channels,
                    features=channels,
                )
            )
            return layers[-1]

        begin = add(input_shape[0], widths[0], first=True)
        for stage, width in enumerate(widths):
            for half in range(2):
                last = stage == len(widths) - 1 and half == 1
                join = half == 1 and not last
                skip = Skip(concatenate=join)
                begin.tap = skip
                begin = add(width, width, stride=2 if stage and not half else 1)
                if stage and not half:
                    skip.pool = 2
                end = add(width, width)
                end.shortcut = skip
                begin = end
        return layers


@dataclass(frozen=True)
class EntryBag:
    """A bag of embedded entries, such as words and word pairs, under dense layers with ReLU.

    Args:
        entries: Number of entries, padding among them.
        drop: Share of the entries that each training step leaves out.
        std: Standard deviation of the vectors at the start.
    """

    entries: int
    drop: float = 0.0
    std: float = 1.0

    def __call__(self, input_shape: Sequence[int], widths: Sequence[int], num_classes: int) -> list[FFLayer]:
        """Return one layer a width; the first is the size of the entries' vectors."""
        bag = FFEmbeddingBag(self.entries, widths[0], drop=self.drop, std=self.std)
        return [bag, *Dense()(widths[:1], widths[1:], num_classes)]


@dataclass(frozen=True)
class WordConvolutions:
    """Embedded words in their order, under one-dimensional convolutions with ReLU.

    Each convolution but the first ends with a max-pool that halves the length.

    Args:
        entries: Number of words, padding among them.
        kernel_size: Words that a filter sees, odd.
        drop: Share of the words that each training step leaves out.
        std: Standard deviation of the vectors at the start.
    """

    entries: int
    kernel_size: int = 3
    drop: float = 0.0
    std: float = 1.0

    def __call__(self, input_shape: Sequence[int], widths: Sequence[int], num_classes: int) -> list[FFLayer]:
        """Return one layer a width; the first is the size of the words' vectors."""
        layers: list[FFLayer] = [FFEmbedding(self.entries, widths[0], drop=self.drop, std=self.std)]
        for number, (in_channels, channels) in enumerate(itertools.pairwise(widths)):
            layers.append(
                FFLayer(
                    nn.Conv1d(in_channels, channels, self.kernel_size, padding=self.kernel_size // 2),
                    activation=nn.ReLU(),
                    pool=nn.MaxPool1d(2, ceil_mode=True) if number else None,
                    in_features=in_channels,
                    features=channels,
                )
            )
        return layers


def trifecta_shallow(in_channels: int) -> list[FFLayer]:
    """Return the Trifecta's shallow network: 6 convolutions, 2.8 M parameters.

    Args:
        in_channels: Of the images, with the label channel: 4 for colours.

    Source: Dooms et al., The Trifecta (2023), arXiv 2311.18130, figure 12.
    """
    return Convolutions(pools=(1, 3, 6))((in_channels, 32, 32), TRIFECTA_SHALLOW, 10)


def trifecta_deep(in_channels: int) -> list[FFLayer]:
    """Return the Trifecta's deep network: 12 convolutions, 8.5 M parameters.

    Args:
        in_channels: Of the images, with the label channel: 4 for colours.

    Source: Dooms et al., The Trifecta (2023), arXiv 2311.18130, figure 12.
    """
    return Convolutions(pools=(2, 6, 10))((in_channels, 32, 32), TRIFECTA_DEEP, 10)


def trifecta_fcn(in_features: int) -> list[FFLayer]:
    """Return the Trifecta's dense network: 6 layers of 2048 units.

    Args:
        in_features: Of the images, with the label.

    Source: Dooms et al., The Trifecta (2023), arXiv 2311.18130; its 25.1 M parameters are six 2048 x 2048 matrices,
    and the first here has ``in_features`` columns.
    """
    return Dense()((in_features,), TRIFECTA_FCN, 10)


def cwcomp(in_channels: int, num_classes: int = 10) -> list[FFLayer]:
    """Return CwComp's network with grouped convolutions: 20-80-240-480 channels, 0.28 M parameters.

    Args:
        in_channels: Of the images.
        num_classes: Number of classes, which must divide the channels.

    Source: Papachristodoulou et al., CwComp (AAAI 2024), arXiv 2312.12668.
    """
    return CWCOMP((in_channels, 32, 32), (20, 80, 240, 480), num_classes)


def deeperforward(in_channels: int, num_classes: int = 10, width: int = 100) -> list[FFLayer]:
    """Return DeeperForward's residual network of 17 convolutions, 30.6 M parameters at the paper's width.

    Args:
        in_channels: Of the images.
        num_classes: Number of classes, which must divide the width.
        width: Channels of the first five layers; they double three times.

    Source: Sun et al., DeeperForward (ICLR 2025).
    """
    return DeeperForward()((in_channels, 32, 32), tuple(width * 2**i for i in range(4)), num_classes)


TRIFECTA_SHALLOW = (128, 128, 256, 256, 256, 512)
TRIFECTA_DEEP = (64, *[128] * 4, *[256] * 4, *[512] * 3)
TRIFECTA_FCN = (2048,) * 6
#: Convolve, activate, pool, normalize, and read the goodness off what passes on.
CWCOMP = Convolutions(
    pools=(2, 4),
    order=("transform", "add", "activate", "pool", "normalize", "goodness"),
    bias=True,
    grouped=(2, 4),
)
#: Convolve, pool, normalize, activate: a quarter of the map to normalize.
PER_CLASS = Convolutions(pools=(1, 2, 3), order=("transform", "pool", "normalize", "add", "activate", "goodness"))
