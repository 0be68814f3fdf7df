"""Tokenised texts in their parts, and what a representation of them is."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np
from torch import Tensor

from forwardforward.data.text.reviews import Texts
from forwardforward.data.text.tokens import Documents, Lexicon

__all__ = ["Corpus", "Representation", "warn_of_empty"]


class Corpus:
    """The words of training and test texts, and of more texts without labels where something learns from them.

    Args:
        train: Training texts.
        test: Test texts.
        unlabelled: Further texts, which only those read that learn from them.
        folder: Where vectors that are trained on the texts are kept; nowhere unless given.
        progress: Whether long steps show a progress bar.
    """

    def __init__(
        self,
        train: Iterable[str],
        test: Iterable[str],
        unlabelled: Collection[str] | Texts = (),
        folder: Path | None = None,
        progress: bool = False,
    ) -> None:
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
    """Base of the representations, what a network reads of a text; a subclass writes :meth:`__call__`."""

    @property
    def entries(self) -> int | None:
        """Number of entries that whole-numbered inputs point to; None where inputs are floating."""
        return None

    def __call__(self, corpus: Corpus) -> tuple[Tensor, Tensor]:
        """Return the inputs of training and test texts, ``(texts, ...)`` each.

        Nothing may be learned from the test texts.
        """
        raise NotImplementedError


def warn_of_empty(train: Tensor, test: Tensor, what: str) -> None:
    """Warn of texts that became zeros alone, with their number.

    Args:
        train: Inputs of the training texts.
        test: Inputs of the test texts.
        what: What these texts do not have, such as a word with a vector.
    """
    for name, inputs in (("training", train), ("test", test)):
        empty = int((inputs == 0).all(1).sum())
        if empty:
            warnings.warn(f"{empty} of {len(inputs)} {name} texts have no {what}: their input is zero", stacklevel=3)
