"""Loading of saved text encoders."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from forwardforward._utils.annotations import describe
from forwardforward._utils.arguments import checked
from forwardforward._utils.plugins import one_line
from forwardforward.data.text.features import MeanVectors
from forwardforward.data.text.ngrams import NGrams
from forwardforward.data.text.representation import Representation, TextEncoder
from forwardforward.data.text.sequences import WordSequence

__all__ = ["text_encoder_from_state"]

BUILT_IN: dict[str, type[Representation]] = {kind.__name__: kind for kind in (MeanVectors, NGrams, WordSequence)}
KEYS = ("representation", "settings", "words", "tensors")


@checked
def text_encoder_from_state(
    state: Mapping[str, Any], representation: type[Representation] | None = None
) -> TextEncoder:
    """Return the text encoder with a saved state. It needs neither the corpus nor the package that trained vectors.

    Args:
        state: What :meth:`TextEncoder.state` returned.
        representation: Class of the representation. Default: the class of this library with the saved name.

    Raises:
        TypeError: If ``representation`` is not a class.
        ValueError: If the state is not that of a text encoder, or of a representation of another class.

    Example:
        >>> import io
        >>> import torch
        >>> from forwardforward.data.text import Corpus
        >>> encoder = NGrams(vocabulary=10, longest=2, length=5)(Corpus(train=["a good film", "a film"], test=[]))
        >>> file = io.BytesIO()
        >>> torch.save(encoder.state(), file)
        >>> loaded = text_encoder_from_state(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
        >>> torch.equal(loaded(["a film"]), encoder(["a film"]))
        True
    """
    if not isinstance(state, Mapping) or set(state) != set(KEYS):
        keys = ", ".join(map(str, state)) if isinstance(state, Mapping) else type(state).__name__
        raise ValueError(f"state must have the keys {', '.join(KEYS)}, got {keys}")
    if representation is not None and not isinstance(representation, type):
        raise TypeError(f"representation must be a class, got {describe(representation)}")
    name = state["representation"]
    if representation is None:
        representation = BUILT_IN.get(name)
    if representation is None or representation.__name__ != name:
        expected = ", ".join(BUILT_IN) if representation is None else representation.__name__
        raise ValueError(
            f"state must be that of a representation {expected}, got {name!r}; for another class, set representation="
        )
    encoder = TextEncoder(representation.from_settings(state["settings"]), state["words"], state["tensors"])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            encoder(["a"])
    except Exception as error:  # tensors of another form fail with errors of many types
        raise ValueError(f"state must have the tensors of a {name}, got others: {one_line(error)}") from error
    return encoder
