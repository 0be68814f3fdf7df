"""Text representations against plain loops."""

from __future__ import annotations

import math
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from forwardforward.data.text import (
    Corpus,
    Documents,
    MeanVectors,
    NGrams,
    Representation,
    TextEncoder,
    Word2Vec,
    WordSequence,
    WordVectors,
    text_encoder_from_state,
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
            count = sum(word in tokenize(train) for train in TRAIN)
            weight = 1 + math.log((1 + len(TRAIN)) / (1 + count)) if weighting == "tfidf" else 1.0
            total, weights = total + weight * VECTORS.matrix[VECTORS.words.index(word)], weights + weight
    return (total / weights if weights else total).tolist()


@pytest.mark.parametrize("weighting", ["tfidf", "none"])
def test_means(vectors_file: Path, weighting: str) -> None:
    with pytest.warns(
        UserWarning, match="1 of 3 test texts have no word with a vector; their inputs contain no information"
    ):
        train, test = represented(MeanVectors(str(vectors_file), weighting), Corpus(TRAIN, TEST))
    assert train.dtype == torch.float32
    for means, texts in ((train, TRAIN), (test, TEST)):
        torch.testing.assert_close(means, torch.tensor([mean_by_hand(text, weighting) for text in texts]))


def test_unknown_weighting() -> None:
    with pytest.raises(ValueError, match="weighting must be 'none' or 'tfidf', got 'idf'"):
        MeanVectors(weighting="idf")


def ngrams_of(text: str, longest: int) -> list[tuple[str, ...]]:
    words = tokenize(text)
    return [tuple(words[i : i + n]) for n in range(1, longest + 1) for i in range(len(words) - n + 1)]


texts = st.lists(st.text("ab cd", max_size=12), min_size=1, max_size=5)


@pytest.mark.filterwarnings("ignore:.* have no word of the vocabulary")
@given(train=texts, test=texts, longest=st.integers(1, 3), vocabulary=st.integers(2, 9), min_texts=st.integers(1, 2))
def test_ngrams(train: list[str], test: list[str], longest: int, vocabulary: int, min_texts: int) -> None:
    counts = Counter(ngram for text in train for ngram in set(ngrams_of(text, longest)))
    inputs = represented(NGrams(vocabulary, longest, 64, min_texts), Corpus(train, test))
    expected = sorted((n for n in counts.values() if n >= min_texts), reverse=True)[: vocabulary - 1]
    assert int(max(inputs[0].max(), inputs[1].max())) < vocabulary
    # A smaller index is an n-gram of more texts.
    frequencies = Counter(inputs[0][inputs[0] > 0].tolist())
    assert [frequencies[index] for index in sorted(frequencies)] == expected
    ngrams: dict[int, set[tuple[str, ...]]] = {}
    for rows, part in zip(inputs, (train, test), strict=True):
        assert rows.dtype == torch.int32
        assert rows.shape == (len(part), 64)
        for row, text in zip(rows.tolist(), part, strict=True):
            indices = [index for index in row if index]
            assert len(set(indices)) == len(indices)
            assert row == sorted(row, reverse=True)  # the least frequent first, padding last
            for index in indices:  # all texts with this index have an n-gram in common
                ngrams[index] = ngrams.get(index, set(ngrams_of(text, longest))) & set(ngrams_of(text, longest))
    assert all(ngrams.values())
    if min_texts == 1 and vocabulary > len(counts):
        sizes = [len(set(ngrams_of(text, longest)) & set(counts)) for text in test]
        assert (inputs[1] > 0).sum(1).tolist() == sizes


def test_ngrams_longer_than_the_texts() -> None:
    encode = NGrams(50, 9, 20, 1)(Corpus(["a b c", "a b"], []))
    assert (encode(["a b c"]) > 0).sum() == 6
    with pytest.raises(TypeError, match="train must be an iterable of strings, got 'a film'"):
        Corpus("a film", [])


def test_sequences_of_unknown_words_are_counted() -> None:
    encode = WordSequence(5, 4)(Corpus(TRAIN, []))
    with pytest.warns(
        UserWarning, match="2 of 3 texts have no word of the vocabulary; their inputs contain no information"
    ):
        assert encode(["unheard of", "", "film"]).tolist() == [[0, 0, 1, 1], [0] * 4, [0, 0, 0, 4]]


def test_too_many_ngrams_leave_out_the_most_frequent() -> None:
    corpus = Corpus(TRAIN, TEST[:2])
    complete, _ = represented(NGrams(100, 2, 20, 1), corpus)
    shortened, _ = represented(NGrams(100, 2, 3, 1), corpus)
    torch.testing.assert_close(shortened, complete[:, :3])


@pytest.mark.filterwarnings("ignore:1 of 3 test texts have no word of the vocabulary")
def test_sequences() -> None:
    train, test = represented(WordSequence(vocabulary=5, length=4), Corpus(TRAIN, TEST))
    # a (4), good (4) and film (3) have the indices 2, 3 and 4: sorted by count, then by first occurrence.
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
def test_new_texts_are_encoded_like_the_corpus(representation: Representation, vectors_file: Path) -> None:
    representation = MeanVectors(str(vectors_file)) if representation == "mean" else representation
    corpus = Corpus(TRAIN, TEST)
    encode = representation(corpus)
    for texts, documents in ((TRAIN, corpus.train), (TEST, corpus.test)):
        torch.testing.assert_close(encode(texts), encode(documents))
    words = len(corpus.lexicon)
    corpus.lexicon.encode(["words added later"])
    # Words outside the corpus are unknown, alone and in n-grams, also if its lexicon grew later.
    torch.testing.assert_close(encode(["good plover", "good later"]), encode(["good unheardof"] * 2))
    assert len(corpus.lexicon) == words + 3
    torch.testing.assert_close(encode(text for text in TRAIN), encode(TRAIN))
    for invalid in ("a good film", [b"a good film"], None, 3):
        with pytest.raises(TypeError, match=r"^texts(\[0\])? must be an? (iterable of strings|string)"):
            encode(invalid)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NGrams(vocabulary=1), "vocabulary must be at least 2, got 1"),
        (lambda: NGrams(longest=0), r"longest must be in \[1, 62\], got 0"),
        (lambda: NGrams(longest=10**12), r"longest must be in \[1, 62\], got 1000000000000"),
        (lambda: WordSequence(vocabulary=2), "vocabulary must be at least 3, got 2"),
        (lambda: WordSequence(length=0), "length must be at least 1, got 0"),
    ],
)
def test_numbers_out_of_range(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_sizes_that_do_not_fit_are_refused_with_the_size() -> None:
    corpus = Corpus(TRAIN, [])
    words = len(corpus.train_words)
    largest = max(n for n in range(63) if (words + 1) ** n < 2**63)
    NGrams(longest=largest)(corpus)
    with pytest.raises(ValueError, match=f"longest must be at most {largest} for {words} different words, got 62"):
        NGrams(longest=62)(corpus)
    for representation in (NGrams(length=10**15), WordSequence(length=10**15), NGrams(length=2**62)):
        with pytest.raises(ValueError, match=r"length must be smaller: 4 texts of [\d,]+ indices take [\d,]+ GB"):
            representation(corpus)(corpus.train)


# Saving encoders

NEW_TEXTS = ["a good film", "unheard of", "bad good! bad tree", "", "good good good film a bad film"]
REPRESENTATIONS = ["file", "word2vec", NGrams(30, 1, 6, 1), NGrams(30, 3, 6, 1), WordSequence(5, 6)]
silent = pytest.mark.filterwarnings("ignore:.* have no word")


def fitted(representation: Representation | str, vectors_file: Path, weighting: str = "tfidf") -> TextEncoder:
    if representation == "word2vec":
        pytest.importorskip("gensim")
        representation = MeanVectors(Word2Vec(size=3, min_count=1, epochs=1), weighting)
    elif representation == "file":
        representation = MeanVectors(vectors_file, weighting)
    assert isinstance(representation, Representation)
    return representation(Corpus(TRAIN, TEST, ["some unheard words"]))


def is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(type(key) is str and is_plain(part) for key, part in value.items())
    if isinstance(value, list):
        return all(map(is_plain, value))
    return type(value) in (int, float, str, bool, torch.Tensor)


@silent
@pytest.mark.parametrize("weighting", ["tfidf", "none"])
@pytest.mark.parametrize("representation", REPRESENTATIONS, ids=str)
def test_saved_encoders_give_equal_inputs(
    representation: Representation | str, weighting: str, vectors_file: Path, tmp_path: Path
) -> None:
    encoder = fitted(representation, vectors_file, weighting)
    assert is_plain(encoder.state())
    torch.save(encoder.state(), tmp_path / "encoder.pt")
    vectors_file.unlink()
    loaded = text_encoder_from_state(torch.load(tmp_path / "encoder.pt", weights_only=True))
    for texts in (TRAIN, TEST, NEW_TEXTS):
        assert torch.equal(loaded(texts), encoder(texts))
    # Documents of any corpus are encoded by their words.
    assert torch.equal(loaded(Corpus(NEW_TEXTS, []).train), encoder(NEW_TEXTS))
    assert type(loaded.representation) is type(encoder.representation)
    assert loaded.representation.num_embeddings == encoder.representation.num_embeddings
    assert loaded.state().keys() == encoder.state().keys()
    assert repr(loaded).startswith(f"TextEncoder({type(encoder.representation).__name__}(")


@silent
@given(train=texts, new=texts, longest=st.integers(1, 3), vocabulary=st.integers(3, 9))
def test_encoders_of_any_texts_survive_their_state(
    train: list[str], new: list[str], longest: int, vocabulary: int
) -> None:
    for representation in (NGrams(vocabulary, longest, 5, 1), WordSequence(vocabulary, 5)):
        encoder = representation(Corpus(train, []))
        loaded = text_encoder_from_state(encoder.state())
        assert loaded.representation == representation
        assert torch.equal(loaded(new), encoder(new))


CODE = """
import sys
sys.modules["gensim"] = sys.modules["gensim.models"] = None
import torch
from forwardforward.data.text import text_encoder_from_state
encoders = [text_encoder_from_state(state) for state in torch.load(sys.argv[1], weights_only=True)]
torch.save([encoder(sys.argv[3:]) for encoder in encoders], sys.argv[2])
"""


@pytest.mark.slow
def test_a_new_process_needs_neither_corpus_nor_gensim(vectors_file: Path, tmp_path: Path) -> None:
    encoders = [fitted(representation, vectors_file) for representation in ("word2vec", NGrams(30, 2, 6, 1))]
    torch.save([encoder.state() for encoder in encoders], tmp_path / "encoders.pt")
    vectors_file.unlink()
    arguments = [str(tmp_path / "encoders.pt"), str(tmp_path / "inputs.pt"), "a good film", "bad unheard film"]
    subprocess.run([sys.executable, "-c", CODE, *arguments], check=True)
    for encoder, inputs in zip(encoders, torch.load(tmp_path / "inputs.pt"), strict=True):
        assert torch.equal(inputs, encoder(arguments[2:])), encoder


@dataclass(frozen=True)
class Lengths(Representation):
    """The number of words of a text, divided by a scale."""

    scale: float = 2.0

    def fit(self, corpus: Corpus) -> tuple[list[str], dict[str, torch.Tensor]]:
        return [], {"scale": torch.tensor(self.scale)}

    def encode(self, documents: Documents, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return torch.tensor([[len(words)] for words in documents]) / tensors["scale"]


def test_representations_of_other_classes_are_loaded_by_their_class() -> None:
    encoder = Lengths(4.0)(Corpus(TRAIN, TEST))
    loaded = text_encoder_from_state(encoder.state(), Lengths)
    assert loaded(["a good film"]).tolist() == encoder(["a good film"]).tolist() == [[0.75]]
    assert loaded.representation == Lengths(4.0)
    with pytest.raises(
        ValueError, match="representation MeanVectors, NGrams, WordSequence, got 'Lengths'; for another"
    ):
        text_encoder_from_state(encoder.state())
    with pytest.raises(ValueError, match="must be that of a representation NGrams, got 'Lengths'"):
        text_encoder_from_state(encoder.state(), NGrams)


class Plain(Representation):
    """A representation whose argument would be lost: it is not a dataclass."""

    def __init__(self, n: int = 2) -> None:
        self.n = n

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.n})"

    def fit(self, corpus: Corpus) -> tuple[list[str], dict[str, torch.Tensor]]:
        return [], {}

    def encode(self, documents: Documents, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return torch.tensor([[len(words) * self.n] for words in documents])


class WithSettings(Plain):
    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "n": self.n}


