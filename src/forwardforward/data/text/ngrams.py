"""A text as the set of its words and runs of words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from forwardforward._utils.checks import check_whole
from forwardforward.data.text.corpus import Corpus, Representation
from forwardforward.data.text.tokens import Documents

__all__ = ["NGrams"]


@dataclass(frozen=True)
class NGrams(Representation):
    """The different words and runs of words of a text, as numbers padded to one length.

    The vocabulary holds those that the most training texts hold, of runs of ``longest`` words at most. Number 0 is
    padding, and a smaller number is a more frequent run. Of a text with more than ``length`` of them, the most
    frequent are left out, which say the least. A text that holds none is padding alone, and a warning says how many
    such texts there are.

    Args:
        vocabulary: Number of entries, padding among them; :attr:`entries` tells it to an embedding.
        longest: Words in the longest runs: 1 for words, 2 for pairs too.
        length: Numbers a text.
        min_texts: Training texts that must hold an entry.

    Raises:
        ValueError: If a number is out of range.

    Source: Wang and Manning, Baselines and bigrams (ACL 2012), which counts a pair once a text; Joulin et al., Bag of
    tricks for efficient text classification (2016), arXiv 1607.01759.
    """

    vocabulary: int = 200_000
    longest: int = 2
    length: int = 512
    min_texts: int = 2
    missing: ClassVar[str] = "word of the vocabulary"

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name, lowest in (("vocabulary", 2), ("longest", 1), ("length", 1), ("min_texts", 1)):
            check_whole(name, getattr(self, name), lowest)

    @property
    def entries(self) -> int:
        """The size of the vocabulary."""
        return self.vocabulary

    def fit(self, corpus: Corpus) -> Callable[[Documents], Tensor]:
        """Return what turns texts into numbers, int32 ``(texts, length)``."""
        words = len(corpus.lexicon) + 1
        if words**self.longest >= 2**63:
            raise ValueError(f"longest must be smaller for a lexicon of {words:,} words, got {self.longest}")
        lengths = tqdm(range(1, self.longest + 1), desc="counting runs of words", disable=not corpus.progress)
        counted = [np.unique(_Runs.of(corpus.train, length, words).keys, return_counts=True) for length in lengths]
        texts = np.concatenate([counts for _, counts in counted])
        order = np.argsort(-texts, kind="stable")[: self.vocabulary - 1]
        order = order[texts[order] >= self.min_texts]
        numbers = np.zeros(len(texts), dtype=np.int32)
        numbers[order] = np.arange(1, len(order) + 1)
        of_length = np.split(numbers, np.cumsum([len(keys) for keys, _ in counted])[:-1])
        vocabulary = [(keys, own) for (keys, _), own in zip(counted, of_length, strict=True)]
        return partial(self._padded, vocabulary, words)

    def _padded(
        self, vocabulary: list[tuple[NDArray[np.int64], NDArray[np.int32]]], words: int, documents: Documents
    ) -> Tensor:
        parts = [_Runs.of(documents, length, words).numbered(*own) for length, own in enumerate(vocabulary, start=1)]
        owners = np.concatenate([own for own, _ in parts])
        numbers = np.concatenate([own for _, own in parts])
        order = np.lexsort((-numbers, owners))  # of each text, the rarest first
        owners, numbers = owners[order], numbers[order]
        places = np.arange(len(owners)) - np.searchsorted(owners, owners)
        kept = places < self.length
        padded = np.zeros((len(documents), self.length), dtype=np.int32)
        padded[owners[kept], places[kept]] = numbers[kept]
        return torch.from_numpy(padded)


@dataclass(frozen=True, eq=False)
class _Runs:
    """The different runs of one length in each text: a key of the run, and the text's number."""

    keys: NDArray[np.int64]
    owners: NDArray[np.int64]

    @classmethod
    def of(cls, documents: Documents, length: int, words: int) -> _Runs:
        ids, owners = documents.ids.astype(np.int64), documents.owners
        starts = max(0, len(ids) - length + 1)
        keys = ids[:starts]
        for step in range(1, length):
            keys = keys * words + ids[step : starts + step]
        whole = owners[: len(keys)] == owners[length - 1 :]
        keys, owners = keys[whole], owners[: len(whole)][whole]
        order = np.lexsort((keys, owners))
        keys, owners = keys[order], owners[order]
        first = np.ones(len(keys), dtype=bool)
        first[1:] = (keys[1:] != keys[:-1]) | (owners[1:] != owners[:-1])
        return cls(keys[first], owners[first])

    def numbered(
        self, known: NDArray[np.int64], numbers: NDArray[np.int32]
    ) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Return owner and number of those runs that have one."""
        if not len(known):
            return self.owners[:0], numbers
        places = np.searchsorted(known, self.keys).clip(max=len(known) - 1)
        own = np.where(known[places] == self.keys, numbers[places], 0)
        return self.owners[own > 0], own[own > 0].astype(np.int32)
