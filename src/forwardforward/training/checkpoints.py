"""Checkpoints: one file from which a run resumes, written so that a kill at any moment leaves the last complete one."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import nn

from forwardforward._utils.arguments import StrPath, checked
from forwardforward._utils.checks import check_device
from forwardforward._utils.files import replacing
from forwardforward.network import Network
from forwardforward.training.entries import wrong_entry

__all__ = ["CheckpointError", "load_checkpoint", "load_weights", "save_checkpoint"]

FORMAT = "forwardforward-checkpoint-1"


class CheckpointError(RuntimeError):
    """A checkpoint could not be written or read."""


@checked
def save_checkpoint(path: StrPath, content: dict[str, Any]) -> None:
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


@checked
def load_checkpoint(path: StrPath, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a checkpoint, with ``weights_only=True``: no code in it can run.

    Its checksums are compared first, which takes about 0.15 seconds for 100 MB. Every entry is checked: tensors are
    dense, real and finite, and only plain containers and numbers are beside them.

    Args:
        path: The file.
        device: Device of its tensors.

    Returns:
        ``model`` (a plain ``state_dict``), ``optimizer``, ``schedule``, ``epoch`` (epochs done), ``epochs``, ``seed``,
        ``batch_size``, ``settings`` (other settings that determine the result, as text), ``history``, ``finished``
        (False if the evaluation of the last epoch failed), ``first_epoch`` (epochs of earlier calls of ``fit``),
        ``unfinished`` (state of an epoch that is not completed, or None) and ``callbacks`` (their states).

    Raises:
        CheckpointError: If there is no such file, it is incomplete or corrupted, it is not a checkpoint of this
            library, or an entry has another type than :func:`save_checkpoint` writes.
        ValueError: If the device is not available.
    """
    path = Path(path)
    check_device(device)
    if path.is_dir():
        raise CheckpointError(f"path must be that of a checkpoint, got the folder {path}")
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}")
    try:
        with path.open("rb") as file:  # opened once: another process may replace the file between two reads
            corrupted = corrupted_entry(file)
            content = None if corrupted else torch.load(file, map_location=device, weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # a damaged file raises many kinds of errors, such as zlib.error and AttributeError
        raise CheckpointError(f"cannot read the checkpoint {path}: it is incomplete or not a checkpoint") from error
    if corrupted:
        raise CheckpointError(f"cannot read the checkpoint {path}: file is corrupted ({corrupted})")
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a checkpoint of forwardforward")
    require(content, path, "model")
    if reason := wrong_entry(content):
        raise CheckpointError(f"cannot read the checkpoint {path}: {reason}")
    return content


def corrupted_entry(file: BinaryIO) -> str | None:
    """Return why an open file is corrupted, None if its checksums are right; its position is then the start."""
    size = file.seek(0, io.SEEK_END)
    with zipfile.ZipFile(file) as archive:
        # torch does not compress, so that no entry is larger than the file, whatever it declares
        if any(entry.compress_type != zipfile.ZIP_STORED or entry.file_size > size for entry in archive.infolist()):
            return "an entry is compressed or larger than the file"
        if any(entry.external_attr for entry in archive.infolist()):  # torch reads no content of a directory
            return "an entry has the attributes of a file system"
        names = archive.namelist()
        if len(set(names)) < len(names):  # testzip opens entries by name, and would leave one of them out
            return "two entries with one name"
        damaged = archive.testzip()  # torch writes checksums and does not compare them
    file.seek(0)
    return None if damaged is None else f"checksum of {damaged} differs"


@checked
def load_weights(path: StrPath, model: nn.Module) -> nn.Module:
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


def restore_weights(content: dict[str, Any], path: StrPath, model: nn.Module) -> nn.Module:
    """Load a checkpoint's weights into ``model``, all of them or none."""
    check_architecture(content, path, model)
    names = {_without_compilation(name): name for name in model.state_dict()}
    model.load_state_dict({names[_without_compilation(name)]: value for name, value in content["model"].items()})
    return model


def _without_compilation(name: str) -> str:
    """Return the name of a tensor in a module that is not compiled."""
    return name.replace("_orig_mod.", "")


def check_architecture(content: dict[str, Any], path: StrPath, model: nn.Module) -> None:
    """Refuse weights of other names, shapes or dtypes than the model's."""
    saved = {_without_compilation(name): value for name, value in content["model"].items()}
    if isinstance(model, Network):
        if not model.is_set_up:
            raise CheckpointError(
                f"cannot load the checkpoint {path}: the model's shapes are not known yet, "
                "pass input_shape= to the model or call model.setup(shape)"
            )
        if "preprocessing.mean" in saved and not model.preprocessing.is_set_up:
            model.preprocessing.setup(tuple(saved["preprocessing.mean"].shape))
    current = {_without_compilation(name): value for name, value in model.state_dict().items()}
    differences = [f"missing {key}" for key in current if key not in saved]
    differences += [f"unexpected {key}" for key in saved if key not in current]
    differences += [
        f"shape of {key}, {tuple(saved[key].shape)} instead of {tuple(current[key].shape)}"
        for key in current
        if key in saved and current[key].shape != saved[key].shape
    ]
    differences += [
        f"dtype of {key}, {saved[key].dtype} instead of {current[key].dtype}"
        for key in current
        if key in saved and current[key].dtype != saved[key].dtype
    ]
    if differences:
        more = f" and {len(differences) - 1} more" if len(differences) > 1 else ""
        raise CheckpointError(f"the checkpoint {path} does not match the model: {differences[0]}{more}")


def require(content: dict[str, Any], path: StrPath, *names: str) -> None:
    """Refuse a checkpoint without the named entries."""
    missing = [name for name in names if name not in content]
    if missing:
        raise CheckpointError(f"the checkpoint {path} lacks {', '.join(missing)}")
