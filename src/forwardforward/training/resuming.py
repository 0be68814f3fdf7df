"""Checkpoints of a training: what they contain, when they are written, and how a run resumes from them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeGuard

import torch

from forwardforward._utils.arguments import PositiveFloat, PositiveInt, StrPath, checked
from forwardforward.step import StepResult
from forwardforward.training.callbacks import Callback, FitState
from forwardforward.training.checkpoints import (
    CheckpointError,
    check_architecture,
    load_checkpoint,
    require,
    restore_weights,
    save_checkpoint,
)
from forwardforward.training.divergence import check_convergence
from forwardforward.training.epoch import EpochState
from forwardforward.training.history import History
from forwardforward.training.members import new_epoch
from forwardforward.training.monitors import Mode, Monitor
from forwardforward.training.settings import described, differences, model_settings

__all__ = ["Checkpoint", "is_resumed_from", "restore", "save_checkpoints"]


@checked
class Checkpoint(Callback):
    """Write a checkpoint after every ``every``-th epoch and at the end, and within epochs every ``minutes``.

    With ``monitor``, a checkpoint is written after each epoch that is better than all before, so that the file contains
    the best weights; ``load_weights(path, model)`` loads them. A run resumes from the file of another checkpoint, such
    as that of ``fit(checkpoint=...)``.

    Args:
        path: The file; it always contains the last complete checkpoint.
        every: Number of epochs between two checkpoints.
        minutes: Minutes after which a checkpoint is written within an epoch; default: only between epochs.
        monitor: Name of a figure in the :class:`History`, with dots, such as ``"validation.error"``: write only after
            epochs with a new best value. Default: see ``every``.
        mode: Whether the lowest, ``"min"``, or the highest value, ``"max"``, is the best; default: the lowest of losses
            and errors, the highest of accuracies and separations.

    Raises:
        ValueError: If ``every`` is below 1 or ``minutes`` not positive, if one of them is given with ``monitor``, if
            ``mode`` is None for another figure than those, or, in ``fit``, if there are no validation data for a figure
            of them, or no figure of the name.

    Example:
        >>> checkpoint = Checkpoint("run.pt", every=5)  # fit(..., callbacks=[checkpoint])
        >>> best = Checkpoint("best.pt", monitor="validation.error")
    """

    def __init__(
        self,
        path: StrPath,
        every: PositiveInt = 1,
        minutes: PositiveFloat | None = None,
        monitor: str | None = None,
        mode: Mode | None = None,
    ) -> None:
        if monitor is not None and (every != 1 or minutes is not None):
            raise ValueError(f"every and minutes must be left out with monitor, got every={every}, minutes={minutes}")
        self.path = Path(path)
        self.every = every
        self.minutes = minutes
        self.monitor = None if monitor is None else Monitor(monitor, mode)
        self._last_time = 0.0

    def on_fit_begin(self, state: FitState) -> None:
        """Start the clock, and check that the monitored figure will exist."""
        if self.monitor is not None:
            self.monitor.check(state.validates, "Checkpoint")
        self._last_time = time.monotonic()

    def on_step_end(self, state: FitState, result: StepResult) -> None:
        """Write, if the time has come."""
        if self.minutes is not None:
            is_due = time.monotonic() - self._last_time >= 60 * self.minutes
            if state.parallel.any_process_before("checkpoint", is_due and state.parallel.is_main):
                self.write(state)

    def on_epoch_end(self, state: FitState) -> None:
        """Write, if an epoch is due or better than all before."""
        if self.monitor is not None:
            due = self.monitor.best_epoch(state.history) == len(state.history)
        else:
            due = len(state.history) % self.every == 0
        if due:
            self.write(state)

    def on_fit_end(self, state: FitState) -> None:
        """Write what the other callbacks have left, such as the best weights."""
        if self.monitor is None:
            self.write(state)

    def write(self, state: FitState, finished: bool = True) -> None:
        """Write the current state, also of an unfinished epoch.

        Args:
            state: The state.
            finished: Whether the last epoch was evaluated and the callbacks were called; a resumed run does it first
                otherwise.

        Raises:
            TrainingDiverged: If an unfinished epoch has diverged; the file from before is kept.
        """
        unfinished = state.unfinished
        if unfinished is not None:
            check_convergence(state.model, unfinished.meter.means(), len(state.history) + 1)
        model, optimizer = state.parallel.states(state.model, state.optimizer)
        epoch = None if unfinished is None else state.parallel.epoch_state(unfinished.state_dict())
        self._last_time = time.monotonic()
        if not state.parallel.is_main:
            return
        content = {
            "model": model,
            "optimizer": optimizer,
            "schedule": described(state.schedule),
            "epoch": len(state.history),
            "epochs": state.epochs,
            "first_epoch": state.first_epoch,
            "batch_size": state.batch_size,
            "seed": state.seed,
            "settings": {**state.settings, **model_settings(state.model)},
            "history": state.history.epochs,
            "finished": finished,
            "unfinished": epoch,
            "callbacks": [[type(c).__name__, saved] for c in state.callbacks if (saved := c.state_dict())],
        }
        save_checkpoint(self.path, content)


def save_checkpoints(state: FitState, finished: bool = True) -> None:
    """Write all checkpoints, unless the training diverged."""
    if state.unfinished is None and state.history:
        check_convergence(state.model, state.history[-1], len(state.history))
    for callback in state.callbacks:
        if is_resumed_from(callback):
            callback.write(state, finished)


def is_resumed_from(callback: Callback) -> TypeGuard[Checkpoint]:
    """Return whether a callback writes checkpoints to resume from, and not only that of the best epoch."""
    return isinstance(callback, Checkpoint) and callback.monitor is None


def restore(state: FitState, path: StrPath, device: torch.device, steps: int | None) -> dict[str, Any] | None:
    """Load a checkpoint into the state, and return the record of an epoch that was not evaluated, if there is one.

    Everything that determines the result is compared first: a checkpoint of another run would load without an error and
    continue as a mixture of both.

    Args:
        state: The state of the training.
        path: The checkpoint.
        device: Device of the training.
        steps: Number of steps of an epoch, None if it is unknown.

    Raises:
        CheckpointError: If the file cannot be read or does not match the model.
        ValueError: If it belongs to a run with other settings.
    """
    content = load_checkpoint(path, device)
    require(content, path, "seed", "batch_size", "schedule", "settings", "optimizer", "history")
    records = content["history"]
    begun = len(records) + (content.get("unfinished") is not None)
    if state.epochs < begun:
        raise ValueError(f"epochs must be at least {begun}, which the checkpoint {path} has begun, got {state.epochs}")
    unevaluated = None if content.get("finished", True) or not records else records.pop()
    for callback in state.callbacks:
        callback.on_restore(state, History(records))
    check_architecture(content, path, state.model)
    current = {"seed": state.seed, "batch_size": state.batch_size, "schedule": described(state.schedule)}
    saved = {**{name: content[name] for name in current}, **content["settings"]}
    current |= {**state.settings, **model_settings(state.model)}
    for name, (before, after) in differences(saved, current).items():
        raise ValueError(f"{name} must be that of the checkpoint {path}, {before}, got {after}")
    unfinished: EpochState | None = None
    states = _states_of_callbacks(state.callbacks, content.get("callbacks", []), path)
    first_epoch = content.get("first_epoch", 0)
    try:
        if content.get("unfinished") is not None:
            unfinished = new_epoch(state.model, state.seed, first_epoch + len(records), device)
            unfinished.load_state_dict(content["unfinished"])
            if steps is not None and unfinished.steps > steps:
                raise ValueError(f"unfinished.steps must be at most {steps}, got {unfinished.steps}")
        state.optimizer.load_state_dict(content["optimizer"])
    except ValueError as error:
        raise CheckpointError(f"cannot resume from the checkpoint {path}: {error}") from error
    except Exception as error:  # entries of the wrong structure raise many kinds of errors
        raise CheckpointError(f"cannot resume from the checkpoint {path}: {error!r}") from error
    restore_weights(content, path, state.model)
    for callback, saved_state in zip(state.callbacks, states, strict=True):
        callback.load_state_dict(saved_state)
    state.first_epoch = first_epoch
    state.unfinished = unfinished
    state.resumed = True
    state.history.epochs.extend(records)
    return unevaluated


def _states_of_callbacks(
    callbacks: Sequence[Callback], saved: list[tuple[str, dict[str, Any]]], path: StrPath
) -> list[dict[str, Any]]:
    """Return the saved state of each callback, those of equal classes in order; empty if there is none."""
    remaining = list(saved)
    states: list[dict[str, Any]] = []
    for callback in callbacks:
        entry = next((entry for entry in remaining if entry[0] == type(callback).__name__), None)
        if entry is not None:
            remaining.remove(entry)
        states.append({} if entry is None else entry[1])
    if remaining:
        raise ValueError(f"callbacks must contain a {remaining[0][0]}, as those of the checkpoint {path} did")
    return states
