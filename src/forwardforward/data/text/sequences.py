"""A text as the sequence of its words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forwardforward._utils.checks import check_whole
from forwardforward.data.text.corpus import Corpus, Representation
from forwardforward.data.text.tokens import Documents

__all__ = ["WordSequence"]


@dataclass(frozen=True)
class WordSequence(Representation):
    """The last words of a text, in their order, as numbers padded to one length.

    Number 0 is padding, in front of a text that is too short, and 1 a word that is not in the vocabulary; a smaller
    number is a more frequent word. Reviews say their verdict at the end, so that is what is kept. A warning says how
    many texts hold no word of the vocabulary.

    Args:
        vocabulary: Number of entries, those two among them; :attr:`entries` tells it to an embedding.
        length: Words a text.

    Raises:
        ValueError: If a number is out of range.
    """

    vocabulary: int = 30_000
    length: int = 256
    missing: ClassVar[str] = "word of the vocabulary"

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name, lowest in (("vocabulary", 3), ("length", 1)):
            check_whole(name, getattr(self, name), lowest)

    @property
    def entries(self) -> int:
        """The size of the vocabulary."""
        return self.vocabulary

    def fit(self, corpus: Corpus) -> Callable[[Documents], Tensor]:
        """Return what turns texts into numbers, int32 ``(texts, length)``."""
        counts = np.bincount(corpus.train.ids, minlength=len(corpus.lexicon))
        order = np.argsort(-counts, kind="stable")[: self.vocabulary - 2]
        order = order[counts[order] > 0]
        numbers = np.ones(len(corpus.lexicon) + 1, dtype=np.int32)
        numbers[order] = np.arange(2, len(order) + 2)
        return partial(self._padded, numbers)

    def silent(self, inputs: Tensor) -> Tensor:
        """Return which texts' inputs say nothing, ``(texts,)``: those of padding and unknown words alone."""
        return (inputs <= 1).all(1)

    def _padded(self, numbers: NDArray[np.int32], documents: Documents) -> Tensor:
        padded = np.zeros((len(documents), self.length), dtype=np.int32)
        for i in range(len(documents)):
            words = numbers[documents[i][-self.length :]]
            padded[i, self.length - len(words) :] = words
        return torch.from_numpy(padded)
