"""Network architectures of the papers, as lists of layers.

An *architecture* is a callable ``(input_shape, widths, num_classes) -> layers``. A recipe contains one, together with
the widths, and :meth:`Recipe.layers() <forwardforward.recipes.Recipe.layers>` calls it:

    >>> from forwardforward import recipes
    >>> layers = recipes.get("trifecta-s").layers(input_shape=(3, 32, 32), num_classes=10)
    >>> [layer.block.out_channels for layer in layers]
    [128, 128, 256, 256, 256, 512]

An architecture can be used without a recipe:

    >>> import forwardforward as ff
    >>> layers = Convolutions(pools=(0,))((1, 28, 28), widths=(16, 32), num_classes=10)
    >>> model = ff.FFSequential(*layers, goodness=ff.goodness.ClassGroups(10), loss=ff.losses.CrossEntropy())
"""

from __future__ import annotations

from forwardforward.recipes.architectures.convolutional import (
    Convolutions,
    DeeperForward,
    InvertedBottlenecks,
    LocalVGG,
)
from forwardforward.recipes.architectures.dense import Dense, LabelInEveryLayer
from forwardforward.recipes.architectures.text import BagOfWords, WordConvolutions

__all__ = [
    "BagOfWords",
    "Convolutions",
    "DeeperForward",
    "Dense",
    "InvertedBottlenecks",
    "LabelInEveryLayer",
    "LocalVGG",
    "WordConvolutions",
]
