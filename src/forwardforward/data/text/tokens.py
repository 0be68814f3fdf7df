"""From texts to words, and from words to numbers."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Documents", "Lexicon", "tokenize"]

BREAK = re.compile(r"<br\s*/?>")
# Letters and digits, with apostrophes inside a word (don't); exclamation and question marks say how a review feels.
WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*|[!?]")


def tokenize(text: str) -> list[str]:
    """Return a text's words in lower case, exclamation and question marks among them; line breaks of HTML are dropped.

    Example:
        >>> tokenize("Don't miss it!<br /><br />10/10")
        ["don't", 'miss', 'it', '!', '10', '10']
    """
    return WORD.findall(BREAK.sub(" ", text).lower())


@dataclass(frozen=True, eq=False)
class Documents:
    """Texts as numbers of words, one behind the other.

    Attributes:
        ids: The words of all texts, ``(words,)``, by their numbers in a :class:`Lexicon`.
        borders: Text i is ``ids[borders[i]:borders[i + 1]]``, ``(texts + 1,)``.
    """

    ids: NDArray[np.int32]
    borders: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.borders) - 1

    def __getitem__(self, index: int) -> NDArray[np.int32]:
        """Return the words of one text."""
        if not 0 <= index < len(self):
            raise IndexError(f"index must be in 0..{len(self) - 1}, got {index}")
        return self.ids[self.borders[index] : self.borders[index + 1]]

    @property
    def owners(self) -> NDArray[np.int64]:
        """Which text each word belongs to, ``(words,)``."""
        return np.repeat(np.arange(len(self)), np.diff(self.borders))


class Lexicon:
    """Numbers for words, given out in the order in which words are first met."""

    def __init__(self) -> None:
        self._ids = _Ids()

    def encode(self, texts: Iterable[str], grow: bool = True) -> Documents:
        """Return texts as numbers of words.

        Args:
            texts: The texts.
            grow: Whether new words are taken in; else each has the number that comes after the last.
        """
        unknown = len(self)
        number = self._ids.__getitem__ if grow else lambda word: self._ids.get(word, unknown)
        ids, borders = array("i"), array("q", [0])
        for text in texts:
            ids.extend(map(number, tokenize(text)))
            borders.append(len(ids))
        return Documents(np.array(ids, dtype=np.int32), np.array(borders, dtype=np.int64))

    def take(self, words: Iterable[str]) -> None:
        """Give a number to each word that has none."""
        for word in words:
            self._ids[word]

    @property
    def words(self) -> list[str]:
        """The words, by their numbers."""
        return list(self._ids)

    def __contains__(self, word: object) -> bool:
        """Return whether a word has a number."""
        return word in self._ids

    def __iter__(self) -> Iterator[str]:
        """Go through the words in the order of their numbers."""
        return iter(self._ids)

    def __len__(self) -> int:
        """Return how many words there are."""
        return len(self._ids)


class _Ids(dict[str, int]):
    def __missing__(self, word: str) -> int:
        self[word] = number = len(self)
        return number
