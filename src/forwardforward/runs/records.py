"""What a run has left in its folder, beside configuration and checkpoint: history, summary and failure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from forwardforward._utils.files import parse_json
from forwardforward.training import History

__all__ = ["read_failure", "read_held_out", "read_history", "read_text"]


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
    try:
        # A process that was killed while writing leaves a last line without its end.
        lines = [line for line in read_text(path).splitlines(keepends=True) if line.endswith("\n")]
        return History([parse_json(line, finite=False) for line in lines])
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is not the history of a run: {error}") from error


def read_held_out(path: Path, epochs: int) -> dict[str, Any] | None:
    """Return the errors in ``summary.json``, by the names that evaluations have; None if there are none.

    Args:
        path: The file.
        epochs: Number of epochs that the summary must be of.

    Raises:
        ValueError: If it is not the summary of a run.
    """
    if not path.exists():
        return None
    try:
        summary = parse_json(read_text(path))
        if summary["epochs"] != epochs:
            return None
        errors, layer_errors = (summary["test_error"], summary["validation_error"]), summary["layer_errors"]
        error = next((float(value) for value in errors if value is not None), None)
        layers = None if layer_errors is None else [float(value) for value in layer_errors]
        return None if error is None else {"error": error, "layer_errors": layers}
    except (ValueError, TypeError, LookupError) as error:
        raise ValueError(f"{path} is not the summary of a run: {error}") from error


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
