"""A text as the set of its word n-grams."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from forwardforward._utils.arguments import PositiveInt, Range, checked
from forwardforward.data.text.corpus import Corpus
from forwardforward.data.text.representation import Representation, padding
from forwardforward.data.text.tokens import Documents

__all__ = ["NGrams"]


BITS = 63  # an n-gram is one positive number of 64 bits, whose digits are word ids


@checked
@dataclass(frozen=True)
class NGrams(Representation):
    """The distinct n-grams of a text (single words, word pairs and so on) as indices padded to a fixed length.

    The vocabulary consists of the n-grams that occur in the most training texts. Index 0 is padding, and a smaller
    index is a more frequent n-gram. In a text with more than ``length`` n-grams of the vocabulary, the most frequent
    ones are left out, because they are the least informative. A text without any is all padding, and a warning counts
    such texts.

    Args:
        vocabulary: Vocabulary size including padding, the ``num_embeddings`` of an embedding.
        longest: Length of the longest n-grams: 1 for words, 2 for words and word pairs. The number of different words
            to the power of ``longest`` must be less than 2 to the power of 63.
        length: Indices per text.
        min_texts: Minimum number of training texts with an n-gram of the vocabulary.

    Source: Wang and Manning, Baselines and bigrams (ACL 2012), which counts a pair once per text; Joulin et al., Bag of
    tricks for efficient text classification (2016), arXiv 1607.01759.

    Example:
        >>> corpus = Corpus(train=["a good film", "a bad film", "not a good film"], test=[])
        >>> encoder = NGrams(vocabulary=8, longest=2, length=5)(corpus)
        >>> encoder(["a good plot"])  # "a good", "good" and "a", the least frequent first, then padding
        tensor([[4, 3, 1, 0, 0]], dtype=torch.int32)
    """

    vocabulary: Annotated[int, Range(2)] = 200_000
    longest: Annotated[int, Range(1, BITS - 1)] = 2
    length: PositiveInt = 512
    min_texts: PositiveInt = 2
    missing: ClassVar[str] = "word of the vocabulary"

    @property
    def num_embeddings(self) -> int:
        """Vocabulary size, including padding."""
        return self.vocabulary

    @checked
    def fit(self, corpus: Corpus) -> tuple[list[str], dict[str, Tensor]]:
        """Return the training words, and the keys and indices of the vocabulary's n-grams of each length."""
        words = corpus.train_words
        base = len(words) + 1
        if base**self.longest >= 2**BITS:
            largest = max(n for n in range(BITS) if base**n < 2**BITS)
            raise ValueError(f"longest must be at most {largest} for {base - 1:,} different words, got {self.longest}")
        lengths = tqdm(range(1, self.longest + 1), desc="counting n-grams", disable=not corpus.progress)
        counted = [np.unique(_DistinctNGrams.of(corpus.train, n, base).keys, return_counts=True) for n in lengths]
        counts = np.concatenate([counts for _, counts in counted])
        order = np.argsort(-counts, kind="stable")[: self.vocabulary - 1]
        order = order[counts[order] >= self.min_texts]
        indices = np.zeros(len(counts), dtype=np.int32)
        indices[order] = np.arange(1, len(order) + 1)
        tensors = {}
        borders = np.cumsum([len(keys) for keys, _ in counted])[:-1]
        for n, ((keys, _), part) in enumerate(zip(counted, np.split(indices, borders), strict=True), start=1):
            tensors[f"keys_{n}"] = torch.from_numpy(keys[part > 0])
            tensors[f"indices_{n}"] = torch.from_numpy(part[part > 0])
        return words, tensors

    def encode(self, documents: Documents, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return indices, int32 ``(texts, length)``."""
        entries = []
        for n in range(1, self.longest + 1):
            ngrams = _DistinctNGrams.of(documents, n, len(documents.lexicon) + 1)
            entries.append(ngrams.in_vocabulary(tensors[f"keys_{n}"].numpy(), tensors[f"indices_{n}"].numpy()))
        texts = np.concatenate([texts for texts, _ in entries])
        indices = np.concatenate([indices for _, indices in entries])
        order = np.lexsort((-indices, texts))  # in each text, the least frequent first
        texts, indices = texts[order], indices[order]
        columns = np.arange(len(texts)) - np.searchsorted(texts, texts)
        fits = columns < self.length
        padded = padding(len(documents), self.length)
        padded[texts[fits], columns[fits]] = indices[fits]
        return torch.from_numpy(padded)


@dataclass(frozen=True, eq=False)
class _DistinctNGrams:
    """The distinct n-grams of each text for one n.

    Attributes:
        keys: The n-grams as numbers whose digits are word ids.
        texts: Index of the text of each n-gram.
    """

    keys: NDArray[np.int64]
    texts: NDArray[np.int64]

    @classmethod
    def of(cls, documents: Documents, n: int, base: int) -> _DistinctNGrams:
        ids, texts = documents.ids.astype(np.int64), documents.text_indices
        count = max(0, len(ids) - n + 1)
        keys = ids[:count]
        for step in range(1, n):
            keys = keys * base + ids[step : count + step]
        within_text = texts[: len(keys)] == texts[n - 1 :]
        keys, texts = keys[within_text], texts[: len(within_text)][within_text]
        order = np.lexsort((keys, texts))
        keys, texts = keys[order], texts[order]
        first = np.ones(len(keys), dtype=bool)
        first[1:] = (keys[1:] != keys[:-1]) | (texts[1:] != texts[:-1])
        return cls(keys[first], texts[first])

    def in_vocabulary(
        self, keys: NDArray[np.int64], indices: NDArray[np.int32]
    ) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Return the text and the index of each n-gram of the vocabulary, given its sorted keys and their indices."""
        if not len(keys):
            return self.texts[:0], indices
        places = np.searchsorted(keys, self.keys).clip(max=len(keys) - 1)
        known = keys[places] == self.keys
        return self.texts[known], indices[places[known]]
