"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str], mode: str = "w") -> Iterator[IO[Any]]:
    """Open a file beside ``path`` that takes its place when the block ends well, and is removed when it does not.

    What is written is forced to the disk first, so that a kill or a power failure leaves the old file or the new one.

    Args:
        path: The file; its folder must exist.
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
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make the move itself durable, where the system lets one open a folder."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
