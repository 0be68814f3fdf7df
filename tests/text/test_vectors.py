from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from forwardforward.data.text import Corpus, MeanVectors, Word2Vec, WordVectors, read_vectors, write_vectors

WORDS = ("good", "bad", "naïve", "film")
MATRIX = np.arange(12, dtype=np.float32).reshape(4, 3) / 8 - 0.5


def rows() -> list[bytes]:
    return [f"{word} {' '.join(map(str, row.tolist()))}\n".encode() for word, row in zip(WORDS, MATRIX, strict=True)]


def glove(path: Path) -> None:
    path.write_bytes(b"".join(rows()))


def text(path: Path) -> None:
    path.write_bytes(b"4 3\n" + b"".join(rows()))


def binary(path: Path) -> None:
    write_vectors(path, WordVectors(WORDS, MATRIX))


def binary_without_newlines(path: Path) -> None:  # like Google's vectors
    content = b"".join(w.encode() + b" " + row.tobytes() for w, row in zip(WORDS, MATRIX, strict=True))
    path.write_bytes(b"4 3\n" + content)


FORMATS = (glove, text, binary, binary_without_newlines)


@pytest.mark.parametrize("write", FORMATS)
def test_formats(tmp_path: Path, write: Callable[[Path], None]) -> None:
    write(tmp_path / "vectors")
    vectors = read_vectors(tmp_path / "vectors")
    assert (vectors.words, vectors.size) == (WORDS, 3)
    np.testing.assert_array_equal(vectors.matrix, MATRIX)
    some = read_vectors(str(tmp_path / "vectors"), keep={"film", "good", "tree"})
    assert some.words == ("good", "film")
    np.testing.assert_array_equal(some.matrix, MATRIX[[0, 3]])
    with pytest.raises(ValueError, match="must contain word vectors, got none of the requested words"):
        read_vectors(tmp_path / "vectors", keep={"tree"})


@pytest.mark.parametrize("write", FORMATS)
def test_a_truncated_file(tmp_path: Path, write: Callable[[Path], None]) -> None:
    path = tmp_path / "vectors"
    write(path)
    content = path.read_bytes()
    for length in (len(content) - 8, len(content) // 2 + 1):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"vectors is truncated: "):
            read_vectors(path)


def test_missing_lines(tmp_path: Path) -> None:
    (tmp_path / "vectors").write_bytes(b"4 3\n" + b"".join(rows()[:2]))
    with pytest.raises(
        ValueError, match="vectors is truncated: must contain 4 vectors, according to its first line, got 2"
    ):
        read_vectors(tmp_path / "vectors")


def test_additional_lines(tmp_path: Path) -> None:
    (tmp_path / "vectors").write_bytes(b"2 3\n" + b"".join(rows()))
    with pytest.raises(ValueError, match="is corrupted: must contain 2 vectors, according to its first line, got 4"):
        read_vectors(tmp_path / "vectors")


def test_vectors_of_another_size(tmp_path: Path) -> None:
    path = tmp_path / "vectors"
    path.write_bytes(b"4 5\n" + b"".join(rows()))
    with pytest.raises(ValueError, match="vectors must all have size 5, got 3 for vector 1"):
        read_vectors(path)
    path.write_bytes(b"99999999999 99999999999\ngood \0\0\0\0")
    with pytest.raises(ValueError, match="is truncated: must contain 99999999999 vectors of size 99999999999"):
        read_vectors(path)
    for head in (b"", b"5 3\n"):
        path.write_bytes(head + b"".join(rows()) + b"tree 0.1 0.2\n")
        with pytest.raises(ValueError, match="vectors must all have size 3, got 2 for vector 5"):
            read_vectors(path)
    binary(path)
    path.write_bytes(b"4 2" + path.read_bytes()[3:])
    with pytest.raises(ValueError, match=r"vectors"):
        read_vectors(path)


def test_words_with_spaces_in_them(tmp_path: Path) -> None:  # the largest GloVe file has some
    (tmp_path / "vectors").write_bytes(b"".join(rows()) + b". . 1 2 3\n")
    assert read_vectors(tmp_path / "vectors").words[-1] == ". ."


@pytest.mark.parametrize("content", [b"", b"hello world\n", b"\x00\xff" * 99, b"a b c d\n"])
def test_other_formats(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "vectors").write_bytes(content)
    with pytest.raises(ValueError, match="must contain word vectors"):
        read_vectors(tmp_path / "vectors")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="vectors file .* does not exist"):
        read_vectors(tmp_path / "vectors")


