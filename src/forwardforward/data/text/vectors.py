"""Word vectors: files of word2vec and GloVe, and Word2Vec trained on the texts of a corpus."""

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
        ValueError: If there is not one finite vector per word.

    Example:
        >>> vectors = WordVectors(("good", "bad"), np.array([[1, 2], [3, 4]], dtype=np.float32))
        >>> vectors.size
        2
    """

    words: tuple[str, ...]
    matrix: NDArray[np.float32]

    def __post_init__(self) -> None:
        """Check the matrix."""
        if self.matrix.ndim != 2 or len(self.words) != len(self.matrix):
            raise ValueError(
                f"matrix must have one row for each of the {len(self.words)} words, got shape {self.matrix.shape}"
            )
        if not np.isfinite(self.matrix).all():
            word = self.words[int(np.isfinite(self.matrix).all(1).argmin())]
            raise ValueError(f"matrix must be finite, got NaN or infinity for {word!r}")

    @property
    def size(self) -> int:
        """Length of the vectors."""
        return int(self.matrix.shape[1])


def read_vectors(
    path: str | os.PathLike[str], keep: Collection[str] | None = None, progress: bool = False
) -> WordVectors:
    r"""Read a file of word vectors.

    The format is detected: word2vec's text format (``WORDS SIZE`` in the first line, then one line per word with the
    word and its numbers), word2vec's binary format (the same first line, then each word, a space and float32 numbers),
    or GloVe's text format (as word2vec's, without the first line).

    Args:
        path: The file.
        keep: Words to read. Default: all words.
        progress: Whether to show a progress bar.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file has another format, is truncated, or contains vectors of different sizes.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "vectors.txt").write_text("good 1.0 2.0\nbad 3.0 4.0\n")
        ...     read_vectors(Path(folder, "vectors.txt")).words
        ('good', 'bad')
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"vectors file {path} does not exist")
    with (
        open(path, "rb") as file,
        tqdm(total=path.stat().st_size, desc="reading vectors", unit="B", unit_scale=True, disable=not progress) as bar,
    ):
        first = file.readline(LONGEST_LINE)
        header = HEADER.fullmatch(first)
        if header is None:
            size = len(first.split()) - 1
            if size < 2 or not _is_row(first, size):
                raise ValueError(f"{path} must contain word vectors (word2vec or GloVe format), got another format")
            file.seek(0)
            rows = _text_rows(file, path, size, keep, bar)
            words, vectors = _collect(rows)
        else:
            count, size = int(header[1]), int(header[2])
            if not size:
                raise ValueError(f"{path} must contain vectors of size 1 or more, got {size} in its first line")
            start = file.tell()
            line = file.readline(LONGEST_LINE)
            file.seek(start)
            read = _text_rows if not count or _is_row(line, size) or _is_numbered(line) else _binary_rows
            if read is _binary_rows and 4 * size * count > path.stat().st_size:
                raise ValueError(
                    f"{path} is truncated: must contain {count} vectors of size {size}, according to its first line"
                )
            words, vectors = _collect(read(file, path, size, keep, bar, count))
    if not words:
        raise ValueError(f"{path} must contain word vectors, got none{' of the requested words' if keep else ''}")
    try:
        return WordVectors(words, np.stack(vectors))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def write_vectors(path: str | os.PathLike[str], vectors: WordVectors) -> None:
    """Write a file in word2vec's binary format, atomically.

    Args:
        path: The file.
        vectors: The words and their vectors.

    Raises:
        OSError: If the file cannot be written.
        ValueError: If a word contains a space.
    """
    path = Path(path)
    if spaced := next((word for word in vectors.words if word.split() != [word]), None):
        raise ValueError(f"words must not contain spaces, got {spaced!r}")
    with replacing(path, "wb") as file:
        file.write(f"{len(vectors.words)} {vectors.size}\n".encode())
        for word, row in zip(vectors.words, vectors.matrix, strict=True):
            file.write(word.encode() + b" " + row.astype("<f4").tobytes() + b"\n")


