"""Callbacks, called between epochs."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from forwardforward._utils.checks import check_whole
from forwardforward.network import Network
from forwardforward.optimizers import LocalOptimizer
from forwardforward.sequential import FFSequential
from forwardforward.step import StepResult
from forwardforward.training.checkpoints import save_checkpoint
from forwardforward.training.history import History
from forwardforward.training.settings import described, model_settings
from forwardforward.update_schedules import Schedule

__all__ = [
    "CSVLog",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "FitState",
    "GrowNetwork",
    "JSONLog",
    "StopOnNaN",
    "TrainingDiverged",
]


class TrainingDiverged(ArithmeticError):  # noqa: N818 - named as KeyboardInterrupt is
    """A loss or weight became NaN or infinite."""


@dataclass
class FitState:
    """The state of a training, as callbacks see it.

    Attributes:
        model: The network.
        optimizer: Its local optimizers.
        schedule: The update schedule.
        history: The epochs so far.
        epochs: Total number of epochs.
        batch_size: Samples per batch.
        seed: The run's seed.
        stop: Set it to end the training after this epoch.
        validates: Whether there are validation data.
        settings: Other settings that determine the result, as text: optimizer, precision, number of samples.

    Example:
        >>> class StopAtOnePercent(Callback):
        ...     def on_epoch_end(self, state):
        ...         state.stop = state.history[-1]["validation"]["error"] < 1
    """

    model: Network
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
    """Base of the callbacks; every method is optional.

    Example:
        >>> class PrintLoss(Callback):
        ...     def on_epoch_end(self, state):
        ...         print(state.history[-1]["layers"][0]["loss"])
    """

    def on_restore(self, state: FitState, history: History) -> None:
        """Called before a checkpoint is loaded: change the model to the architecture that it had at that time.

        Args:
            state: The state, before the checkpoint is loaded.
            history: The epochs after which the callbacks were called before the checkpoint was written.
        """

    def on_fit_begin(self, state: FitState) -> None:
        """Called once, before the first epoch, and again on resuming, with the history so far."""

    def on_step_end(self, state: FitState, result: StepResult) -> None:
        """Called after each step.

        Args:
            state: The state.
            result: Figures of the step, on the device; gradient norms in the steps that monitor them.
        """

    def on_epoch_end(self, state: FitState) -> None:
        """Called after each epoch; ``state.history[-1]`` is its record."""

    def on_fit_end(self, state: FitState) -> None:
        """Called once, after the last epoch."""


class StopOnNaN(Callback):
    """End the training with an error when a loss or weight is no longer finite; part of every ``fit``.

    Raises:
        TrainingDiverged: After the epoch, if one of its figures is NaN or infinite.

    Example:
        >>> stop = StopOnNaN()  # fit(..., callbacks=[stop]) adds nothing to fit(...)
    """

    def on_epoch_end(self, state: FitState) -> None:
        """Check the epoch's record."""
        for name, value in _numbers(state.history[-1]):
            if not math.isfinite(value):
                raise TrainingDiverged(
                    f"training diverged in epoch {state.history[-1]['epoch']}: {name} is {value}; "
                    "a smaller learning rate or a normalization of the layer's input may help"
                )