def test_a_representation_that_would_be_rebuilt_with_other_arguments_is_not_saved() -> None:
    encoder = Plain(5)(Corpus(TRAIN, TEST))
    assert encoder(["a film"]).tolist() == [[10]]
    with pytest.raises(TypeError, match=r"^representation must be a dataclass, or return .*\(n\) .*, got Plain\(5\)$"):
        encoder.state()
    state = WithSettings(5)(Corpus(TRAIN, TEST)).state()
    assert text_encoder_from_state(state, WithSettings)(["a film"]).tolist() == [[10]]


@pytest.mark.parametrize(
    ("method", "result", "message"),
    [
        (
            "encode",
            torch.ones(1, 3),
            r"encode must return one row per text, 2 rows, got a tensor of .* from Mine\(2\)$",
        ),
        ("encode", torch.tensor(1.0), "encode must return one row per text, 2 rows, got a tensor of "),
        ("encode", [[1], [2]], r"encode must return a tensor, got \[\[1\], \[2\]\] from Mine"),
        ("fit", ["a"], r"fit must return \(words, tensors\), got \['a'\] from Mine"),
    ],
)
def test_what_an_own_representation_returns_is_checked(method: str, result: Any, message: str) -> None:
    mine = type("Mine", (Plain,), {method: lambda self, *_: result})
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        mine()(Corpus(TRAIN, TEST))(["a film", "a plot"])


@pytest.mark.parametrize(("state", "described"), [({"words": []}, "words"), ({}, "")])
def test_other_states_are_refused(state: Any, described: str) -> None:
    keys = "representation, settings, words, tensors"
    with pytest.raises(ValueError, match=f"^state must have the keys {keys}, got {described}$"):
        text_encoder_from_state(state)


def test_an_instance_is_not_a_class_of_representations() -> None:
    state = NGrams(9)(Corpus(TRAIN, TEST)).state()
    with pytest.raises(TypeError, match=r"representation must be a class, got NGrams\("):
        text_encoder_from_state(state, NGrams(9))