@dataclass(frozen=True)
class Word2Vec:
    r"""Word vectors trained on the training and the unlabeled texts of a corpus.

    Vectors are trained to distinguish a word from ``negative`` random words, given the mean of its neighbors' vectors
    (continuous bag of words), or to distinguish the neighbors given the word (skip-gram):

    .. math:: L = -\log \sigma(u_w \cdot \bar v) - \sum_{n} \log \sigma(-u_n \cdot \bar v), \qquad
              \bar v = \operatorname*{mean}_{c \in \mathrm{window}} v_c

    The vectors are saved in the corpus's folder as ``word2vec-KEY.bin``, in word2vec's binary format, and the settings
    as ``word2vec-KEY.json``. The key is a digest of the settings and the texts; later calls with the same settings and
    texts read the file and do not need gensim.

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
        for name, minimum in {"size": 1, "window": 1, "epochs": 1, "min_count": 1, "negative": 1, "workers": 1}.items():
            check_whole(name, getattr(self, name), minimum)

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
        write_vectors(path, vectors)
        path.with_suffix(".json").write_text(settings + "\n", encoding="utf-8")
        return vectors

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
            'training Word2Vec needs gensim: pip install "forwardforward[text]", or use a file of vectors'
        ) from error


def _is_numbered(line: bytes) -> bool:
    """Return whether a line is a word and numbers."""
    return len(line.split()) > 1 and _is_row(line, len(line.split()) - 1)


def _is_row(line: bytes, size: int) -> bool:
    """Return whether a line is a word and ``size`` numbers."""
    parts = line.split()
    try:
        return len(parts) > size and all(np.isfinite(float(part)) for part in parts[-size:])
    except ValueError:
        return False


Row = tuple[str, NDArray[np.float32]]


def _text_rows(
    file: BinaryIO, path: Path, size: int, keep: Collection[str] | None, bar: Any, count: int | None = None
) -> Iterator[Row]:
    number = 0
    for number, line in enumerate(file, start=1):
        bar.update(len(line))
        if not line.endswith(b"\n"):
            raise ValueError(f"{path} is truncated: the line of vector {number} has no end")
        # Some words in GloVe files contain spaces, so numbers are split off from the right.
        parts = line.rstrip().rsplit(b" ", size)
        if len(parts) != size + 1:
            raise ValueError(f"{path}: vectors must all have size {size}, got {line.count(b' ')} for vector {number}")
        word = parts[0].decode(errors="replace")
        if keep is None or word in keep:
            try:
                yield word, np.array(parts[1:], dtype=np.float32)
            except ValueError:
                raise ValueError(f"{path}: vector {number} must be numbers, got something else") from None
    if count is not None and number != count:
        problem = "is truncated" if number < count else "is corrupted"
        raise ValueError(f"{path} {problem}: must contain {count} vectors, according to its first line, got {number}")


def _binary_rows(
    file: BinaryIO, path: Path, size: int, keep: Collection[str] | None, bar: Any, count: int = 0
) -> Iterator[Row]:
    for number in range(count):
        word = _binary_word(file)
        content = file.read(4 * size)
        if word is None or len(content) < 4 * size:
            raise ValueError(
                f"{path} is truncated: must contain {count} vectors of size {size}, according to its first line, "
                f"got {number}"
            )
        bar.update(len(word) + 1 + len(content))
        text = word.decode(errors="replace")
        if keep is None or text in keep:
            yield text, np.frombuffer(content, "<f4").astype(np.float32)
    if file.read(2).strip():
        raise ValueError(
            f"{path} must contain {count} vectors of size {size}, according to its first line, got more data"
        )


def _binary_word(file: BinaryIO) -> bytes | None:
    """Return the bytes before the next space, None at the end of the file; some programs end vectors with a newline."""
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
