"""Callbacks that write the history to files."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

from forwardforward._utils.arguments import StrPath, checked
from forwardforward._utils.files import replacing
from forwardforward.training.callbacks import Callback, FitState
from forwardforward.training.history import History, numbers_of

__all__ = ["CSVLog", "JSONLog"]


@checked
class JSONLog(Callback):
    """One line of JSON per epoch. On resuming, a log longer than the checkpoint is truncated.

    Args:
        path: The file.

    Example:
        >>> log = JSONLog("history.jsonl")  # fit(..., callbacks=[log])
    """

    main_only = True

    def __init__(self, path: StrPath) -> None:
        self.path = Path(path)

    def on_fit_begin(self, state: FitState) -> None:
        """Write the history so far."""
        state.history.to_jsonl(self.path)

    def on_epoch_end(self, state: FitState) -> None:
        """Add the epoch."""
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(state.history[-1]) + "\n")


@checked
class CSVLog(Callback):
    """One row per epoch, with columns such as ``layers.0.loss``. On resuming, a longer log is truncated.

    Args:
        path: The file.

    Example:
        >>> log = CSVLog("history.csv")  # fit(..., callbacks=[log])
    """

    main_only = True

    def __init__(self, path: StrPath) -> None:
        self.path = Path(path)

    def on_fit_begin(self, state: FitState) -> None:
        """Write the history so far."""
        self._write(state.history)

    def on_epoch_end(self, state: FitState) -> None:
        """Write the whole file: a later epoch may have new columns."""
        self._write(state.history)

    def _write(self, history: History) -> None:
        rows = [dict(numbers_of(record)) for record in history]
        columns = list(dict.fromkeys(name for row in rows for name in row))
        table = io.StringIO(newline="")
        writer = csv.DictWriter(table, columns)
        writer.writeheader()
        writer.writerows(rows)
        with replacing(self.path, "wb") as file:
            file.write(table.getvalue().encode())
