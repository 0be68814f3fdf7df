"""Base class of text representations, and the text encoder that a fitted representation gives."""

from __future__ import annotations

import inspect
import warnings
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from forwardforward._utils.annotations import describe
from forwardforward._utils.arguments import checked
from forwardforward.data.text.corpus import Corpus
from forwardforward.data.text.tokens import Documents, Lexicon
from forwardforward.specs import Plugin

__all__ = ["Representation", "TextEncoder"]


class Representation(Plugin):
    """Base class of text representations; subclasses define :meth:`fit` and :meth:`encode`.

    A subclass should be a frozen dataclass whose fields are numbers and strings, so that its encoders can be saved.

    Attributes:
        missing: What an empty text lacks, for the warning about such texts.

    Example:
        Counts of the two most frequent words:

        >>> import torch
        >>> class TwoWords(Representation):
        ...     def fit(self, corpus):
        ...         counts = np.bincount(corpus.train.ids)
        ...         return [corpus.lexicon.words[i] for i in np.argsort(-counts)[:2]], {}
        ...
        ...     def encode(self, documents, tensors):
        ...         return torch.tensor([[(text == word).sum() for word in (0, 1)] for text in documents])
        >>> encoder = TwoWords()(Corpus(train=["a film, a plot, a film"], test=[]))
        >>> encoder(["A good film, a film!"])
        tensor([[2, 2]])
    """

    missing: ClassVar[str] = "word"

    @property
    def num_embeddings(self) -> int | None:
        """Vocabulary size if the inputs are embedding indices; None if they are floating-point."""
        return None

    def check_available(self, folder: Path | None) -> None:
        """Check, before texts are read, that the packages and files that :meth:`fit` needs are available.

        Default: it needs none.

        Args:
            folder: Folder of trained word vectors, see :class:`Corpus`.

        Raises:
            ImportError: If a package is missing.
            FileNotFoundError: If a file is missing.
        """

    @abstractmethod
    def fit(self, corpus: Corpus) -> tuple[Sequence[str], dict[str, Tensor]]:
        """Fit the representation to the training and unlabeled texts of a corpus, never to its test texts.

        Returns:
            The words that the representation distinguishes, and tensors that :meth:`encode` needs.
        """
        raise NotImplementedError

    @abstractmethod
    def encode(self, documents: Documents, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return the inputs of texts, ``(texts, ...)``.

        Args:
            documents: Texts as ids of the words that :meth:`fit` returned; the id of any other word is the number of
                these words.
            tensors: The tensors that :meth:`fit` returned.
        """
        raise NotImplementedError

    @checked
    def __call__(self, corpus: Corpus) -> TextEncoder:
        """Return a text encoder fitted to a corpus."""
        fitted = self.fit(corpus)
        if not isinstance(fitted, tuple) or len(fitted) != 2:
            raise TypeError(f"fit must return (words, tensors), got {describe(fitted)} from {describe(self)}")
        return TextEncoder(self, *fitted)

    @checked
    def is_empty(self, inputs: Tensor) -> Tensor:
        """Return which inputs contain no information, ``(texts,)``. Default: inputs that are all zeros.

        Args:
            inputs: As :meth:`encode` returns them, ``(texts, ...)``.

        Raises:
            ValueError: If they have fewer than two dimensions.
        """
        if inputs.dim() < 2:
            raise ValueError(f"inputs must be (texts, ...), got shape {tuple(inputs.shape)}")
        return (inputs == 0).flatten(1).all(1)

    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments as plain numbers, strings and dictionaries."""
        return asdict(self) if is_dataclass(self) else {}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Representation:
        """Return the representation with the given :meth:`settings`."""
        return cls(**settings)


@checked
class TextEncoder:
    """Converts texts to inputs by a fitted representation.

    :meth:`state` can be saved and loaded by :func:`text_encoder_from_state`, without the corpus.

    Args:
        representation: The representation.
        words: The words that it distinguishes.
        tensors: The tensors that its ``encode`` needs.

    Example:
        >>> from forwardforward.data.text import WordSequence, text_encoder_from_state
        >>> encoder = WordSequence(vocabulary=10, length=4)(Corpus(train=["A good film!", "A bad film."], test=[]))
        >>> encoder(["Good, not bad"])
        tensor([[0, 4, 1, 6]], dtype=torch.int32)
        >>> text_encoder_from_state(encoder.state())(["Good, not bad"])
        tensor([[0, 4, 1, 6]], dtype=torch.int32)
    """

    def __init__(self, representation: Representation, words: Sequence[str], tensors: Mapping[str, Tensor]) -> None:
        self.representation = representation
        self._lexicon = Lexicon(words)
        self._tensors = {name: tensor.cpu() for name, tensor in tensors.items()}

    @checked
    def __call__(self, texts: Iterable[str] | Documents, part: str = "") -> Tensor:
        """Return the inputs of texts, ``(texts, ...)``, and warn about texts whose inputs contain no information.

        Args:
            texts: Texts as strings, or as the word ids of a :class:`Corpus`.
            part: Name of these texts in the warning, such as "training". Default: no name.

        Raises:
            TypeError: If ``texts`` is not a list of strings, or the representation returns no tensor.
            ValueError: If it returns another number of rows.
        """
        documents = self._documents(texts)
        inputs = self.representation.encode(documents, self._tensors)
        if not isinstance(inputs, Tensor):
            raise TypeError(f"encode must return a tensor, got {describe(inputs)} from {describe(self.representation)}")
        if not inputs.dim() or len(inputs) != len(documents):
            raise ValueError(
                f"encode must return one row per text, {len(documents)} rows, got {describe(inputs)} "
                f"from {describe(self.representation)}"
            )
        if empty := int(self.representation.is_empty(inputs).sum()):
            warnings.warn(
                f"{empty} of {len(inputs)} {part and part + ' '}texts have no {self.representation.missing}; "
                "their inputs contain no information",
                stacklevel=2,
            )
        return inputs

    def state(self) -> dict[str, Any]:
        """Return the encoder as plain numbers, strings and tensors, which ``torch.load`` reads with weights only.

        Raises:
            TypeError: If the settings of the representation lack an argument of its constructor.
        """
        return {
            "representation": type(self.representation).__name__,
            "settings": _checked_settings(self.representation),
            "words": self._lexicon.words,
            "tensors": dict(self._tensors),
        }

    def _documents(self, texts: Iterable[str] | Documents) -> Documents:
        if isinstance(texts, Documents):
            # The corpus numbers its words independently of the encoder. Ids of unknown words follow those of its words.
            ids = np.append(self._lexicon.ids(texts.lexicon), np.int32(len(self._lexicon)))
            return Documents(ids[texts.ids], texts.offsets, self._lexicon)
        strings = texts if isinstance(texts, str) or not isinstance(texts, Iterable) else list(texts)
        if not isinstance(strings, list):
            raise TypeError(f"texts must be a list of strings, got {strings!r:.60}")
        return self._lexicon.encode(strings, grow=False)

    def __repr__(self) -> str:
        """Return the representation and the number of words."""
        return f"{type(self).__name__}({self.representation}, words={len(self._lexicon)})"


def _checked_settings(representation: Representation) -> dict[str, Any]:
    """Return the settings, with which the constructor must return the same representation."""
    kind, settings = type(representation), representation.settings()
    if getattr(kind.from_settings, "__func__", None) is not vars(Representation)["from_settings"].__func__:
        return settings
    missing = [name for name in inspect.signature(kind).parameters if name not in settings]
    if missing:
        raise TypeError(
            f"representation must be a dataclass, or return its constructor's arguments ({', '.join(missing)}) from "
            f"settings(), to be saved, got {describe(representation)}"
        )
    return settings


def padding(texts: int, length: int) -> NDArray[np.int32]:
    """Return zeros, ``(texts, length)``.

    Raises:
        ValueError: If they do not fit into memory.
    """
    try:
        return np.zeros((texts, length), dtype=np.int32)
    except (MemoryError, ValueError):
        gigabytes = 4 * texts * length / 1e9
        raise ValueError(
            f"length must be smaller: {texts:,} texts of {length:,} indices take {gigabytes:,.0f} GB"
        ) from None
