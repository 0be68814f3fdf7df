"""Reading of numpy's files, without Python objects, which can contain code."""

from __future__ import annotations

import math
import os
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["is_channels_last", "read_array", "read_arrays"]

HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_arrays(path: Path, *choices: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Return the first of several groups of arrays that an ``.npz`` file contains.

    Args:
        path: The file.
        *choices: Groups of names.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not an ``.npz`` file, it contains none of the groups, or an array cannot be read.
    """
    if not path.is_file():
        raise FileNotFoundError(f"file {path} does not exist")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} must be an .npz file (written by numpy.savez), got another format")
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # zipfile raises many kinds of errors for a corrupted file
        raise ValueError(f"{path} must be an .npz file (written by numpy.savez), got a corrupted file") from error
    with archive:
        members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
        names = next((names for names in choices if set(names) <= set(members)), None)
        if names is None:
            expected = ", or ".join(", ".join(names) for names in choices)
            raise ValueError(f"{path} must contain the arrays {expected}, got {', '.join(members) or 'none'}")
        arrays = {}
        for name in names:
            try:
                file = archive.open(members[name])
            except Exception as error:
                raise _unreadable(f"{path}: {name}") from error
            with file:
                arrays[name] = read_array(f"{path}: {name}", file, members[name].file_size)
        return arrays


def read_array(name: str, file: IO[bytes], size: int) -> NDArray[Any]:
    """Return the array of an open ``.npy`` file.

    Args:
        name: Name of the array, for error messages.
        file: The file, at its beginning.
        size: Its size in bytes.

    Raises:
        ValueError: If the file has another format, is incomplete or contains Python objects, or the array does not fit
            into memory.
    """
    try:
        shape, _, dtype = HEADERS[np.lib.format.read_magic(file)](file)
        available = size - file.tell()
    except Exception as error:  # numpy evaluates the header as an expression, which can fail in many ways
        raise _unreadable(name) from error
    if dtype.hasobject:
        raise ValueError(f"{name} must be an array of numbers or strings, got Python objects, which can contain code")
    needed = math.prod(shape) * dtype.itemsize
    if needed > available:
        raise ValueError(f"{name} is incomplete: its shape {shape} needs {needed:,} bytes, got {available:,}")
    if needed > (memory := _memory()):
        raise ValueError(f"{name} must fit into memory, {memory:,} bytes, got {needed:,} bytes of shape {shape}")
    try:
        file.seek(0)
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))
    except MemoryError as error:
        raise MemoryError(f"{name} does not fit into memory: {error}") from error
    except Exception as error:  # zlib, zipfile and numpy raise many kinds of errors
        raise _unreadable(name) from error


def is_channels_last(shape: tuple[int, ...]) -> bool:
    """Return whether a shape is (N, H, W, C): up to 4 channels, and a height and width above 4."""
    return len(shape) == 4 and shape[3] <= 4 < min(shape[1:3])


def _unreadable(name: str) -> ValueError:
    return ValueError(f"{name} must be an array in numpy's format, got another format or corrupted data")


def _memory() -> float:
    """Return the machine's memory in bytes; infinity where it is unknown."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not on Windows
        return math.inf
