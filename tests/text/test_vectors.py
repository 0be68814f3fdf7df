from __future__ import annotations

import bz2
import gzip
import lzma
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from forwardforward.data.text import Corpus, MeanVectors, Word2Vec, WordVectors, read_vectors, write_vectors
from forwardforward.data.text.word2vec import _Sentences

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
    with pytest.raises(ValueError, match="must contain word vectors, got none of the words of keep"):
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
    with pytest.raises(ValueError, match="vectors must all have size 5, got 3 in line 2"):
        read_vectors(path)
    for line, size in ((b"tree 0.1 0.2\n", 2), (b"tree 0.1 0.2 0.3 0.4\n", 4), (b"tree 1 2 3 4\n", 4), (b"tree\n", 0)):
        for head, number in ((b"", 5), (b"5 3\n", 6)):
            path.write_bytes(head + b"".join(rows()) + line)
            with pytest.raises(ValueError, match=f"vectors must all have size 3, got {size} in line {number}"):
                read_vectors(path)
    binary(path)
    path.write_bytes(b"4 2" + path.read_bytes()[3:])
    with pytest.raises(ValueError, match=r"vectors"):
        read_vectors(path)


def test_words_with_spaces_in_them(tmp_path: Path) -> None:  # the largest GloVe file has some
    phrases = b". . 1 2 3\narea 51 0.1 0.2 0.3\n"
    (tmp_path / "vectors").write_bytes(b"".join(rows()) + phrases)
    assert read_vectors(tmp_path / "vectors").words[-2:] == (". .", "area 51")
    (tmp_path / "vectors").write_bytes(phrases[:10] + b"".join(rows()))
    assert read_vectors(tmp_path / "vectors").words[0] == ". ."


HUGE = b"9" * 30
NEITHER = (
    b"",
    b"hello world\n",
    b"\x00\xff" * 99,
    b"a b c d\n",
    b"PK\x03\x04",
    b"4 0\n",
    b"4 " + HUGE + b"\na 1 2\n",
    "good 1.0 2.0\n".encode("utf-16"),
    b"the 0,1 0,2 0,3\n",
)


@pytest.mark.parametrize("content", NEITHER)
def test_other_formats(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "vectors").write_bytes(content)
    with pytest.raises(ValueError, match=r"vectors must contain (word )?vectors .*got "):
        read_vectors(tmp_path / "vectors")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="vectors file .* does not exist"):
        read_vectors(tmp_path / "vectors")


def test_invalid_numbers(tmp_path: Path) -> None:
    path = tmp_path / "vectors"
    path.write_bytes(b"".join(rows()) + b"tree 1 x 2\n")
    with pytest.raises(ValueError, match="line 5 must be a word and its numbers, got 'tree 1 x 2'"):
        read_vectors(path)
    path.write_bytes(b"".join(rows()) + b"tree 1 nan 2\n")
    with pytest.raises(ValueError, match="matrix must be finite, got NaN or infinity for 'tree'"):
        read_vectors(path)


def test_settings_out_of_range() -> None:
    with pytest.raises(ValueError, match=r"size must be in \[1, 65536\], got 0"):
        Word2Vec(size=0)
    with pytest.raises(ValueError, match=r"workers must be in \[1, 1024\], got 1000000"):
        Word2Vec(workers=10**6)
    with pytest.raises(ValueError, match="seed must be in .0, 4294967295., got -1"):
        Word2Vec(seed=-1)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b" ", b"\t"),
        (b" ", b"  "),
        (b"\n", b"\r\n"),
        (b"\n", b" \n"),
        (b"\n", b"\n\n"),
    ],
)
@pytest.mark.parametrize("head", [b"", b"4 3\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf4 3\n"])
def test_layouts_of_text_files(tmp_path: Path, head: bytes, old: bytes, new: bytes) -> None:
    content = head + b"".join(rows()).replace(old, new)
    for end in (content, content.rstrip(), content + b"\n"):
        (tmp_path / "vectors").write_bytes(end)
        vectors = read_vectors(tmp_path / "vectors")
        assert vectors.words == WORDS
        np.testing.assert_array_equal(vectors.matrix, MATRIX)


@pytest.mark.parametrize("head", [b"", b"4 3\n"])
def test_decimal_commas_are_refused_by_line(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "vectors").write_bytes(head + b"the 0,1 0,2 0,3\n" * 4)
    line = 2 if head else 1
    with pytest.raises(ValueError, match=f"line {line} must be a word and its numbers, got 'the 0,1 0,2 0,3'"):
        read_vectors(tmp_path / "vectors")


def test_headers_beyond_64_bits(tmp_path: Path) -> None:
    row = b"good " + MATRIX[0].tobytes()
    for content in (rows()[0], row):
        (tmp_path / "vectors").write_bytes(HUGE + b" 3\n" + content)
        with pytest.raises(ValueError, match=f"is truncated: must contain {HUGE.decode()} vectors.*, got 1"):
            read_vectors(tmp_path / "vectors")
        (tmp_path / "vectors").write_bytes(b"1 " + HUGE + b"\n" + content)
        with pytest.raises(ValueError, match=rf"of a size in \[1, 65536\], got {HUGE.decode()} in its first line"):
            read_vectors(tmp_path / "vectors")


