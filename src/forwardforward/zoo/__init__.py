"""Trained networks that are part of the library.

Each is a saved model, see :mod:`forwardforward.saving`, with weights in half precision.
"""

from __future__ import annotations

from pathlib import Path

import torch

from forwardforward._utils.arguments import checked
from forwardforward._utils.checks import check_device
from forwardforward._utils.suggestions import did_you_mean
from forwardforward.network import Network
from forwardforward.saving.folder import is_model_folder

__all__ = ["available", "pretrained"]

#: Folder with one saved model per name.
FOLDER = Path(__file__).parent / "networks"


@checked
def pretrained(name: str, device: torch.device | str = "cpu") -> Network:
    """Return a small trained network that is part of the library, in evaluation mode.

    Its weights are stored in half precision, and computed with in single precision. ``model.class_names`` are the names
    of its classes, and ``model.card`` contains the data, the recipe and the errors. Larger networks are written by
    ``python -m benchmarks.pretrained`` from the source.

    Args:
        name: One of :func:`available`.
        device: Device of the model.

    Raises:
        ValueError: If there is no network of this name.

    Example:
        >>> for name in available():
        ...     model = pretrained(name)
        ...     images = torch.zeros(2, *model.input_shape)
        ...     classes = model.predict(images)
    """
    check_device(device)
    names = available()
    if name not in names:
        known = ", ".join(names) or "no names, in this build"
        raise ValueError(f"name must be one of {known}, got {name!r}{did_you_mean(name, names)}")
    return Network.from_pretrained(FOLDER / name, device=device)


def available() -> list[str]:
    """Return the names of the trained networks that are part of the library."""
    return sorted(path.name for path in FOLDER.glob("*") if path.is_dir() and is_model_folder(path))
