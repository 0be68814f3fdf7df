"""Tokenization, and the mapping from words to integer ids."""

from __future__ import annotations

import functools
import html
import re
import unicodedata
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forwardforward._utils.annotations import describe
from forwardforward._utils.arguments import checked

__all__ = ["Documents", "Lexicon", "tokenize"]

ENTITY = re.compile(r"&#?\w+;")
# Tags that occur in reviews. An attribute needs "=", so that "<I mean it>" stays.
TAG = re.compile(r"</?(?:br|hr|p|i|b|u|em|strong)(?:\s+[\w-]+=[^<>]*)?\s*/?\s*>", re.IGNORECASE)
# Characters that people type as an apostrophe; the soft hyphen, which only shows where a word may be divided; control
# characters that were letters and quotation marks in Windows-1252, which HTML reads in the same way.
REPLACED: dict[int, str] = {code: bytes([code]).decode("cp1252", "replace") for code in range(0x80, 0xA0)}
REPLACED |= dict.fromkeys([0x91, 0x92, *map(ord, "‘’ʼ´＇")], "'")
REPLACED[0xAD] = ""


@checked
def tokenize(text: str) -> list[str]:
    """Return a text's words in lower case, including exclamation and question marks.

    A word consists of letters, digits and their combining marks, with apostrophes inside. The text is normalized before
    (Unicode's form NFC), so that "é" is equal to "e" with an accent, and each kind of apostrophe to "'". HTML line
    breaks and text styles are removed, and character references decoded. In scripts without spaces between words, such
    as Chinese, everything up to the next punctuation mark is one word.

    Args:
        text: The text.

    Example:
        >>> tokenize("Don’t miss it!<br /><br />10/10")
        ["don't", 'miss', 'it', '!', '10', '10']
    """
    return _words(text)


def _words(text: str) -> list[str]:
    if "&" in text:
        text = ENTITY.sub(lambda entity: html.unescape(entity[0]), text)
    text = TAG.sub(" ", text).replace("`", "'").replace("_", " ")
    if not text.isascii():
        # Only the Turkish capital İ has a lower case that adds a mark to a letter.
        text = unicodedata.normalize("NFC", text.translate(REPLACED).lower()).replace("i̇", "i")
    return _word_pattern().findall(text.lower())


@functools.cache
def _word_pattern() -> re.Pattern[str]:
    # Python's \w lacks the marks that Hindi writes its vowels with, and the joiners of Persian and Malayalam.
    marks = "".join(mark for mark in map(chr, range(0x300, 0x20000)) if unicodedata.category(mark).startswith("M"))
    # Looking ahead for a character beyond ASCII skips the many ranges of marks in most texts: it is four times faster.
    word = rf"\w+(?:(?=[^\x00-\x7f])[{marks}\u200c\u200d\U000e0100-\U000e01ef]+\w*)*"
    return re.compile(rf"{word}(?:'{word})*|[!?]")  # exclamation and question marks indicate sentiment


@dataclass(frozen=True, eq=False)
class Documents:
    """Texts as concatenated word ids.

    Attributes:
        ids: The words of all texts, ``(words,)``, as ids of ``lexicon``.
        offsets: Text i is ``ids[offsets[i]:offsets[i + 1]]``, ``(texts + 1,)``.
        lexicon: Maps words to ids.

    Example:
        >>> documents = Lexicon().encode(["a good film", "a film"])
        >>> documents.ids.tolist(), documents.offsets.tolist()
        ([0, 1, 2, 0, 2], [0, 3, 5])
    """

    ids: NDArray[np.int32]
    offsets: NDArray[np.int64]
    lexicon: Lexicon

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> NDArray[np.int32]:
        """Return the word ids of one text."""
        if not 0 <= index < len(self):
            raise IndexError(f"index must be in 0..{len(self) - 1}, got {index}")
        return self.ids[self.offsets[index] : self.offsets[index + 1]]

    @property
    def text_indices(self) -> NDArray[np.int64]:
        """Index of the text of each word, ``(words,)``."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))


@checked
class Lexicon:
    """Mapping from words to ids, numbered from 0 in the order in which words are added.

    Args:
        words: First words.

    Example:
        >>> lexicon = Lexicon(["good", "film"])
        >>> lexicon.ids(["film", "unknown"]).tolist()
        [1, 2]
    """

    def __init__(self, words: Iterable[str] = ()) -> None:
        self._ids = _Ids()
        for word in _strings("words", words):
            self._ids[word]

    def encode(self, texts: Iterable[str], grow: bool = True) -> Documents:
        """Return texts as word ids.

        Args:
            texts: The texts.
            grow: Whether to add new words; if False, the id of each new word is the length of the lexicon.

        Raises:
            TypeError: If a text is not a string.
        """
        unknown = len(self)
        id_of = self._ids.__getitem__ if grow else lambda word: self._ids.get(word, unknown)
        ids, offsets = array("i"), array("q", [0])
        for text in texts:
            if not isinstance(text, str):
                raise TypeError(f"texts must be strings, got {describe(text)} at index {len(offsets) - 1}")
            ids.extend(map(id_of, _words(text)))
            offsets.append(len(ids))
        return Documents(np.array(ids, dtype=np.int32), np.array(offsets, dtype=np.int64), self)

    @checked
    def ids(self, words: Iterable[str]) -> NDArray[np.int32]:
        """Return the ids of words; the id of an unknown word is the length of the lexicon."""
        return np.array([self._ids.get(word, len(self)) for word in _strings("words", words)], dtype=np.int32)

    @property
    def words(self) -> list[str]:
        """The words in the order of their ids."""
        return list(self._ids)

    def __contains__(self, word: object) -> bool:
        """Return whether the lexicon contains a word."""
        return word in self._ids

    def __iter__(self) -> Iterator[str]:
        """Iterate over the words in the order of their ids."""
        return iter(self._ids)

    def __len__(self) -> int:
        """Return the number of words."""
        return len(self._ids)


def _strings(name: str, values: Iterable[str]) -> Iterator[str]:
    for value in values:
        if not isinstance(value, str):
            raise TypeError(f"{name} must be strings, got {describe(value)}")
        yield value


class _Ids(dict[str, int]):
    def __missing__(self, word: str) -> int:
        self[word] = number = len(self)
        return number
