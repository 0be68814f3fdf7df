"""A text as the set of its words and runs of words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forwardforward.data.text.corpus import Corpus, Representation, warn_of_empty
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

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name, lowest in (("vocabulary", 2), ("longest", 1), ("length", 1), ("min_texts", 1)):
            if getattr(self, name) < lowest:
                raise ValueError(f"{name} must be at least {lowest}, got {getattr(self, name)}")

    @property
    def entries(self) -> int:
        """The size of the vocabulary."""
        return self.vocabulary

    def __call__(self, corpus: Corpus) -> tuple[Tensor, Tensor]:
        """Return the numbers of training and test texts, int32 ``(texts, length)``."""
        words = len(corpus.lexicon)
        if words**self.longest >= 2**63:
            raise ValueError(f"longest must be smaller for a lexicon of {words:,} words, got {self.longest}")
        train = [_Runs.of(corpus.train, length, words) for length in range(1, self.longest + 1)]
        counted = [np.unique(runs.keys, return_counts=True) for runs in train]
        texts = np.concatenate([counts for _, counts in counted])
        order = np.argsort(-texts, kind="stable")[: self.vocabulary - 1]
        order = order[texts[order] >= self.min_texts]
        numbers = np.zeros(len(texts), dtype=np.int32)
        numbers[order] = np.arange(1, len(order) + 1)
        of_length = np.split(numbers, np.cumsum([len(keys) for keys, _ in counted])[:-1])
        vocabulary = [(keys, own) for (keys, _), own in zip(counted, of_length, strict=True)]
        test = [_Runs.of(corpus.test, length, words) for length in range(1, self.longest + 1)]
        found = [
            self._padded([runs.numbered(*own) for runs, own in zip(part, vocabulary, strict=True)], len(documents))
            for part, documents in ((train, corpus.train), (test, corpus.test))
        ]
        warn_of_empty(found[0], found[1], "word of the vocabulary")
        return found[0], found[1]

    def _padded(self, parts: list[tuple[NDArray[np.int64], NDArray[np.int32]]], texts: int) -> Tensor:
        owners = np.concatenate([own for own, _ in parts])
        numbers = np.concatenate([own for _, own in parts])
        order = np.lexsort((-numbers, owners))  # of each text, the rarest first
        owners, numbers = owners[order], numbers[order]
        places = np.arange(len(owners)) - np.searchsorted(owners, owners)
        kept = places < self.length
        padded = np.zeros((texts, self.length), dtype=np.int32)
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
        keys = ids[: len(ids) - length + 1]
        for step in range(1, length):
            keys = keys * words + ids[step : len(ids) - length + 1 + step]
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
