"""Atomic writing of files."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str], mode: str = "w") -> Iterator[IO[Any]]:
    """Context manager that opens a temporary file, which replaces ``path`` on success and is removed on an error.

    The content is synced to the disk before, so that a kill or a power failure leaves either the old or the new file.

    Args:
        path: The file to replace; its folder must exist.
        mode: ``"w"`` for text in UTF-8, or ``"wb"``.

    Raises:
        OSError: If the disk is full or the folder cannot be written to.
    """
    path = Path(path)
    part = path.with_name(f"{path.name}.part")
    try:
        with open(part, mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
        _sync_folder(path.parent)
    except OSError as error:
        if error.filename != str(part):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error  # the message names the user's file
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Sync the replacement itself to the disk, on systems that can open a folder."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
