"""Word2Vec trained on the texts of a corpus, by gensim."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from tqdm import tqdm

from forwardforward._utils.arguments import PositiveInt, Range, checked
from forwardforward._utils.files import replacing
from forwardforward.data.text.corpus import Corpus
from forwardforward.data.text.vectors import LARGEST_SIZE, WordVectors, read_vectors, write_vectors

__all__ = ["Word2Vec"]

#: Longest list of words of which gensim uses all.
LONGEST_SENTENCE = 10_000


@checked
@dataclass(frozen=True)
class Word2Vec:
    r"""Word vectors trained on the training and the unlabeled texts of a corpus.

    Vectors are trained to distinguish a word from ``negative`` random words, given the mean of its neighbors' vectors
    (continuous bag of words), or to distinguish the neighbors given the word (skip-gram):

    .. math:: L = -\log \sigma(u_w \cdot \bar v) - \sum_{n} \log \sigma(-u_n \cdot \bar v), \qquad
              \bar v = \operatorname*{mean}_{c \in \mathrm{window}} v_c

    The vectors are saved in the corpus's folder as ``word2vec-KEY.bin``, in word2vec's binary format, and the settings
    as ``word2vec-KEY.json``. The key is a digest of the settings and the texts, but only of the number of unlabeled
    files; later calls with the same settings and texts read the file and do not need gensim.

    Args:
        size: Length of the vectors.
        window: Maximum number of neighbors on each side.
        epochs: Passes over the texts.
        min_count: Minimum number of occurrences of a word with a vector.
        negative: Number of random words.
        skip_gram: Whether to use skip-gram instead of the continuous bag of words.
        seed: Random seed for initial weights and sampling.
        workers: Number of threads. Results are reproducible only with one thread.

    Raises:
        ValueError: If a number is out of range.

    Source: Mikolov et al. (2013), arXiv 1301.3781 and 1310.4546; trained by gensim.

    Example:
        >>> settings = Word2Vec(size=100, min_count=2)
        >>> vectors = settings.vectors(Corpus(texts, []))  # doctest: +SKIP
    """

    size: Annotated[int, Range(1, LARGEST_SIZE)] = 200
    window: Annotated[int, Range(1, 10_000)] = 5
    epochs: PositiveInt = 5
    min_count: PositiveInt = 5
    negative: Annotated[int, Range(1, 10_000)] = 5
    skip_gram: bool = False
    seed: Annotated[int, Range(0, 2**32 - 1)] = 0
    workers: Annotated[int, Range(1, 1024)] = 1

    def check_available(self, folder: Path | None) -> None:
        """Check, before texts are read, that gensim is installed if vectors have to be trained.

        Args:
            folder: Folder of saved vectors. If it has vectors with these settings, gensim is not needed, except if
                they turn out to be those of other texts.

        Raises:
            ImportError: If gensim is not installed.
        """
        for path in folder.glob("word2vec-*.json") if folder is not None else ():
            with contextlib.suppress(OSError, ValueError, TypeError):
                saved = json.loads(path.read_text(encoding="utf-8"))
                if {**saved, **asdict(self)} == saved and path.with_suffix(".bin").is_file():
                    return
        _gensim()

    @checked
    def vectors(self, corpus: Corpus) -> WordVectors:
        """Return the vectors of a corpus: saved vectors if available, else trained.

        Raises:
            ImportError: If they have to be trained and gensim is not installed.
            ValueError: If the saved file is corrupted, or no word is frequent enough.
        """
        if corpus.folder is None:
            return self.train(corpus)
        settings = json.dumps({**asdict(self), "texts": corpus.fingerprint()}, indent=2)
        path = corpus.folder / f"word2vec-{hashlib.sha256(settings.encode()).hexdigest()[:12]}.bin"
        if path.is_file():
            try:
                vectors = read_vectors(path, progress=corpus.progress)
                if vectors.size != self.size:
                    raise ValueError(f"{path} must contain vectors of size {self.size}, got {vectors.size}")
            except ValueError as error:
                raise ValueError(f"{error}; delete it to train again") from None
            return vectors
        vectors = self.train(corpus)
        corpus.folder.mkdir(parents=True, exist_ok=True)
        with replacing(path.with_suffix(".json")) as file:
            file.write(settings + "\n")
        write_vectors(path, vectors)
        return vectors

    @checked
    def train(self, corpus: Corpus) -> WordVectors:
        """Train and return vectors, without reading or saving a file.

        Raises:
            ImportError: If gensim is not installed.
            ValueError: If no word is frequent enough.
        """
        gensim = _gensim()
        sentences = _Sentences(corpus, self.epochs)
        model = gensim.Word2Vec(
            vector_size=self.size,
            window=self.window,
            min_count=self.min_count,
            negative=self.negative,
            sg=int(self.skip_gram),
            seed=self.seed,
            workers=self.workers,
        )
        model.build_vocab(sentences)
        if not len(model.wv):
            raise ValueError(
                f"min_count must be at most the highest number of occurrences of a word, got {self.min_count}"
            )
        model.train(sentences, total_examples=model.corpus_count, epochs=self.epochs)
        return WordVectors(tuple(model.wv.index_to_key), np.asarray(model.wv.vectors, dtype=np.float32))


class _Sentences:
    """Training and unlabeled texts as lists of words; gensim iterates over them once to count and once per epoch."""

    def __init__(self, corpus: Corpus, epochs: int) -> None:
        self.parts = (corpus.train, corpus.unlabeled())
        self.words = corpus.lexicon.words
        self.progress = corpus.progress
        self.titles = chain(["Word2Vec: counting"], (f"Word2Vec: epoch {i + 1}/{epochs}" for i in range(epochs)))

    def __iter__(self) -> Iterator[list[str]]:
        title, total = next(self.titles), sum(map(len, self.parts))
        with tqdm(total=total, desc=title, unit=" texts", disable=not self.progress) as bar:
            for part in self.parts:
                for i in range(len(part)):
                    words = [self.words[word] for word in part[i]]
                    for start in range(0, max(1, len(words)), LONGEST_SENTENCE):
                        yield words[start : start + LONGEST_SENTENCE]
                    bar.update()


def _gensim() -> Any:
    try:
        return importlib.import_module("gensim.models")
    except ImportError as error:
        raise ImportError("training Word2Vec needs gensim: pip install gensim, or use a file of vectors") from error