@pytest.mark.parametrize("newline", [b"", b"\n"])
@pytest.mark.parametrize("phrase", ["my name", "new york city", "the cat", "a b"])
@pytest.mark.parametrize("place", range(4))
def test_phrases_in_the_binary_format_are_refused(tmp_path: Path, phrase: str, place: int, newline: bytes) -> None:
    matrix = np.random.default_rng(0).normal(size=(4, 50)).astype("<f4")
    words = [*WORDS[:place], phrase, *WORDS[place + 1 :]]
    content = b"".join(w.encode() + b" " + row.tobytes() + newline for w, row in zip(words, matrix, strict=True))
    (tmp_path / "vectors").write_bytes(b"4 50\n" + content)
    with pytest.raises(ValueError, match=r"words with spaces in the binary format, .* begins with b"):
        read_vectors(tmp_path / "vectors")


@pytest.mark.parametrize("write", FORMATS)
def test_words_that_are_not_utf8_are_counted(tmp_path: Path, write: Callable[[Path], None]) -> None:
    write(tmp_path / "vectors")
    content = (tmp_path / "vectors").read_bytes()
    for old, count in (("naïve", 1), ("good", 1)):
        (tmp_path / "vectors").write_bytes(content.replace(old.encode(), b"caf\xe9"))
        with pytest.warns(UserWarning, match=rf"words that are not UTF-8 .*: {count}, such as b'caf\\xe9'"):
            assert read_vectors(tmp_path / "vectors").words == tuple(word for word in WORDS if word != old)


def test_equal_words_are_counted(tmp_path: Path) -> None:
    (tmp_path / "vectors").write_bytes(b"".join(rows()) + "good 1 2 3\nnai\u0308ve 1 2 3\n".encode())
    with pytest.warns(UserWarning, match=r"more than once, and their first vectors are used: 2, such as b'good'"):
        vectors = read_vectors(tmp_path / "vectors")
    assert vectors.words == WORDS
    np.testing.assert_array_equal(vectors.matrix, MATRIX)


@pytest.mark.parametrize("module", [gzip, bz2, lzma])
@pytest.mark.parametrize("write", FORMATS)
def test_compressed_files(tmp_path: Path, write: Callable[[Path], None], module: ModuleType) -> None:
    write(tmp_path / "vectors")
    content = module.compress((tmp_path / "vectors").read_bytes())
    (tmp_path / "vectors").write_bytes(content)
    vectors = read_vectors(tmp_path / "vectors")
    assert vectors.words == WORDS
    np.testing.assert_array_equal(vectors.matrix, MATRIX)
    for damaged in (content[:-20], content[:-8] + b"damaged!"):
        (tmp_path / "vectors").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"vectors is corrupted: "):
            read_vectors(tmp_path / "vectors")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # gensim leaves a file open
@pytest.mark.parametrize("name", ["text", "binary.bin", "glove", "text.gz", "binary.bin.gz"])
def test_vectors_are_equal_to_those_that_gensim_reads(tmp_path: Path, name: str) -> None:
    keyed_vectors = pytest.importorskip("gensim.models").KeyedVectors
    path, options = str(tmp_path / name), {"binary": ".bin" in name}
    vectors = keyed_vectors(7)
    matrix = np.random.default_rng(0).normal(size=(300, 7)).astype(np.float32)
    vectors.add_vectors([f"wörd{i}" for i in range(300)], matrix)
    vectors.save_word2vec_format(path, write_header=name != "glove", **options)
    expected = keyed_vectors.load_word2vec_format(path, no_header=name == "glove", **options)
    ours = read_vectors(path)
    assert list(ours.words) == expected.index_to_key
    np.testing.assert_array_equal(ours.matrix, expected.vectors)


def test_keep_is_a_collection_of_words(tmp_path: Path) -> None:
    glove(tmp_path / "vectors")
    with pytest.raises(TypeError, match="keep must be a collection of strings or None, got 'good'"):
        read_vectors(tmp_path / "vectors", keep="good")
    with pytest.raises(ValueError, match="got none of the words of keep"):
        read_vectors(tmp_path / "vectors", keep=())
    composed = "nai\u0308ve 1 2 3\n"
    (tmp_path / "vectors").write_text(composed, encoding="utf-8")
    assert read_vectors(tmp_path / "vectors", keep=set(WORDS)).words == ("naïve",)


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
    SETTINGS.check_available(corpus.folder)
    again = SETTINGS.vectors(corpus)
    assert again.words == first.words
    np.testing.assert_array_equal(again.matrix, first.matrix)
    with pytest.raises(ImportError, match=r"needs gensim: pip install gensim, or use a file"):
        Word2Vec(size=7).vectors(corpus)
    for folder in (corpus.folder, tmp_path, None):
        with pytest.raises(ImportError, match="training Word2Vec needs gensim"):
            Word2Vec(size=7).check_available(folder)
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


def test_other_unlabeled_texts_have_other_vectors(tmp_path: Path) -> None:
    corpora = [Corpus(["a b c"], [], unlabeled=[text]) for text in ("x y z", "film plot actor", "x y z")]
    assert corpora[0].fingerprint() == corpora[2].fingerprint() != corpora[1].fingerprint()


def test_gensim_reads_long_texts_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forwardforward.data.text.word2vec.LONGEST_SENTENCE", 3)
    corpus = Corpus(["a b c d e f g", "h", "", "i j k"], [])
    sentences = list(_Sentences(corpus, epochs=1))
    assert sentences == [["a", "b", "c"], ["d", "e", "f"], ["g"], ["h"], [], ["i", "j", "k"]]
