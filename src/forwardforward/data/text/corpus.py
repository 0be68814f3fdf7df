"""Tokenised texts in their parts, and what a representation learns of them."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from torch import Tensor

from forwardforward.data.text.reviews import Texts
from forwardforward.data.text.tokens import Documents, Lexicon

__all__ = ["Corpus", "Encoder", "Representation"]


class Corpus:
    """The words of training and test texts, and of more texts without labels where something learns from them.

    Args:
        train: Training texts.
        test: Test texts.
        unlabelled: Further texts, which only those read that learn from them.
        folder: Where vectors that are trained on the texts are kept; nowhere unless given.
        progress: Whether long steps show a progress bar.

    Raises:
        TypeError: If a part is a single string.
    """

    def __init__(
        self,
        train: Iterable[str],
        test: Iterable[str],
        unlabelled: Collection[str] | Texts = (),
        folder: Path | None = None,
        progress: bool = False,
    ) -> None:
        if isinstance(train, str) or isinstance(test, str):
            raise TypeError(f"texts must be lists of strings, got {train if isinstance(train, str) else test!r:.60}")
        self.lexicon = Lexicon()
        self.train = self.lexicon.encode(train)
        self._known = len(self.lexicon)
        self.test = self.lexicon.encode(test)
        self.folder = folder
        self.progress = progress
        self._unlabelled = unlabelled

    @property
    def train_words(self) -> list[str]:
        """The words of the training texts, which have the lowest numbers."""
        return self.lexicon.words[: self._known]

    def unlabelled(self) -> Documents:
        """Return the unlabelled texts, which are read now."""
        return self.lexicon.encode(self._unlabelled)

    def fingerprint(self) -> str:
        """Return a digest of the training texts and the number of unlabelled ones, which tells corpora apart."""
        digest = hashlib.sha256("\n".join([*self.train_words, str(len(self._unlabelled))]).encode())
        digest.update(np.ascontiguousarray(self.train.ids).tobytes())
        digest.update(np.ascontiguousarray(self.train.borders).tobytes())
        return digest.hexdigest()


class Representation:
    """Base of the representations, what a network reads of a text; a subclass writes :meth:`fit`.

    Attributes:
        missing: What a text lacks whose input is all zeros, as the warning about it says.
    """

    missing: ClassVar[str] = "word"

    @property
    def entries(self) -> int | None:
        """Number of entries that whole-numbered inputs point to; None where inputs are floating."""
        return None

    def fit(self, corpus: Corpus) -> Callable[[Documents], Tensor]:
        """Learn from the training and unlabelled texts of a corpus, never from its test texts.

        Returns:
            What turns texts into inputs ``(texts, ...)``. The number behind the last of the corpus's words, its
            lexicon's length, stands for a word that is not among them.
        """
        raise NotImplementedError

    def __call__(self, corpus: Corpus) -> Encoder:
        """Return the encoder of texts that is learned from a corpus."""
        return Encoder(self, corpus)

    def silent(self, inputs: Tensor) -> Tensor:
        """Return which texts' inputs say nothing, ``(texts,)``: those of zeros alone."""
        return (inputs == 0).all(1)


class Encoder:
    """Texts to inputs, as a representation learned it from a corpus.

    Args:
        representation: What is read of a text.
        corpus: What it is learned from.
    """

    def __init__(self, representation: Representation, corpus: Corpus) -> None:
        self.representation = representation
        self._encode = representation.fit(corpus)
        self._lexicon = corpus.lexicon
        self._size = len(corpus.lexicon)

    def __call__(self, texts: Sequence[str] | Documents, name: str = "given") -> Tensor:
        """Return the inputs of texts, ``(texts, ...)``, and warn of those that say nothing.

        Args:
            texts: Texts, or the corpus's own as numbers of words.
            name: What a warning calls them.

        Raises:
            TypeError: If ``texts`` are not texts.
        """
        if not isinstance(texts, Documents):
            given = texts if isinstance(texts, str) or not isinstance(texts, Iterable) else list(texts)
            if not isinstance(given, list) or not all(isinstance(text, str) for text in given):
                raise TypeError(f"texts must be a list of strings, got {given!r:.60}")
            texts = self._lexicon.encode(given, grow=False)
        inputs = self._encode(Documents(texts.ids.clip(max=self._size), texts.borders))
        if silent := int(self.representation.silent(inputs).sum()):
            warnings.warn(
                f"{silent} of {len(inputs)} {name} texts have no {self.representation.missing}: "
                "their input says nothing",
                stacklevel=2,
            )
        return inputs
