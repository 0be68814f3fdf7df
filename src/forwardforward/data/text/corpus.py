"""The tokenized texts of a data set."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import numpy as np

from forwardforward._utils.arguments import checked
from forwardforward.data.text.reviews import Texts
from forwardforward.data.text.tokens import Documents, Lexicon

__all__ = ["Corpus"]


@checked
class Corpus:
    """Training and test texts as word ids, and optionally unlabeled texts for training word vectors.

    Args:
        train: Training texts.
        test: Test texts.
        unlabeled: Texts without labels. They are read only if a representation is trained on them.
        folder: Folder where word vectors trained on the texts are saved. Default: they are not saved.
        progress: Whether to show progress bars.

    Raises:
        TypeError: If the training or test texts are a single string.

    Example:
        >>> corpus = Corpus(train=["A good film!", "A bad film."], test=["Good."])
        >>> corpus.train_words
        ['a', 'good', 'film', '!', 'bad']
    """

    def __init__(
        self,
        train: Iterable[str],
        test: Iterable[str],
        unlabeled: Collection[str] | Texts = (),
        folder: Path | None = None,
        progress: bool = False,
    ) -> None:
        self.lexicon = Lexicon()
        self.train = self._encoded("train", train)
        self._num_train_words = len(self.lexicon)
        self.test = self._encoded("test", test)
        self.folder = folder
        self.progress = progress
        self._unlabeled = unlabeled

    def _encoded(self, part: str, texts: Iterable[str]) -> Documents:
        try:
            return self.lexicon.encode(texts)
        except TypeError as error:
            raise TypeError(f"{part}: {error}") from None

    @property
    def train_words(self) -> list[str]:
        """The distinct words of the training texts, whose ids are the lowest."""
        return self.lexicon.words[: self._num_train_words]

    def unlabeled(self) -> Documents:
        """Read and return the unlabeled texts."""
        return self.lexicon.encode(self._unlabeled)

    def fingerprint(self) -> str:
        """Return a digest of the training texts and the unlabeled texts; of files, their number is part of it alone."""
        digest = hashlib.sha256("\n".join([*self.train_words, str(len(self._unlabeled))]).encode())
        if self._unlabeled and not isinstance(self._unlabeled, Texts):
            unlabeled = list(self._unlabeled) if isinstance(self._unlabeled, Sequence) else sorted(self._unlabeled)
            digest.update(repr(unlabeled).encode())
        digest.update(np.ascontiguousarray(self.train.ids).tobytes())
        digest.update(np.ascontiguousarray(self.train.offsets).tobytes())
        return digest.hexdigest()
