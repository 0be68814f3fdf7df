"""A text as the sequence of its words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from forwardforward.data.text.corpus import Corpus, Representation, warn_of_empty
from forwardforward.data.text.tokens import Documents

__all__ = ["WordSequence"]


@dataclass(frozen=True)
class WordSequence(Representation):
    """The last words of a text, in their order, as numbers padded to one length.

    Number 0 is padding, in front of a text that is too short, and 1 a word that is not in the vocabulary; a smaller
    number is a more frequent word. Reviews say their verdict at the end, so that is what is kept. A text
    without words is padding alone, and a warning says how many such texts there are.

    Args:
        vocabulary: Number of entries, those two among them; :attr:`entries` tells it to an embedding.
        length: Words a text.

    Raises:
        ValueError: If a number is out of range.
    """

    vocabulary: int = 30_000
    length: int = 256

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name, lowest in (("vocabulary", 3), ("length", 1)):
            if getattr(self, name) < lowest:
                raise ValueError(f"{name} must be at least {lowest}, got {getattr(self, name)}")

    @property
    def entries(self) -> int:
        """The size of the vocabulary."""
        return self.vocabulary

    def __call__(self, corpus: Corpus) -> tuple[Tensor, Tensor]:
        """Return the numbers of training and test texts, int32 ``(texts, length)``."""
        counts = np.bincount(corpus.train.ids, minlength=len(corpus.lexicon))
        order = np.argsort(-counts, kind="stable")[: self.vocabulary - 2]
        order = order[counts[order] > 0]
        numbers = np.ones(len(corpus.lexicon), dtype=np.int32)
        numbers[order] = np.arange(2, len(order) + 2)
        train, test = (
            Documents(numbers[part.ids] if len(part.ids) else part.ids, part.borders)
            for part in (corpus.train, corpus.test)
        )
        padded = self._padded(train), self._padded(test)
        warn_of_empty(*padded, "word")
        return padded

    def _padded(self, documents: Documents) -> Tensor:
        padded = np.zeros((len(documents), self.length), dtype=np.int32)
        for i in range(len(documents)):
            words = documents[i][-self.length :]
            padded[i, self.length - len(words) :] = words
        return torch.from_numpy(padded)
