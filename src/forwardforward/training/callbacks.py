"""Callbacks: what happens between epochs."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from forwardforward._utils.checks import check_whole
from forwardforward.optimizers import LocalOptimizer
from forwardforward.training.checkpoints import save_checkpoint
from forwardforward.training.history import History
from forwardforward.training.settings import described
from forwardforward.update_schedules import Schedule

__all__ = ["CSVLog", "Callback", "Checkpoint", "EarlyStopping", "FitState", "JSONLog", "StopOnNaN", "TrainingDiverged"]


class TrainingDiverged(ArithmeticError):  # noqa: N818 - says what happened, as KeyboardInterrupt does
    """A loss or weight became NaN or infinite."""


@dataclass
class FitState:
    """What a callback sees.

    Attributes:
        model: The model.
        optimizer: Its local optimizers.
        schedule: Which layers are updated when.
        history: The epochs so far.
        epochs: How many there shall be.
        batch_size: Samples a batch.
        seed: The run's seed.
        stop: Set it to end the training after this epoch.
        validates: Whether there are validation data.
        settings: What else decides the run's result, in words: optimizer, model, precision, number of samples.
    """

    model: nn.Module
    optimizer: LocalOptimizer
    schedule: Schedule
    history: History
    epochs: int
    batch_size: int
    seed: int
    stop: bool = False
    validates: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)


class Callback:
    """Base of the callbacks; every method may be left out."""

    def on_fit_begin(self, state: FitState) -> None:
        """Called once, before the first epoch, and again on resuming, with the history so far."""

    def on_epoch_end(self, state: FitState) -> None:
        """Called after each epoch; ``state.history[-1]`` is its record."""

    def on_fit_end(self, state: FitState) -> None:
        """Called once, after the last epoch."""


class StopOnNaN(Callback):
    """End the training with a clear error once a loss or weight is no longer finite; part of every ``fit``."""

    def on_epoch_end(self, state: FitState) -> None:
        """Look through the epoch's record."""
        for name, value in _numbers(state.history[-1]):
            if not math.isfinite(value):
                raise TrainingDiverged(
                    f"training diverged in epoch {state.history[-1]['epoch']}: {name} is {value}; "
                    "a smaller learning rate or a normalization in front of the layer may help"
                )


class JSONLog(Callback):
    """One line of JSON an epoch. On resuming, a log longer than the checkpoint is cut back.

    Args:
        path: The file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def on_fit_begin(self, state: FitState) -> None:
        """Write what the history holds."""
        state.history.to_jsonl(self.path)

    def on_epoch_end(self, state: FitState) -> None:
        """Add the epoch."""
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(state.history[-1]) + "\n")


class CSVLog(Callback):
    """One row an epoch, with columns such as ``layers.0.loss``. On resuming, a longer log is cut back.

    Args:
        path: The file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def on_fit_begin(self, state: FitState) -> None:
        """Write what the history holds."""
        self._write(state.history)

    def on_epoch_end(self, state: FitState) -> None:
        """Write anew: a later epoch may bring columns that an earlier one had not."""
        self._write(state.history)

    def _write(self, history: History) -> None:
        rows = [dict(_numbers(record)) for record in history]
        columns = list(dict.fromkeys(name for row in rows for name in row))
        with open(self.path, "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)


class Checkpoint(Callback):
    """Write a checkpoint after every ``every``-th epoch and after the last, which may be that of an early stop.

    Args:
        path: The file; the last good one stands there whatever happens.
        every: Epochs between two checkpoints.

    Raises:
        ValueError: If ``every`` is below 1.
    """

    def __init__(self, path: str | Path, every: int = 1) -> None:
        self.path = Path(path)
        self.every = check_whole("every", every, 1)
        self._written = 0

    def on_fit_begin(self, state: FitState) -> None:
        """Forget what an earlier training wrote."""
        self._written = 0

    def on_epoch_end(self, state: FitState) -> None:
        """Write, if it is time."""
        if len(state.history) % self.every == 0:
            self.write(state)

    def on_fit_end(self, state: FitState) -> None:
        """Write the last epoch, if that has not been done."""
        if len(state.history) != self._written:
            self.write(state)

    def write(self, state: FitState) -> None:
        """Write the state as it is."""
        save_checkpoint(self.path, checkpoint_content(state))
        self._written = len(state.history)


def checkpoint_content(state: FitState) -> dict[str, Any]:
    """Return what a run needs to go on from here."""
    return {
        "model": state.model.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "schedule": described(state.schedule),
        "epoch": len(state.history),
        "epochs": state.epochs,
        "batch_size": state.batch_size,
        "seed": state.seed,
        "settings": dict(state.settings),
        "history": state.history.epochs,
    }


class EarlyStopping(Callback):
    """End the training when the validation error has not improved for a number of epochs.

    It reads the history alone, so a run that had stopped is not trained on when it is resumed.

    Args:
        patience: How many epochs without a new best are tolerated.

    Raises:
        ValueError: If ``patience`` is below 1 or, in ``fit``, if there are no validation data.
    """

    def __init__(self, patience: int) -> None:
        self.patience = check_whole("patience", patience, 1)

    def on_fit_begin(self, state: FitState) -> None:
        """Ask for validation data, and look at the epochs that a resumed run has behind it."""
        if not state.validates:
            raise ValueError("validation must be given to fit for EarlyStopping: a test set is not for choices")
        self.on_epoch_end(state)

    def on_epoch_end(self, state: FitState) -> None:
        """Compare the last epochs with the best before them."""
        records = [record["validation"] for record in state.history]
        errors = [math.inf if record is None else record["error"] for record in records]
        if errors:
            state.stop |= len(errors) - 1 - errors.index(min(errors)) >= self.patience


def _numbers(record: Any, prefix: str = "") -> Iterator[tuple[str, float]]:
    """Go through the numbers of a record, with dotted names."""
    if isinstance(record, dict):
        items = [(str(key), value) for key, value in record.items()]
    elif isinstance(record, (list, tuple)):
        items = [(str(i), value) for i, value in enumerate(record)]
    else:
        if isinstance(record, (int, float)):
            yield prefix, record
        return
    for key, value in items:
        yield from _numbers(value, f"{prefix}.{key}" if prefix else key)
