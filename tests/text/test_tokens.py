from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwardforward.data.text import Corpus, Lexicon, tokenize


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't miss it!", ["don't", "miss", "it", "!"]),
        ("good<br /><br />Bad<br>UGLY", ["good", "bad", "ugly"]),
        ("10/10, a 'classic'?", ["10", "10", "a", "classic", "?"]),
        ("Amélie -- c'est_bon", ["amélie", "c'est", "bon"]),
        ("... --- ...", []),
        ("हिन्दी फ़िल्म अच्छी है।", ["हिन्दी", "फ़िल्म", "अच्छी", "है"]),  # vowel signs are marks
        ("தமிழ் படம்", ["தமிழ்", "படம்"]),
        ("می\u200cخواهم", ["می\u200cخواهم"]),
        ("tre\u0300s tr\u00e8s", ["tr\u00e8s", "tr\u00e8s"]),
        ("\U00011103\U00011127", ["\U00011103\U00011127"]),  # Chakma, beyond 16 bits
        ("İstanbul I\u0307stanbul ISTANBUL", ["istanbul"] * 3),
        ("don’t don‘t don´t don`t donʼt don＇t don\u0092t", ["don't"] * 7),
        ("`don’t‘ 'tis", ["don't", "tis"]),
        ("a<BR>b<Br/ >c< br>d<BR\n/>e</br>", ["a", "b", "c", "br", "d", "e"]),
        ('<i>so</i> <P class="x">good</P> <3 <sigh> <I mean it>', ["so", "good", "3", "sigh", "i", "mean", "it"]),
        ("caf&eacute; Dvo&#345;&aacute;k&nbsp;AT&amp;T R&B &lt;br&gt;", ["café", "dvořák", "at", "t", "r", "b"]),
        ("won\u00adderful \ufefffilm Sla\u009eek", ["wonderful", "film", "slažek"]),
        ("♥\ufe0f ½ 2½ 昔々、あるところに", ["½", "2½", "昔々", "あるところに"]),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert tokenize(text) == words


@given(st.lists(st.text(max_size=30), max_size=6))
def test_ids_map_back_to_words(texts: list[str]) -> None:
    lexicon = Lexicon()
    documents = lexicon.encode(texts)
    words = lexicon.words
    assert len(set(words)) == len(words) == len(lexicon)
    assert [[words[i] for i in documents[n]] for n in range(len(texts))] == [tokenize(text) for text in texts]
    assert np.bincount(documents.text_indices, minlength=len(texts)).tolist() == [len(tokenize(text)) for text in texts]


@given(st.text())
def test_composed_and_decomposed_texts_have_equal_words(text: str) -> None:
    words = tokenize(text)
    assert tokenize(unicodedata.normalize("NFD", text)) == tokenize(unicodedata.normalize("NFC", text)) == words
    # A tag such as "<b>" or a reference such as "&lt;" cannot appear in a word, so that words are stable.
    assert tokenize(" ".join(words)) == words


@pytest.mark.parametrize("text", [b"film", 3, float("nan"), None])
def test_texts_are_strings(text: object) -> None:
    with pytest.raises(TypeError, match=r"^train\[1\] must be a string, got"):
        Corpus(["a", text], [])  # type: ignore[list-item]
    with pytest.raises(TypeError, match=r"^test\[0\] must be a string, got"):
        Corpus([], [text])  # type: ignore[list-item]
    with pytest.raises(TypeError, match=r"texts must be strings, got .* at index 1"):
        Corpus(iter(["a", text]), [])  # type: ignore[list-item]


def test_a_document_out_of_range() -> None:
    with pytest.raises(IndexError, match=r"index must be in 0\.\.1, got 2"):
        Lexicon().encode(["a", "b"])[2]


def test_the_fingerprint_identifies_the_corpus() -> None:
    expected = Corpus(["a b", "c"], ["d"]).fingerprint()
    assert Corpus(["a b", "c"], ["e"]).fingerprint() == expected
    for train, unlabeled in ((["a", "b c"], ()), (["a b", "d"], ()), (["a b", "c"], ("x",))):
        assert Corpus(train, ["d"], unlabeled).fingerprint() != expected


def test_unknown_words_have_the_length_of_the_lexicon_as_id() -> None:
    lexicon = Lexicon(["a", "b"])
    assert lexicon.encode(["b c a"], grow=False).ids.tolist() == [1, 2, 0]
    assert lexicon.ids(["c", "a"]).tolist() == [2, 0]
    assert lexicon.words == ["a", "b"]
    assert lexicon.encode(["c d a"]).ids.tolist() == [2, 3, 0]


def test_the_fingerprint_is_stable() -> None:
    """Saved word vectors are found by the fingerprint."""
    assert Corpus(["a b", "c"], ["d"], ["e"]).fingerprint().startswith("9913c552243f4107")
    assert Corpus(["a b", "c"], ["d"]).fingerprint().startswith("74652daf496a0d54")
