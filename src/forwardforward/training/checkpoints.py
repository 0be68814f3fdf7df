"""Checkpoints: one file from which a run resumes, written so that a kill at any moment leaves the last complete one."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from forwardforward._utils.files import replacing
from forwardforward.network import Network

__all__ = ["CheckpointError", "load_checkpoint", "load_weights", "save_checkpoint"]

FORMAT = "forwardforward-checkpoint-1"
UNREADABLE = (RuntimeError, OSError, EOFError, ValueError, KeyError, pickle.UnpicklingError, zipfile.BadZipFile)


class CheckpointError(RuntimeError):
    """A checkpoint could not be written or read."""


def save_checkpoint(path: str | Path, content: dict[str, Any]) -> None:
    """Write ``content`` to ``path``, completely or not at all.

    Args:
        path: The file; its folder must exist.
        content: Tensors, numbers, strings and containers of them.

    Raises:
        CheckpointError: If the disk is full or the folder cannot be written to; the file that existed before is kept.
    """
    path = Path(path)
    try:
        with replacing(path, "wb") as file:
            torch.save({"format": FORMAT, **content}, file)
    except (OSError, RuntimeError) as error:
        cause = error if isinstance(error, OSError) else error.__context__ or error
        remains = "the last complete one is kept" if path.exists() else "there is no earlier one"
        raise CheckpointError(f"cannot write the checkpoint {path}: {cause}; {remains}") from error


def load_checkpoint(path: str | Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a checkpoint, with ``weights_only=True``: no code in it can run.

    Its checksums are compared first, which takes about 0.15 seconds for 100 MB.

    Args:
        path: The file.
        device: Device of its tensors.

    Returns:
        ``model`` (a plain ``state_dict``), ``optimizer``, ``schedule``, ``epoch`` (epochs done), ``epochs``, ``seed``,
        ``batch_size``, ``settings`` (other settings that determine the result, as text), ``history`` and ``finished``
        (False if the evaluation of the last epoch failed).

    Raises:
        CheckpointError: If there is no such file, it is incomplete or corrupted, or it is not a checkpoint of this
            library.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}")
    try:
        with zipfile.ZipFile(path) as file:
            corrupted = file.testzip()  # torch writes checksums and does not compare them
        content = None if corrupted else torch.load(path, map_location=device, weights_only=True)
    except UNREADABLE as error:
        raise CheckpointError(f"cannot read the checkpoint {path}: it is incomplete or not a checkpoint") from error
    if corrupted:
        raise CheckpointError(f"cannot read the checkpoint {path}: file is corrupted (checksum of {corrupted} differs)")
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a checkpoint of forwardforward")
    require(content, path, "model")
    return content


def load_weights(path: str | Path, model: nn.Module) -> nn.Module:
    """Load a checkpoint's weights, running statistics and preprocessing into ``model``, and return the model.

    Args:
        path: The checkpoint.
        model: A model of the same architecture; its shapes must be known, see ``input_shape`` of
            :class:`~forwardforward.FFSequential`.

    Raises:
        CheckpointError: If the file cannot be read or does not match the model, which is then left unchanged.
    """
    restore_weights(load_checkpoint(path), path, getattr(model, "_orig_mod", model))
    return model


def restore_weights(content: dict[str, Any], path: str | Path, model: nn.Module) -> nn.Module:
    """Load a checkpoint's weights into ``model``, all of them or none."""
    check_architecture(content, path, model)
    model.load_state_dict(content["model"])
    return model


def check_architecture(content: dict[str, Any], path: str | Path, model: nn.Module) -> None:
    """Refuse weights of other names or shapes than the model's."""
    saved = content["model"]
    if isinstance(model, Network):
        if not model.is_set_up:
            raise CheckpointError(
                f"cannot load the checkpoint {path}: the model's shapes are not known yet, "
                "pass input_shape= to the model or call model.setup(shape)"
            )
        if "preprocessing.mean" in saved and not model.preprocessing.is_set_up:
            model.preprocessing.setup(tuple(saved["preprocessing.mean"].shape))
    current = model.state_dict()
    differences = [f"missing {key}" for key in current if key not in saved]
    differences += [f"unexpected {key}" for key in saved if key not in current]
    differences += [
        f"shape of {key}, {tuple(saved[key].shape)} instead of {tuple(current[key].shape)}"
        for key in current
        if key in saved and current[key].shape != saved[key].shape
    ]
    if differences:
        more = f" and {len(differences) - 1} more" if len(differences) > 1 else ""
        raise CheckpointError(f"the checkpoint {path} does not match the model: {differences[0]}{more}")


def require(content: dict[str, Any], path: str | Path, *names: str) -> None:
    """Refuse a checkpoint without the named entries."""
    missing = [name for name in names if name not in content]
    if missing:
        raise CheckpointError(f"the checkpoint {path} lacks {', '.join(missing)}")
