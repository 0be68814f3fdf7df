"""Files of word vectors in the formats of word2vec and GloVe."""

from __future__ import annotations

import bz2
import codecs
import contextlib
import gzip
import io
import itertools
import lzma
import re
import unicodedata
import warnings
import zlib
from collections.abc import Collection, Generator, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from forwardforward._utils.arguments import StrPath, checked
from forwardforward._utils.files import replacing

__all__ = ["WordVectors", "read_vectors", "write_vectors"]

LARGEST_SIZE = 2**16
LONGEST_LINE = 2**20
HEADER = re.compile(rb"\s*(\d{1,99})\s+(\d{1,99})\s*")
CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f]")
WORD_AND_SPACE = re.compile(rb"[!-~\x80-\xff]+ ")
COMPRESSIONS: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}
NOT_UTF8 = "words that are not UTF-8 were left out (convert a file in another encoding, for example by iconv)"
REPEATED = "words occur more than once, and their first vectors are used"


@checked
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


@checked
def read_vectors(path: StrPath, keep: Collection[str] | None = None, progress: bool = False) -> WordVectors:
    r"""Read a file of word vectors.

    The format is detected: word2vec's text format (``WORDS SIZE`` in the first line, then one line per word with the
    word and its numbers), word2vec's binary format (the same first line, then each word, a space and float32 numbers),
    or GloVe's text format (as word2vec's, without the first line). Each may be compressed by gzip, bzip2 or xz. In text
    formats, words may contain spaces, and numbers are separated by spaces or tabs. A byte-order mark, blank lines and a
    last line without an end are accepted.

    Like the words of texts, those of the file are brought to Unicode's form NFC. Words that are not UTF-8 are left out,
    and the first vector of a word is used; warnings count both. Only vectors of words in ``keep`` are converted and
    stay in memory.

    Args:
        path: The file.
        keep: Words to read. Default: all words.
        progress: Whether to show a progress bar.

    Raises:
        FileNotFoundError: If the file does not exist.
        TypeError: If ``keep`` is a string.
        ValueError: If the file has another format, is truncated or corrupted, or contains vectors of different sizes.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "vectors.txt").write_text("good 1.0 2.0\nbad 3.0 4.0\n")
        ...     read_vectors(Path(folder, "vectors.txt")).words
        ('good', 'bad')
    """
    keep = None if keep is None else frozenset(keep)
    vectors: dict[str, NDArray[np.float32]] = {}
    skipped: dict[str, list[bytes]] = {NOT_UTF8: [], REPEATED: []}
    with contextlib.closing(vector_rows(Path(path), progress)) as rows:
        for encoded, numbers, line in rows:
            try:
                word = unicodedata.normalize("NFC", encoded.decode())
            except UnicodeDecodeError:
                skipped[NOT_UTF8].append(encoded)
                continue
            if word in vectors:
                skipped[REPEATED].append(encoded)
            elif keep is None or word in keep:
                try:
                    vectors[word] = _vector(numbers)
                except ValueError:
                    raise ValueError(f"{path}: {_got(line, b' '.join([encoded, *numbers]))}") from None
    for problem, words in skipped.items():
        if words:
            warnings.warn(f"{path}: {problem}: {len(words):,}, such as {words[0]!r:.60}", stacklevel=3)
    if not vectors:
        requested = "" if keep is None else " of the words of keep"
        raise ValueError(f"{path} must contain word vectors, got none{requested}")
    try:
        return WordVectors(tuple(vectors), np.stack(list(vectors.values())))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


@checked
def write_vectors(path: StrPath, vectors: WordVectors) -> None:
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


def vector_rows(path: Path, progress: bool = False) -> Generator[tuple[bytes, Any, int], None, None]:
    """Yield each word of a file of vectors, its unconverted numbers, and the number of its line or vector."""
    if not path.is_file():
        raise FileNotFoundError(f"vectors file {path} does not exist")
    total = path.stat().st_size
    with (
        open(path, "rb") as raw,
        tqdm(total=total, desc="reading vectors", unit="B", unit_scale=True, disable=not progress) as bar,
    ):
        opener = next((opener for magic, opener in COMPRESSIONS.items() if raw.peek().startswith(magic)), None)
        file = raw if opener is None else io.BufferedReader(opener(raw))
        try:
            for row in _detected_rows(path, file):
                bar.update(raw.tell() - bar.n)
                yield row
        except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
            if opener is None:
                raise
            raise ValueError(f"{path} is corrupted: {error}") from None


