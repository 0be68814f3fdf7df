"""Checkpoints: one file that a run can go on from, written so that a kill at any moment leaves the last good one."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from forwardforward._utils.files import replacing

__all__ = ["CheckpointError", "load_checkpoint", "load_weights", "save_checkpoint"]

FORMAT = "forwardforward-checkpoint-1"
UNREADABLE = (RuntimeError, OSError, EOFError, ValueError, KeyError, pickle.UnpicklingError, zipfile.BadZipFile)


class CheckpointError(RuntimeError):
    """A checkpoint could not be written, or is not one that can be read."""


def save_checkpoint(path: str | Path, content: dict[str, Any]) -> None:
    """Write ``content`` to ``path``, whole or not at all.

    Args:
        path: The file; its folder must exist.
        content: Tensors, numbers, strings and containers of them.

    Raises:
        CheckpointError: If the disk is full or the folder cannot be written to; what stood there before is kept.
    """
    path = Path(path)
    try:
        with replacing(path, "wb") as file:
            torch.save({"format": FORMAT, **content}, file)
    except (OSError, RuntimeError) as error:
        cause = error if isinstance(error, OSError) else error.__context__ or error
        kept = "the last good one is kept" if path.exists() else "there is none from before"
        raise CheckpointError(f"cannot write the checkpoint {path}: {cause}; {kept}") from error


def load_checkpoint(path: str | Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a checkpoint, with ``weights_only=True``: no code in it can run.

    Its checksums are compared first, which takes about 0.15 seconds for 100 MB.

    Args:
        path: The file.
        device: Where its tensors go.

    Returns:
        ``model`` (a plain ``state_dict``), ``optimizer``, ``schedule``, ``epoch`` (epochs done), ``epochs``, ``seed``,
        ``batch_size``, ``settings`` (what else decides the result, in words) and ``history``.

    Raises:
        CheckpointError: If there is no such file, it is cut short or damaged, or it is not a checkpoint of ours.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}")
    try:
        with zipfile.ZipFile(path) as file:
            damaged = file.testzip()  # torch writes checksums and does not compare them
        content = None if damaged else torch.load(path, map_location=device, weights_only=True)
    except UNREADABLE as error:
        raise CheckpointError(f"cannot read the checkpoint {path}: it is cut short or not a checkpoint") from error
    if damaged:
        raise CheckpointError(f"cannot read the checkpoint {path}: it is damaged, {damaged} is not what was written")
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a checkpoint of forwardforward")
    require(content, path, "model")
    return content


def load_weights(path: str | Path, model: nn.Module) -> nn.Module:
    """Load a checkpoint's weights and running statistics into ``model`` and return it.

    Args:
        path: The checkpoint.
        model: A model of the same architecture.

    Raises:
        CheckpointError: If the file cannot be read or belongs to another architecture; the model is left as it was.
    """
    return restore_weights(load_checkpoint(path), path, model)


def restore_weights(content: dict[str, Any], path: str | Path, model: nn.Module) -> nn.Module:
    """Put a loaded checkpoint's weights into ``model``, all of them or none."""
    check_architecture(content, path, model)
    model.load_state_dict(content["model"])
    return model


def check_architecture(content: dict[str, Any], path: str | Path, model: nn.Module) -> None:
    """Refuse weights of other names or shapes than the model's."""
    own, state = model.state_dict(), content["model"]
    if set(own) != set(state) or any(own[key].shape != state[key].shape for key in own):
        raise CheckpointError(f"the checkpoint {path} is of another architecture than the model")


def require(content: dict[str, Any], path: str | Path, *names: str) -> None:
    """Refuse a checkpoint that lacks what is wanted of it."""
    missing = [name for name in names if name not in content]
    if missing:
        raise CheckpointError(f"the checkpoint {path} lacks {', '.join(missing)}")