def test_invalid_numbers(tmp_path: Path) -> None:
    path = tmp_path / "vectors"
    path.write_bytes(b"".join(rows()) + b"tree 1 x 2\n")
    with pytest.raises(ValueError, match="vector 5 must be numbers"):
        read_vectors(path)
    path.write_bytes(b"".join(rows()) + b"tree 1 nan 2\n")
    with pytest.raises(ValueError, match="matrix must be finite, got NaN or infinity for 'tree'"):
        read_vectors(path)


def test_settings_out_of_range() -> None:
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        Word2Vec(size=0)


SETTINGS = Word2Vec(size=6, min_count=2, epochs=2)


def test_training_is_repeatable_and_saved(
    tmp_path: Path, corpus_texts: tuple[list[str], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gensim")
    corpus = Corpus(*corpus_texts, unlabeled=["we saw the film on Monday"] * 3, folder=tmp_path / "saved")
    first = SETTINGS.vectors(corpus)
    assert first.matrix.shape == (len(first.words), 6)
    assert {"film", "monday", "!"} <= set(first.words)
    np.testing.assert_array_equal(SETTINGS.train(corpus).matrix, first.matrix)
    monkeypatch.setitem(sys.modules, "gensim", None)  # saved vectors need no gensim
    monkeypatch.setitem(sys.modules, "gensim.models", None)
    again = SETTINGS.vectors(corpus)
    assert again.words == first.words
    np.testing.assert_array_equal(again.matrix, first.matrix)
    with pytest.raises(ImportError, match=r'needs gensim: pip install "forwardforward\[text\]", or use a file'):
        Word2Vec(size=7).vectors(corpus)
    (file,) = (tmp_path / "saved").glob("word2vec-*.bin")
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"word2vec-.* is truncated: .*; delete it to train again"):
        SETTINGS.vectors(corpus)


def test_saved_vectors_encode_like_newly_trained_ones(
    corpus_texts: tuple[list[str], list[str]], tmp_path: Path
) -> None:
    pytest.importorskip("gensim")
    means = MeanVectors(Word2Vec(size=4, min_count=1, epochs=1))
    # A word that only unlabeled texts contain has a vector too.
    first, second = (
        means(Corpus(*corpus_texts, unlabeled=["zebra", "a zebra"], folder=tmp_path))(["zebra", "good zebra"])
        for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)
    assert (first[0] != 0).any()


def test_words_with_spaces_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="words must not contain spaces, got 'new york'"):
        write_vectors(tmp_path / "vectors", WordVectors(("new york",), MATRIX[:1]))
    assert not list(tmp_path.iterdir())


def test_no_word_is_frequent_enough(corpus_texts: tuple[list[str], list[str]]) -> None:
    pytest.importorskip("gensim")
    with pytest.raises(
        ValueError, match="min_count must be at most the highest number of occurrences of a word, got 9999"
    ):
        Word2Vec(min_count=9999).vectors(Corpus(*corpus_texts))


def test_a_file_replaces_training(tmp_path: Path) -> None:
    glove(tmp_path / "vectors")
    corpus = Corpus(["good film", "bad"], ["film film tree"])
    encode = MeanVectors(tmp_path / "vectors", "none")(corpus)
    train, test = encode(corpus.train), encode(corpus.test)
    np.testing.assert_allclose(train, [(MATRIX[0] + MATRIX[3]) / 2, MATRIX[1]])
    np.testing.assert_allclose(test, MATRIX[3:])
