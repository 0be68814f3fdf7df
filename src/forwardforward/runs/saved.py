"""Files of a run that torch wrote, read with a check of their checksums and without running code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch

from forwardforward.training import CheckpointError
from forwardforward.training.checkpoints import corrupted_entry

__all__ = ["read_saved"]

T = TypeVar("T")


def read_saved(path: Path, name: str, convert: Callable[[Any], T], remedy: str = "") -> T:
    """Return what a file contains.

    Args:
        path: The file.
        name: What it contains, for the message.
        convert: Function of the content, which raises ValueError for another content.
        remedy: Text after the message.

    Raises:
        CheckpointError: If the file is incomplete or corrupted.
    """
    try:
        with path.open("rb") as file:
            if corrupted := corrupted_entry(file):
                raise ValueError(corrupted)
            return convert(torch.load(file, weights_only=True))
    except MemoryError:
        raise
    except Exception as error:  # torch.load raises many kinds of errors, with advice that would run code in a file
        reason = str(error) if isinstance(error, ValueError) else f"not {name}"
        raise CheckpointError(
            f"cannot read the {name.partition(' ')[2]} {path}: it is incomplete or corrupted ({reason}){remedy}"
        ) from error
