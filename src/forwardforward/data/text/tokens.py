"""Tokenization, and the mapping from words to integer ids."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Documents", "Lexicon", "tokenize"]

BREAK = re.compile(r"<br\s*/?>")
# Letters and digits, with apostrophes inside a word (don't); exclamation and question marks indicate sentiment.
WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*|[!?]")


def tokenize(text: str) -> list[str]:
    """Return a text's words in lower case, including exclamation and question marks; HTML line breaks are removed.

    Example:
        >>> tokenize("Don't miss it!<br /><br />10/10")
        ["don't", 'miss', 'it', '!', '10', '10']
    """
    return WORD.findall(BREAK.sub(" ", text).lower())


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
        for word in words:
            self._ids[word]

    def encode(self, texts: Iterable[str], grow: bool = True) -> Documents:
        """Return texts as word ids.

        Args:
            texts: The texts.
            grow: Whether to add new words; if False, the id of each new word is the length of the lexicon.
        """
        unknown = len(self)
        id_of = self._ids.__getitem__ if grow else lambda word: self._ids.get(word, unknown)
        ids, offsets = array("i"), array("q", [0])
        for text in texts:
            ids.extend(map(id_of, tokenize(text)))
            offsets.append(len(ids))
        return Documents(np.array(ids, dtype=np.int32), np.array(offsets, dtype=np.int64), self)

    def ids(self, words: Iterable[str]) -> NDArray[np.int32]:
        """Return the ids of words; the id of an unknown word is the length of the lexicon."""
        return np.array([self._ids.get(word, len(self)) for word in words], dtype=np.int32)

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


class _Ids(dict[str, int]):
    def __missing__(self, word: str) -> int:
        self[word] = number = len(self)
        return number
