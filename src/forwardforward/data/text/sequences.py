"""A text as the sequence of its words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import torch
from torch import Tensor

from forwardforward._utils.arguments import PositiveInt, Range, checked
from forwardforward.data.text.corpus import Corpus
from forwardforward.data.text.representation import Representation, padding
from forwardforward.data.text.tokens import Documents

__all__ = ["WordSequence"]


@checked
@dataclass(frozen=True)
class WordSequence(Representation):
    """The last words of a text, in order, as indices padded to a fixed length.

    Index 0 is padding, in front of shorter texts, and 1 is a word outside the vocabulary; a smaller index is a more
    frequent word. The last words are used because reviews often end with their verdict. A warning counts the texts
    without any word of the vocabulary.

    Args:
        vocabulary: Vocabulary size including these two, the ``num_embeddings`` of an embedding.
        length: Words per text.

    Example:
        >>> encoder = WordSequence(vocabulary=10, length=4)(Corpus(train=["A good film!", "A bad film."], test=[]))
        >>> encoder(["Good, not bad"])
        tensor([[0, 4, 1, 6]], dtype=torch.int32)
    """

    vocabulary: Annotated[int, Range(3)] = 30_000
    length: PositiveInt = 256
    missing: ClassVar[str] = "word of the vocabulary"

    @property
    def num_embeddings(self) -> int:
        """Vocabulary size, including padding and the index of unknown words."""
        return self.vocabulary

    @checked
    def fit(self, corpus: Corpus) -> tuple[list[str], dict[str, Tensor]]:
        """Return the training words and their indices; the last index is that of other words."""
        words = corpus.train_words
        counts = np.bincount(corpus.train.ids, minlength=len(words))
        order = np.argsort(-counts, kind="stable")[: self.vocabulary - 2]
        indices = np.ones(len(words) + 1, dtype=np.int32)
        indices[order] = np.arange(2, len(order) + 2)
        return words, {"indices": torch.from_numpy(indices)}

    def encode(self, documents: Documents, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return indices, int32 ``(texts, length)``."""
        indices = tensors["indices"].numpy()
        padded = padding(len(documents), self.length)
        for i in range(len(documents)):
            last_words = indices[documents[i][-self.length :]]
            padded[i, self.length - len(last_words) :] = last_words
        return torch.from_numpy(padded)

    @checked
    def is_empty(self, inputs: Tensor) -> Tensor:
        """Return which inputs contain only padding and unknown words, ``(texts,)``."""
        return super().is_empty((inputs > 1).to(torch.int8))