def _detected_rows(path: Path, file: BinaryIO) -> Iterator[tuple[bytes, Any, int]]:
    first = file.readline(LONGEST_LINE).removeprefix(codecs.BOM_UTF8)
    lines = iter(partial(file.readline, LONGEST_LINE), b"")
    header = HEADER.fullmatch(first)
    if header is None:
        size = min(_count_numbers(first), len(first.split()) - 1)  # a number may be a word, and a word have spaces
        if size < 2:
            raise ValueError(f"{path} must contain word vectors in word2vec's or GloVe's format: {_got(1, first)}")
        return _text_rows(path, enumerate(itertools.chain([first], lines), 1), size, None)
    count, size = int(header[1]), int(header[2])
    if not 1 <= size <= LARGEST_SIZE:
        raise ValueError(f"{path} must contain vectors of a size in [1, {LARGEST_SIZE}], got {size} in its first line")
    start = file.tell()
    beginning = file.read(LONGEST_LINE)
    file.seek(start)
    second = beginning.partition(b"\n")[0]
    # A numeric line is text in any encoding, such as Latin-1.
    if (_count_numbers(second) >= size and not CONTROL.search(second)) or _is_text(beginning):
        return _text_rows(path, enumerate(lines, 2), size, count)
    return _binary_rows(path, file, size, count)


def _text_rows(
    path: Path, lines: Iterable[tuple[int, bytes]], size: int, count: int | None
) -> Iterator[tuple[bytes, list[bytes], int]]:
    number = 0
    for line_number, line in lines:
        fields = line.rsplit(None, size)  # from the right, since some words in GloVe's files contain spaces
        if not fields:
            continue
        number += 1
        last = fields[0].split()[-1] if len(fields[0].split()) > 1 else b""
        # A phrase may end with digits, but not with a number in the style of the vector's.
        if len(fields) <= size or (_is_number(last) and (not last.isdigit() or b"." not in line)):
            if len(fields) <= size and not line.endswith(b"\n"):
                raise ValueError(f"{path} is truncated: {_got(line_number, line)}")
            raise ValueError(
                f"{path}: vectors must all have size {size}, got {_count_numbers(line)} in line {line_number}"
            )
        yield fields[0].strip(), fields[1:], line_number
    if count is not None and number != count:
        problem = "is truncated" if number < count else "is corrupted"
        raise ValueError(f"{path} {problem}: must contain {count} vectors, according to its first line, got {number}")


def _binary_rows(path: Path, file: BinaryIO, size: int, count: int) -> Iterator[tuple[bytes, bytes, int]]:
    expected = f"must contain {count} vectors of size {size}, according to its first line"
    for number in range(count):
        word = bytearray()
        while (letter := file.read(1)) != b" " and letter and len(word) < LONGEST_LINE:
            word += letter
        content = file.read(4 * size)
        if letter != b" " or len(content) < 4 * size:
            raise ValueError(f"{path} is truncated: {expected}, got {number}")
        word = word.lstrip(b"\r\n")  # some programs end vectors with a newline
        # After a word with a space, a vector begins with text, which makes unlikely numbers.
        sizes = np.abs(_vector(content)) if WORD_AND_SPACE.match(content) else np.ones(1)
        if CONTROL.search(word) or not np.all((sizes == 0) | ((sizes > 1e-15) & (sizes < 1e15))):
            raise ValueError(
                f"{path} must not contain words with spaces in the binary format, or is corrupted: vector {number} "
                f"begins with {bytes(word[:20]) + b' ' + content[:20]!r}"
            )
        yield bytes(word), content, number
    if file.read(2).strip():
        raise ValueError(f"{path} is corrupted: {expected}, got more data")


def _vector(numbers: bytes | list[bytes]) -> NDArray[np.float32]:
    if isinstance(numbers, bytes):
        return np.frombuffer(numbers, "<f4").astype(np.float32)
    with np.errstate(over="ignore"):  # infinity is refused for all vectors at once
        return np.array(numbers, dtype=np.float32)


def _is_text(content: bytes) -> bool:
    """Return whether bytes are UTF-8 without control characters, which float32 numbers are not."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(content)  # the last character may be incomplete
    except UnicodeDecodeError:
        return False
    return not CONTROL.search(content)


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _count_numbers(line: bytes) -> int:
    """Return how many fields at the end of a line are numbers."""
    return sum(1 for _ in itertools.takewhile(_is_number, reversed(line.split())))


def _got(number: int, line: bytes) -> str:
    return f"line {number} must be a word and its numbers, got {line[:60].rstrip().decode(errors='replace')!r}"
