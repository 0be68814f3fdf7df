"""The folder of a run: the names of its files, and which process may write them."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from forwardforward._utils.files import replacing, sole_process
from forwardforward.saving.folder import is_model_folder

__all__ = ["FILES", "RunFolder"]

#: Names of the files.
FILES = (
    "config.json", "history.jsonl", "checkpoint.pt", "text_encoder.pt", "summary.json", "curves.png", "failure.json",
    "soft_labels.pt",
)  # fmt: skip


class RunFolder:
    """The folder of a run.

    Args:
        path: The folder, which need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        files = [path / name for name in FILES]
        self.config, self.history, self.checkpoint, self.text_encoder, self.summary, *others = files
        self.curves, self.failure, self.soft_labels = others
        self._is_locked = False

    @property
    def resume_command(self) -> str:
        """The command that resumes the run."""
        return f"forwardforward train --resume {shlex.quote(str(self.path))}"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Context manager in which no other process can train in the folder; it can be nested.

        Raises:
            BlockingIOError: If another process trains there.
        """
        if self._is_locked:
            yield
            return
        with sole_process(self.path / ".lock", f"training in {self.path}"):
            self._is_locked = True
            try:
                yield
            finally:
                self._is_locked = False

    def check_free(self) -> None:
        """Check that a run would overwrite nothing in the folder, and that the folder can be made and written to.

        Raises:
            FileExistsError: If the folder contains a run or a file with a name that runs use, or is a file.
            OSError: If the folder cannot be made or written to.
        """
        try:
            existing = next((path for path in (self.path, *self.path.parents) if _exists(path)), Path())
        except OSError as error:  # such as a name that is too long
            raise type(error)(f"{self.path} cannot be a run folder: {error.strerror}") from error
        if not existing.is_dir():
            if existing == self.path:
                raise FileExistsError(f"{self.path} is a file")
            raise NotADirectoryError(f"{self.path} cannot be a run folder: {existing} is not a folder")
        if not os.access(existing, os.W_OK | os.X_OK):
            raise PermissionError(f"{self.path} cannot be a run folder: {existing} cannot be written to")
        taken = [name for name in FILES if (self.path / name).exists()]
        if "config.json" in taken:
            if is_model_folder(self.path):
                raise FileExistsError(f"{self.path} already contains a saved model")
            raise FileExistsError(f"{self.path} already contains a run (resume with: {self.resume_command})")
        if taken:
            raise FileExistsError(f"{self.path} already contains {', '.join(taken)}")

    def check_regular(self) -> None:
        """Check that the files that exist are no folders or pipes.

        Raises:
            ValueError: If one is.
        """
        for name in FILES:
            if (path := self.path / name).exists() and not path.is_file():
                raise ValueError(f"{path} is not a regular file")

    def discard(self) -> None:
        """Remove a run without a checkpoint that no other process trains; other files in the folder are kept."""
        if not self.path.is_dir():
            return
        with contextlib.suppress(BlockingIOError), self.locked():
            if not self.checkpoint.exists():
                for path in (self.history, self.text_encoder, self.soft_labels, self.config):
                    path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # other files are in it
            self.path.rmdir()


def _exists(path: Path) -> bool:
    """Return whether a file or folder exists; of a path that cannot exist, raise the reason."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file, completely or not at all."""
    with replacing(path) as file:
        file.write(json.dumps(content, indent=2) + "\n")
