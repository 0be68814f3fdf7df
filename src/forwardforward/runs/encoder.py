"""The text encoder of a run on texts, in ``text_encoder.pt``."""

from __future__ import annotations

from pathlib import Path

import torch

from forwardforward._utils.files import replacing
from forwardforward.data.text import TextEncoder, text_encoder_from_state
from forwardforward.runs.saved import read_saved
from forwardforward.training import CheckpointError

__all__ = ["read_text_encoder", "write_text_encoder"]


def write_text_encoder(path: Path, encoder: TextEncoder) -> None:
    """Write a fitted encoder, completely or not at all."""
    with replacing(path, "wb") as file:
        torch.save(encoder.state(), file)


def read_text_encoder(path: Path, kind: type) -> TextEncoder:
    """Return the encoder.

    Args:
        path: The file.
        kind: Class of its representation.

    Raises:
        CheckpointError: If the file is missing or corrupted.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no text encoder {path}")
    return read_saved(path, "a text encoder", lambda state: text_encoder_from_state(state, kind))
