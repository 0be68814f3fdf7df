"""Word vectors: files of word2vec and GloVe, and Word2Vec trained on the texts at hand."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from forwardforward._utils.checks import check_whole
from forwardforward._utils.files import replacing
from forwardforward.data.text.corpus import Corpus
from forwardforward.data.text.tokens import Documents

__all__ = ["Word2Vec", "WordVectors", "read_vectors", "write_vectors"]

HEADER = re.compile(rb"\s*(\d+)\s+(\d+)\s*\n")
LONGEST_LINE = 2**20


@dataclass(frozen=True, eq=False)
class WordVectors:
    """Words and a vector for each.

    Attributes:
        words: The words.
        matrix: Their vectors, float32 ``(words, size)``.

    Raises:
        ValueError: If there is not one finite vector for each word.
    """

    words: tuple[str, ...]
    matrix: NDArray[np.float32]

    def __post_init__(self) -> None:
        """Check that the two fit."""
        if self.matrix.ndim != 2 or len(self.words) != len(self.matrix):
            raise ValueError(f"matrix must have a row for each of {len(self.words)} words, got {self.matrix.shape}")
        if not np.isfinite(self.matrix).all():
            word = self.words[int(np.isfinite(self.matrix).all(1).argmin())]
            raise ValueError(f"vectors must be finite, got NaN or infinity for {word!r}")

    @property
    def size(self) -> int:
        """Numbers a vector."""
        return int(self.matrix.shape[1])


def read_vectors(
    path: str | os.PathLike[str], keep: Collection[str] | None = None, progress: bool = False
) -> WordVectors:
    """Read a file of word vectors.

    Three formats are told apart by what is in the file: word2vec's text (``WORDS SIZE`` in the first line, then a
    word and its numbers a line), word2vec's binary (the same first line, then each word, a space and float32
    numbers), and GloVe's text (as word2vec's, without the first line).

    Args:
        path: The file.
        keep: Words that are wanted; all of them unless given.
        progress: Whether to show a progress bar.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is none of the three, is cut short, or holds vectors of different sizes.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no vectors file {path}")
    with (
        open(path, "rb") as file,
        tqdm(total=path.stat().st_size, desc="reading vectors", unit="B", unit_scale=True, disable=not progress) as bar,
    ):
        first = file.readline(LONGEST_LINE)
        header = HEADER.fullmatch(first)
        if header is None:
            size = len(first.split()) - 1
            if size < 2 or not _is_row(first, size):
                raise ValueError(f"{path} must hold word vectors (word2vec or GloVe), got something else")
            file.seek(0)
            rows = _text_rows(file, path, size, keep, bar)
            words, vectors = _collect(rows)
        else:
            count, size = int(header[1]), int(header[2])
            if not size:
                raise ValueError(f"{path} must hold vectors of one number or more, its first line says {size}")
            start = file.tell()
            line = file.readline(LONGEST_LINE)
            file.seek(start)
            read = _text_rows if not count or _is_row(line, size) or _is_numbered(line) else _binary_rows
            if read is _binary_rows and 4 * size * count > path.stat().st_size:
                raise ValueError(
                    f"{path} must hold {count} vectors of {size} numbers, as its first line says: it is cut short"
                )
            words, vectors = _collect(read(file, path, size, keep, bar, count))
    if not words:
        raise ValueError(f"{path} holds none of the words that are wanted" if keep else f"{path} holds no word")
    try:
        return WordVectors(words, np.stack(vectors))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def write_vectors(path: str | os.PathLike[str], vectors: WordVectors) -> None:
    """Write a file in word2vec's binary format, whole or not at all.

    Raises:
        OSError: If it cannot be written.
        ValueError: If there is a space in a word.
    """
    path = Path(path)
    if spaced := next((word for word in vectors.words if word.split() != [word]), None):
        raise ValueError(f"words must be without spaces to be written, got {spaced!r}")
    with replacing(path, "wb") as file:
        file.write(f"{len(vectors.words)} {vectors.size}\n".encode())
        for word, row in zip(vectors.words, vectors.matrix, strict=True):
            file.write(word.encode() + b" " + row.astype("<f4").tobytes() + b"\n")


