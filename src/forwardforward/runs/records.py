"""What a run has left in its folder, beside configuration, checkpoint and summary: history and failure."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from forwardforward._utils.files import parse_json
from forwardforward.training import History

__all__ = ["naming_history", "read_failure", "read_history", "read_text"]


def read_text(path: Path) -> str:
    """Return the content of a file.

    Raises:
        ValueError: If it is not UTF-8 text, or a folder or pipe.
    """
    if not path.is_file():
        raise ValueError(f"{path} is not a regular file")
    return path.read_text(encoding="utf-8")


def read_history(path: Path) -> History:
    """Return the history of ``history.jsonl``, without the epoch that a killed process was writing.

    Args:
        path: The file.

    Raises:
        ValueError: If it is not the history of a run.
    """
    with naming_history(path):
        # A process that was killed while writing leaves a last line without its end.
        lines = [line for line in read_text(path).splitlines(keepends=True) if line.endswith("\n")]
        return History([parse_json(line, finite=False) for line in lines])


@contextlib.contextmanager
def naming_history(path: Path) -> Iterator[None]:
    """Context manager whose errors name the file of a history that cannot be used.

    Args:
        path: The file.

    Raises:
        ValueError: If the history is not that of a run.
    """
    try:
        yield
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ValueError(f"{path} is not the history of a run: {error}") from error


def read_failure(path: Path) -> str | None:
    """Return the message in ``failure.json``, None if there is no such file.

    Args:
        path: The file.

    Raises:
        ValueError: If it does not contain one.
    """
    if not path.exists():
        return None
    try:
        message = parse_json(read_text(path))["error"]
        if not isinstance(message, str):
            raise TypeError(f"error must be a string, got {message!r}")
        return message
    except (ValueError, TypeError, LookupError) as error:
        raise ValueError(f"{path} does not describe a failure: {error}") from error
