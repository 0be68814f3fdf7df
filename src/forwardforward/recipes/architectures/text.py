"""Networks on texts, whose inputs are indices of words or word n-grams."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from forwardforward._utils.arguments import NumClasses, NumEmbeddings, PositiveFloat, PositiveInt, Probability, checked
from forwardforward.layers import FFEmbedding, FFEmbeddingBag, FFLayer
from forwardforward.recipes.architectures.dense import Dense

__all__ = ["BagOfWords", "WordConvolutions"]


@checked
@dataclass(frozen=True)
class BagOfWords:
    """The mean of the embeddings of words (or word n-grams), followed by dense layers with ReLU.

    Args:
        num_embeddings: Size of the vocabulary, padding included.
        dropout: Probability that an input index is dropped in training.
        init_std: Standard deviation of the initial embeddings.
        weighting: Fixed weights of the indices, see :class:`~forwardforward.layers.FFEmbeddingBag`.

    Example:
        >>> layers = BagOfWords(num_embeddings=1000)((256,), widths=(32, 200), num_classes=2)
        >>> [type(layer).__name__ for layer in layers]
        ['FFEmbeddingBag', 'FFLinear']
    """

    num_embeddings: NumEmbeddings
    dropout: Probability = 0.0
    init_std: PositiveFloat = 1.0
    weighting: Literal["log-count-ratio"] | None = None

    @checked
    def __call__(
        self, input_shape: Sequence[PositiveInt], widths: Sequence[PositiveInt], num_classes: NumClasses
    ) -> list[FFLayer]:
        """Return one layer per width; the first width is the size of the embeddings."""
        _check_embedding_size(widths)
        options: dict[str, Any] = {"dropout": self.dropout, "init_std": self.init_std, "weighting": self.weighting}
        bag = FFEmbeddingBag(self.num_embeddings, widths[0], **options)
        return [bag, *Dense()(widths[:1], widths[1:], num_classes)]


@checked
@dataclass(frozen=True)
class WordConvolutions:
    """Embeddings of words in their order, followed by one-dimensional convolutions with ReLU.

    Each convolution but the first ends with a max-pool that halves the length.

    Args:
        num_embeddings: Size of the vocabulary, padding included.
        kernel_size: Size of the convolution kernels in words, odd.
        dropout: Probability that an input word is dropped in training.
        init_std: Standard deviation of the initial embeddings.

    Example:
        >>> layers = WordConvolutions(num_embeddings=1000)((256,), widths=(64, 128, 128), num_classes=2)
        >>> [layer.pool for layer in layers]
        [None, None, MaxPool1d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=True)]
    """

    num_embeddings: NumEmbeddings
    kernel_size: PositiveInt = 3
    dropout: Probability = 0.0
    init_std: PositiveFloat = 1.0

    @checked
    def __call__(
        self, input_shape: Sequence[PositiveInt], widths: Sequence[PositiveInt], num_classes: NumClasses
    ) -> list[FFLayer]:
        """Return one layer per width; the first width is the size of the embeddings."""
        _check_embedding_size(widths)
        embedding = FFEmbedding(self.num_embeddings, widths[0], dropout=self.dropout, init_std=self.init_std)
        convolutions = [
            FFLayer(
                nn.Conv1d(in_channels, out_channels, self.kernel_size, padding=self.kernel_size // 2),
                activation=nn.ReLU(),
                pool=nn.MaxPool1d(2, ceil_mode=True) if index > 0 else None,
            )
            for index, (in_channels, out_channels) in enumerate(itertools.pairwise(widths))
        ]
        return [embedding, *convolutions]


def _check_embedding_size(widths: Sequence[int]) -> None:
    if not widths:
        raise ValueError("widths must contain at least the size of the embeddings, got none")