class JSONLog(Callback):
    """One line of JSON per epoch. On resuming, a log longer than the checkpoint is truncated.

    Args:
        path: The file.

    Example:
        >>> log = JSONLog("history.jsonl")  # fit(..., callbacks=[log])
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def on_fit_begin(self, state: FitState) -> None:
        """Write the history so far."""
        state.history.to_jsonl(self.path)

    def on_epoch_end(self, state: FitState) -> None:
        """Add the epoch."""
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(state.history[-1]) + "\n")


class CSVLog(Callback):
    """One row per epoch, with columns such as ``layers.0.loss``. On resuming, a longer log is truncated.

    Args:
        path: The file.

    Example:
        >>> log = CSVLog("history.csv")  # fit(..., callbacks=[log])
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def on_fit_begin(self, state: FitState) -> None:
        """Write the history so far."""
        self._write(state.history)

    def on_epoch_end(self, state: FitState) -> None:
        """Write the whole file: a later epoch may have new columns."""
        self._write(state.history)

    def _write(self, history: History) -> None:
        rows = [dict(_numbers(record)) for record in history]
        columns = list(dict.fromkeys(name for row in rows for name in row))
        with open(self.path, "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)


class Checkpoint(Callback):
    """Write a checkpoint after every ``every``-th epoch and after the last one.

    Args:
        path: The file; it always contains the last complete checkpoint.
        every: Number of epochs between two checkpoints.

    Raises:
        ValueError: If ``every`` is below 1.

    Example:
        >>> checkpoint = Checkpoint("run.pt", every=5)  # fit(..., callbacks=[checkpoint])
    """

    def __init__(self, path: str | Path, every: int = 1) -> None:
        self.path = Path(path)
        self.every = check_whole("every", every, 1)
        self._written = 0

    def on_fit_begin(self, state: FitState) -> None:
        """Reset the count of written epochs."""
        self._written = 0

    def on_epoch_end(self, state: FitState) -> None:
        """Write, if an epoch is due."""
        if len(state.history) % self.every == 0:
            self.write(state)

    def on_fit_end(self, state: FitState) -> None:
        """Write the last epoch, if it has not been written."""
        if len(state.history) != self._written:
            self.write(state)

    def write(self, state: FitState, finished: bool = True) -> None:
        """Write the current state.

        Args:
            state: The state.
            finished: Whether the last epoch was evaluated and the callbacks were called; a resumed run does it first
                otherwise.
        """
        save_checkpoint(self.path, {**checkpoint_content(state), "finished": finished})
        self._written = len(state.history)


def checkpoint_content(state: FitState) -> dict[str, Any]:
    """Return everything that is needed to resume the run."""
    return {
        "model": state.model.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "schedule": described(state.schedule),
        "epoch": len(state.history),
        "epochs": state.epochs,
        "batch_size": state.batch_size,
        "seed": state.seed,
        "settings": {**state.settings, **model_settings(state.model)},
        "history": state.history.epochs,
    }


class EarlyStopping(Callback):
    """End the training when the validation error has not improved for a number of epochs.

    It depends on the history only, so a run that had stopped is not trained further when it is resumed.

    Args:
        patience: Number of epochs without a new best after which training ends.

    Raises:
        ValueError: If ``patience`` is below 1 or, in ``fit``, if there are no validation data.

    Example:
        >>> stop = EarlyStopping(patience=5)  # fit(..., validation=..., callbacks=[stop])
    """

    def __init__(self, patience: int) -> None:
        self.patience = check_whole("patience", patience, 1)

    def on_fit_begin(self, state: FitState) -> None:
        """Check that there are validation data, and the epochs of a resumed run."""
        if not state.validates:
            raise ValueError("validation must be given to fit for EarlyStopping: choices must not use the test set")
        self.on_epoch_end(state)

    def on_epoch_end(self, state: FitState) -> None:
        """Compare the last epochs with the best before them."""
        records = [record["validation"] for record in state.history]
        errors = [math.inf if record is None else record["error"] for record in records]
        if errors:
            state.stop |= len(errors) - 1 - errors.index(min(errors)) >= self.patience


class GrowNetwork(Callback):
    """Append layers to a network while it trains.

    The condition depends on the history only, so that a resumed run grows the network to the size that it had.

    Args:
        layer: Makes a new layer, ``layer(depth)`` with the current number of layers.
        condition: ``condition(history) -> bool``, evaluated after each epoch: whether to append a layer.

    Example:
        >>> import forwardforward as ff
        >>> grow = GrowNetwork(lambda depth: ff.FFLinear(100, 100), condition=lambda history: len(history) == 5)
    """

    def __init__(self, layer: Callable[[int], nn.Module], condition: Callable[[History], bool]) -> None:
        self.layer = layer
        self.condition = condition

    def on_restore(self, state: FitState, history: History) -> None:
        """Append the layers that the model had when the checkpoint was written, and does not have yet."""
        depth = len(history[-1]["layers"]) + bool(self.condition(history)) if len(history) else 0
        while len(state.model) < depth:
            self._append(state)

    def on_epoch_end(self, state: FitState) -> None:
        """Append a layer if the condition is met."""
        if self.condition(state.history):
            self._append(state)

    def _append(self, state: FitState) -> None:
        if not isinstance(state.model, FFSequential):
            raise TypeError(f"model must be an FFSequential to grow, got {type(state.model).__name__}")
        state.model.append(self.layer(len(state.model)))
        state.optimizer.attach(state.model)


def _numbers(record: Any, prefix: str = "") -> Iterator[tuple[str, float]]:
    """Iterate over the numbers of a record, with dotted names."""
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
