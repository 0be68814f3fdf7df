"""A text as the mean of its word vectors."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from forwardforward._utils.arguments import StrPath, checked
from forwardforward.data.text.corpus import Corpus
from forwardforward.data.text.representation import Representation
from forwardforward.data.text.tokens import Documents
from forwardforward.data.text.vectors import read_vectors, vector_rows
from forwardforward.data.text.word2vec import Word2Vec

__all__ = ["MeanVectors"]


@checked
@dataclass(frozen=True)
class MeanVectors(Representation):
    r"""Mean of a text's word vectors, optionally weighted by tf-idf.

    .. math:: x = \frac{\sum_w n_w a_w v_w}{\sum_w n_w a_w}, \qquad
              a_w = 1 \text{ or } a_w = 1 + \ln \frac{1 + N}{1 + N_w}

    for a word that occurs :math:`n_w` times in the text and in :math:`N_w` of the :math:`N` training texts. Words
    without a vector are ignored; a text without any word vector becomes the zero vector, and a warning counts such
    texts.

    Args:
        vectors: Settings for training vectors, or the path of a file for :func:`read_vectors`, of which only the words
            in training or test texts are used.
        weighting: ``"tfidf"`` or ``"none"``.

    Source: the input of Gandhi et al., Extending the Forward Forward Algorithm (2023), arXiv 2307.04205.

    Example:
        >>> MeanVectors(Word2Vec(size=100), weighting="none").weighting
        'none'
        >>> encoder = MeanVectors("glove.6B.200d.txt")(corpus)  # doctest: +SKIP
    """

    vectors: Word2Vec | StrPath = field(default_factory=Word2Vec)
    weighting: Literal["none", "tfidf"] = "tfidf"
    missing: ClassVar[str] = "word with a vector"

    def check_available(self, folder: Path | None) -> None:
        """Check that the file of vectors is readable, or that vectors can be trained or are saved in the folder."""
        if isinstance(self.vectors, Word2Vec):
            self.vectors.check_available(folder)
        else:
            with contextlib.closing(vector_rows(Path(self.vectors))) as rows:
                next(rows, None)  # the format is detected before the first row

    @checked
    def fit(self, corpus: Corpus) -> tuple[tuple[str, ...], dict[str, Tensor]]:
        """Return the words with a vector, their vectors and their weights."""
        if isinstance(self.vectors, Word2Vec):
            vectors = self.vectors.vectors(corpus)
        else:
            vectors = read_vectors(self.vectors, corpus.lexicon, corpus.progress)
        weights = np.ones(len(vectors.words)) if self.weighting == "none" else _idf(corpus, vectors.words)
        return vectors.words, {"vectors": torch.from_numpy(vectors.matrix), "weights": torch.from_numpy(weights)}

    def encode(self, documents: Documents, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return means, float32 ``(texts, size)``."""
        known = documents.ids < len(tensors["weights"])
        ids = torch.from_numpy(documents.ids[known]).long()
        offsets = np.concatenate(([0], np.cumsum(known)))[documents.offsets[:-1]]
        weights = tensors["weights"][ids]
        sums = F.embedding_bag(
            ids, tensors["vectors"], torch.from_numpy(offsets), mode="sum", per_sample_weights=weights.float()
        )
        totals = np.bincount(documents.text_indices[known], weights=weights.numpy(), minlength=len(documents))
        return sums / torch.from_numpy(totals).float().clamp(min=1e-12)[:, None]

    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments as plain numbers, strings and dictionaries."""
        settings = super().settings()
        if not isinstance(self.vectors, Word2Vec):
            settings["vectors"] = os.fspath(self.vectors)
        return settings

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> MeanVectors:
        """Return the representation with the given :meth:`settings`."""
        vectors = settings["vectors"]
        return cls(Word2Vec(**vectors) if isinstance(vectors, dict) else vectors, settings["weighting"])


def _idf(corpus: Corpus, words: tuple[str, ...]) -> NDArray[np.float64]:
    """Return the weight of each word from the number of training texts with that word."""
    train, size = corpus.train, len(corpus.lexicon) + 1
    pairs = np.unique(train.text_indices * size + train.ids)
    counts = np.bincount(pairs % size, minlength=size)  # the last one, for words outside the corpus, is 0
    return np.asarray(1 + np.log((1 + len(train)) / (1 + counts[corpus.lexicon.ids(words)])))
