"""What networks read of texts, against plain loops."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from forwardforward.data.text import (
    Corpus,
    MeanVectors,
    NGrams,
    Representation,
    WordSequence,
    WordVectors,
    tokenize,
    write_vectors,
)

TRAIN = ["a good film, a good plot", "a bad film", "good! good?", "a film"]
TEST = ["a good tree", "bad bad film a", "unheard"]
VECTORS = WordVectors(("good", "bad", "film"), np.array([[1, 2], [-3, 0.5], [0.25, -1]], dtype=np.float32))


def represented(representation: Representation, corpus: Corpus) -> tuple[torch.Tensor, torch.Tensor]:
    encode = representation(corpus)
    return encode(corpus.train, "training"), encode(corpus.test, "test")


@pytest.fixture
def vectors_file(tmp_path: Path) -> Path:
    write_vectors(tmp_path / "vectors", VECTORS)
    return tmp_path / "vectors"


def mean_by_hand(text: str, weighting: str) -> list[float]:
    total, weights = np.zeros(2), 0.0
    for word in tokenize(text):
        if word in VECTORS.words:
            holding = sum(word in tokenize(one) for one in TRAIN)
            weight = 1 + math.log((1 + len(TRAIN)) / (1 + holding)) if weighting == "tfidf" else 1.0
            total, weights = total + weight * VECTORS.matrix[VECTORS.words.index(word)], weights + weight
    return (total / weights if weights else total).tolist()


@pytest.mark.parametrize("weighting", ["tfidf", "none"])
def test_means(vectors_file: Path, weighting: str) -> None:
    with pytest.warns(UserWarning, match="1 of 3 test texts have no word with a vector: their input says nothing"):
        train, test = represented(MeanVectors(str(vectors_file), weighting), Corpus(TRAIN, TEST))
    assert train.dtype == torch.float32
    for means, texts in ((train, TRAIN), (test, TEST)):
        torch.testing.assert_close(means, torch.tensor([mean_by_hand(text, weighting) for text in texts]))


def test_another_weighting() -> None:
    with pytest.raises(ValueError, match="weighting must be one of none, tfidf, got 'idf'"):
        MeanVectors(weighting="idf")


def ngrams_of(text: str, longest: int) -> list[tuple[str, ...]]:
    words = tokenize(text)
    return [tuple(words[i : i + n]) for n in range(1, longest + 1) for i in range(len(words) - n + 1)]


texts = st.lists(st.text("ab cd", max_size=12), min_size=1, max_size=5)


@pytest.mark.filterwarnings("ignore:.* have no word of the vocabulary")
@given(train=texts, test=texts, longest=st.integers(1, 3), vocabulary=st.integers(2, 9), min_texts=st.integers(1, 2))
def test_ngrams(train: list[str], test: list[str], longest: int, vocabulary: int, min_texts: int) -> None:
    counts = Counter(ngram for text in train for ngram in set(ngrams_of(text, longest)))
    made = represented(NGrams(vocabulary, longest, 64, min_texts), Corpus(train, test))
    expected = sorted((n for n in counts.values() if n >= min_texts), reverse=True)[: vocabulary - 1]
    assert int(max(made[0].max(), made[1].max())) < vocabulary
    # A smaller number is one that more texts hold.
    found = Counter(made[0][made[0] > 0].tolist())
    assert [found[number] for number in sorted(found)] == expected
    names: dict[int, set[tuple[str, ...]]] = {}
    for rows, own in zip(made, (train, test), strict=True):
        assert rows.dtype == torch.int32
        assert rows.shape == (len(own), 64)
        for row, text in zip(rows.tolist(), own, strict=True):
            numbers = [number for number in row if number]
            assert len(set(numbers)) == len(numbers)
            assert row == sorted(row, reverse=True)  # the rarest first, padding last
            for number in numbers:  # some run is in every text that has the number
                names[number] = names.get(number, set(ngrams_of(text, longest))) & set(ngrams_of(text, longest))
    assert all(names.values())
    if min_texts == 1 and vocabulary > len(counts):
        sizes = [len(set(ngrams_of(text, longest)) & set(counts)) for text in test]
        assert (made[1] > 0).sum(1).tolist() == sizes


def test_runs_longer_than_the_texts() -> None:
    encode = NGrams(50, 9, 20, 1)(Corpus(["a b c", "a b"], []))
    assert (encode(["a b c"]) > 0).sum() == 6
    with pytest.raises(TypeError, match="texts must be lists of strings, got 'a film'"):
        Corpus("a film", [])


def test_sequences_of_unknown_words_are_counted() -> None:
    encode = WordSequence(5, 4)(Corpus(TRAIN, []))
    with pytest.warns(UserWarning, match="2 of 3 given texts have no word of the vocabulary: their input says nothing"):
        assert encode(["unheard of", "", "film"]).tolist() == [[0, 0, 1, 1], [0] * 4, [0, 0, 0, 4]]


def test_too_many_ngrams_leave_out_the_most_frequent() -> None:
    corpus = Corpus(TRAIN, TEST[:2])
    every, _ = represented(NGrams(100, 2, 20, 1), corpus)
    some, _ = represented(NGrams(100, 2, 3, 1), corpus)
    torch.testing.assert_close(some, every[:, :3])


@pytest.mark.filterwarnings("ignore:1 of 3 test texts have no word of the vocabulary")
def test_sequences() -> None:
    train, test = represented(WordSequence(vocabulary=5, length=4), Corpus(TRAIN, TEST))
    # a (4), good (4) and film (3) have the numbers 2, 3 and 4: by their counts, and the first met first.
    assert train.tolist() == [[4, 2, 3, 1], [0, 2, 1, 4], [3, 1, 3, 1], [0, 0, 2, 4]]
    assert test.tolist() == [[0, 2, 3, 1], [1, 1, 4, 2], [0, 0, 0, 1]]
    assert train.dtype == torch.int32


@pytest.mark.parametrize("representation", [NGrams(10, 2, 4, 1), WordSequence(10, 4)])
def test_texts_without_words(representation: Representation) -> None:
    with pytest.warns(UserWarning, match="have no word") as warned:
        train, test = represented(representation, Corpus(["a b", "..."], ["..."]))
    assert train[1].tolist() == test[0].tolist() == [0] * 4
    for warning, count in zip(warned, ("1 of 2 training texts", "1 of 1 test texts"), strict=True):
        assert str(warning.message).startswith(f"{count} have no word")
    with pytest.warns(UserWarning, match="have no word"):
        assert [part.tolist() for part in represented(representation, Corpus(["..."], ["..."]))] == [[[0] * 4]] * 2


@pytest.mark.filterwarnings("ignore:.* have no word")
@pytest.mark.parametrize("representation", [NGrams(30, 2, 6, 1), WordSequence(30, 6), "mean"], ids=str)
def test_texts_of_ones_own_are_read_as_the_corpus_was(representation: Representation, vectors_file: Path) -> None:
    made = MeanVectors(str(vectors_file)) if representation == "mean" else representation
    corpus = Corpus(TRAIN, TEST)
    encode = made(corpus)
    for texts, documents in ((TRAIN, corpus.train), (TEST, corpus.test)):
        torch.testing.assert_close(encode(texts), encode(documents))
    words = len(corpus.lexicon)
    corpus.lexicon.encode(["words met later"])
    # What the corpus never held is unknown, alone and in a run, whenever it was met.
    torch.testing.assert_close(encode(["good plover", "good later"]), encode(["good unheardof"] * 2))
    assert len(corpus.lexicon) == words + 3
    torch.testing.assert_close(encode(text for text in TRAIN), encode(TRAIN))
    for wrong in ("a good film", [b"a good film"], None, 3):
        with pytest.raises(TypeError, match="texts must be a list of strings, got "):
            encode(wrong)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NGrams(vocabulary=1), "vocabulary must be at least 2, got 1"),
        (lambda: NGrams(longest=0), "longest must be at least 1, got 0"),
        (lambda: WordSequence(vocabulary=2), "vocabulary must be at least 3, got 2"),
        (lambda: WordSequence(length=0), "length must be at least 1, got 0"),
    ],
)
def test_numbers_out_of_range(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