@dataclass(frozen=True)
class Word2Vec:
    r"""Vectors trained on the training and the unlabelled texts, and kept to be used again.

    A word's vector is learned by telling the word from ``negative`` random ones, given the mean of its neighbours'
    (continuous bag of words), or the neighbours given the word (skip-gram):

    .. math:: L = -\log \sigma(u_w \cdot \bar v) - \sum_{n} \log \sigma(-u_n \cdot \bar v), \qquad
              \bar v = \operatorname*{mean}_{c \in \mathrm{window}} v_c

    The vectors are kept in the corpus's folder as ``word2vec-KEY.bin``, in word2vec's binary format with the
    settings in ``word2vec-KEY.json`` beside it. The key stands for the settings and the texts.

    Args:
        size: Numbers a vector.
        window: Neighbours on each side, at most.
        epochs: Passes over the texts.
        min_count: Words that are rarer have no vector.
        negative: Random words.
        skip_gram: Skip-gram instead of the continuous bag of words.
        seed: Of first weights and draws.
        workers: Threads. The same settings give the same vectors with one alone.

    Raises:
        ValueError: If a number is out of range.

    Source: Mikolov et al. (2013), arXiv 1301.3781 and 1310.4546; trained by gensim.
    """

    size: int = 200
    window: int = 5
    epochs: int = 5
    min_count: int = 5
    negative: int = 5
    skip_gram: bool = False
    seed: int = 0
    workers: int = 1

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name, lowest in {"size": 1, "window": 1, "epochs": 1, "min_count": 1, "negative": 1, "workers": 1}.items():
            check_whole(name, getattr(self, name), lowest)

    def vectors(self, corpus: Corpus) -> WordVectors:
        """Return the vectors of a corpus, read where they were kept and trained else.

        Raises:
            ImportError: If they have to be trained and gensim is not installed.
            ValueError: If the kept file is damaged, or no word is frequent enough.
        """
        if corpus.folder is None:
            return self.trained(corpus)
        settings = json.dumps({**asdict(self), "texts": corpus.fingerprint()}, indent=2)
        path = corpus.folder / f"word2vec-{hashlib.sha256(settings.encode()).hexdigest()[:12]}.bin"
        if path.is_file():
            try:
                vectors = read_vectors(path, progress=corpus.progress)
                if vectors.size != self.size:
                    raise ValueError(f"{path} must hold vectors of {self.size} numbers, got {vectors.size}")
            except ValueError as error:
                raise ValueError(f"{error}; delete it to train anew") from None
            return vectors
        vectors = self.trained(corpus)
        corpus.folder.mkdir(parents=True, exist_ok=True)
        write_vectors(path, vectors)
        path.with_suffix(".json").write_text(settings + "\n", encoding="utf-8")
        return vectors

    def trained(self, corpus: Corpus) -> WordVectors:
        """Return vectors trained now.

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
            raise ValueError(f"min_count must be a count that some word of the texts has, got {self.min_count}")
        model.train(sentences, total_examples=model.corpus_count, epochs=self.epochs)
        return WordVectors(tuple(model.wv.index_to_key), np.asarray(model.wv.vectors, dtype=np.float32))


class _Sentences:
    """Training and unlabelled texts as lists of words, gone through once to count and once an epoch."""

    def __init__(self, corpus: Corpus, epochs: int) -> None:
        self.parts = (corpus.train, corpus.unlabelled())
        self.words = corpus.lexicon.words
        self.progress = corpus.progress
        self.titles = iter(["Word2Vec: counting", *(f"Word2Vec: epoch {i + 1}/{epochs}" for i in range(epochs))])

    def __iter__(self) -> Iterator[list[str]]:
        title, total = next(self.titles), sum(map(len, self.parts))
        with tqdm(total=total, desc=title, unit=" texts", disable=not self.progress) as bar:
            for part in self.parts:
                for sentence in self._sentences(part):
                    bar.update()
                    yield sentence

    def _sentences(self, documents: Documents) -> Iterator[list[str]]:
        for i in range(len(documents)):
            yield [self.words[word] for word in documents[i]]


def _gensim() -> Any:
    try:
        return importlib.import_module("gensim.models")
    except ImportError as error:
        raise ImportError(
            'training Word2Vec needs gensim: pip install "forwardforward[text]", or give a file of vectors'
        ) from error


def _is_numbered(line: bytes) -> bool:
    """Whether a line is a word and numbers, however many."""
    return len(line.split()) > 1 and _is_row(line, len(line.split()) - 1)


def _is_row(line: bytes, size: int) -> bool:
    """Whether a line is a word and ``size`` numbers."""
    parts = line.split()
    try:
        return len(parts) > size and all(np.isfinite(float(part)) for part in parts[-size:])
    except ValueError:
        return False


Row = tuple[str, NDArray[np.float32]]


def _text_rows(
    file: BinaryIO, path: Path, size: int, keep: Collection[str] | None, bar: Any, count: int | None = None
) -> Iterator[Row]:
    found = 0
    for line in file:
        bar.update(len(line))
        found += 1
        if not line.endswith(b"\n"):
            raise ValueError(f"{path}: the line of vector {found} does not end: the file is cut short")
        # Some words of GloVe's hold spaces, so the numbers are counted from the right.
        parts = line.rstrip().rsplit(b" ", size)
        if len(parts) != size + 1:
            raise ValueError(f"{path}: vectors must all have {size} numbers, got {line.count(b' ')} for vector {found}")
        word = parts[0].decode(errors="replace")
        if keep is None or word in keep:
            try:
                yield word, np.array(parts[1:], dtype=np.float32)
            except ValueError:
                raise ValueError(f"{path}: vector {found} must be numbers, got something else") from None
    if count is not None and found != count:
        raise ValueError(f"{path} must hold {count} vectors, as its first line says, got {found}: it is cut short")


def _binary_rows(
    file: BinaryIO, path: Path, size: int, keep: Collection[str] | None, bar: Any, count: int = 0
) -> Iterator[Row]:
    for found in range(count):
        word = _binary_word(file)
        content = file.read(4 * size)
        if word is None or len(content) < 4 * size:
            raise ValueError(
                f"{path} must hold {count} vectors of {size} numbers, as its first line says, "
                f"got {found} whole ones: it is cut short"
            )
        bar.update(len(word) + 1 + len(content))
        text = word.decode(errors="replace")
        if keep is None or text in keep:
            yield text, np.frombuffer(content, "<f4").astype(np.float32)
    if file.read(2).strip():
        raise ValueError(f"{path} holds more than the {count} vectors of {size} numbers that its first line says")


def _binary_word(file: BinaryIO) -> bytes | None:
    """Return what comes before the next space, None where the file ends; some programs end vectors with a newline."""
    word = bytearray()
    while (letter := file.read(1)) != b" ":
        if not letter or len(word) > LONGEST_LINE:
            return None
        if letter != b"\n":
            word += letter
    return bytes(word)


def _collect(rows: Iterator[Row]) -> tuple[tuple[str, ...], list[NDArray[np.float32]]]:
    words: dict[str, NDArray[np.float32]] = {}
    for word, vector in rows:
        words.setdefault(word, vector)
    return tuple(words), list(words.values())
