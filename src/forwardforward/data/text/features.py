"""A text as the mean of its words' vectors."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from forwardforward.data.text.corpus import Corpus, Representation
from forwardforward.data.text.tokens import Documents
from forwardforward.data.text.vectors import Word2Vec, read_vectors

__all__ = ["MeanVectors"]

WEIGHTINGS = ("none", "tfidf")


@dataclass(frozen=True)
class MeanVectors(Representation):
    r"""The mean of a text's word vectors, weighted by tf-idf or not.

    .. math:: x = \frac{\sum_w n_w a_w v_w}{\sum_w n_w a_w}, \qquad
              a_w = 1 \text{ or } a_w = 1 + \ln \frac{1 + N}{1 + N_w}

    for a word that occurs :math:`n_w` times in the text and in :math:`N_w` of the :math:`N` training texts. Words
    without a vector do not count; a text in which no word has one becomes the zero vector, and a warning says how
    many there are.

    Args:
        vectors: How vectors are trained, or the path of a file that :func:`read_vectors` reads; of a file, the words
            that training or test texts hold.
        weighting: ``"tfidf"`` or ``"none"``.

    Raises:
        ValueError: If ``weighting`` is another word.

    Source: the input of Gandhi et al., Extending the Forward Forward Algorithm (2023), arXiv 2307.04205.
    """

    vectors: Word2Vec | str | os.PathLike[str] = field(default_factory=Word2Vec)
    weighting: str = "tfidf"
    missing: ClassVar[str] = "word with a vector"

    def __post_init__(self) -> None:
        """Check the weighting."""
        if self.weighting not in WEIGHTINGS:
            raise ValueError(f"weighting must be one of {', '.join(WEIGHTINGS)}, got {self.weighting!r}")

    def fit(self, corpus: Corpus) -> Callable[[Documents], Tensor]:
        """Return what turns texts into means, float32 ``(texts, size)``."""
        if isinstance(self.vectors, Word2Vec):
            vectors = self.vectors.vectors(corpus)
        else:
            vectors = read_vectors(self.vectors, corpus.lexicon, corpus.progress)
        corpus.lexicon.take(vectors.words)  # those too that none of the corpus's texts holds
        numbers = {word: number for number, word in enumerate(vectors.words)}
        rows = np.array([*(numbers.get(word, -1) for word in corpus.lexicon), -1])
        weights = np.ones(len(rows)) if self.weighting == "none" else _idf(corpus)
        return partial(_means, rows, weights, torch.from_numpy(vectors.matrix))


def _idf(corpus: Corpus) -> NDArray[np.float64]:
    """Return the weight of every word, by the number of training texts that hold it."""
    train, words = corpus.train, len(corpus.lexicon) + 1
    pairs = np.unique(train.owners * words + train.ids)
    return np.asarray(1 + np.log((1 + len(train)) / (1 + np.bincount(pairs % words, minlength=words))))


def _means(rows: NDArray[np.int64], weights: NDArray[np.float64], matrix: Tensor, part: Documents) -> Tensor:
    known = rows[part.ids] >= 0
    ids = part.ids[known]
    offsets = np.concatenate(([0], np.cumsum(known)))[part.borders[:-1]]
    own = torch.from_numpy(weights[ids]).float()
    starts, index = torch.from_numpy(offsets), torch.from_numpy(rows[ids])
    sums = F.embedding_bag(index, matrix, starts, mode="sum", per_sample_weights=own)
    totals = np.bincount(part.owners[known], weights=weights[ids], minlength=len(part))
    return sums / torch.from_numpy(totals).float().clamp(min=1e-12)[:, None]
