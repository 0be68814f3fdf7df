"""The steps of an epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from forwardforward._utils.plugins import calling
from forwardforward._utils.training_progress import set_progress
from forwardforward.data.augmentation import mixes_targets
from forwardforward.data.batching import Pair, Source
from forwardforward.preprocessing import to_float
from forwardforward.step import StepResult, check_groups
from forwardforward.training.activity import chance_error, dead_units, weight_changes, weight_samples
from forwardforward.training.callbacks import FitState
from forwardforward.training.epoch import EpochState
from forwardforward.training.interruption import interruption, raise_interruption
from forwardforward.training.members import new_epoch
from forwardforward.training.progress import Progress
from forwardforward.update_schedules import Group

__all__ = ["EpochRunner"]


class EpochRunner:
    """Runs the steps of epochs.

    Args:
        state: The state of the training.
        step: The function of a step.
        device: Device of the training.
        autocast: Compute precision; None for that of the weights.
        augment: Changes the raw images of each batch, or None.
        monitor_every: Number of steps between measurements of the gradient norm.
    """

    def __init__(
        self,
        state: FitState,
        step: Callable[..., StepResult],
        device: torch.device,
        autocast: torch.dtype | None,
        augment: Callable[[Tensor, torch.Generator | None], Tensor] | None,
        monitor_every: int,
    ) -> None:
        self.state = state
        self.step = step
        self.device = device
        self.autocast = autocast
        self.augment = augment
        self.monitor_every = monitor_every
        self.group_names: dict[tuple[Group, ...], str] = {}

    def run(self, data: Source, progress: Progress) -> dict[str, Any]:
        """Train for one epoch, or for the rest of an unfinished one, and return its record."""
        state, epoch = self.state, len(self.state.history)
        if state.unfinished is None:
            state.unfinished = new_epoch(state.model, state.seed, state.first_epoch + epoch, self.device)
            state.unfinished.weights = weight_samples(state.model)
        running = state.unfinished
        set_progress((state.optimizer, *state.model.modules()), (epoch + 0.5) / state.epochs)
        state.model.train()
        progress.begin_epoch(epoch)
        for callback in state.callbacks:
            callback.on_epoch_begin(state)
        remaining = None if data.steps is None else data.steps - running.steps
        for batch in self._until_interrupted(state.parallel.ahead(running.batches(data), remaining)):
            result = self._step(running, epoch, *batch)
            for callback in state.callbacks:
                callback.on_step_end(state, result)
            progress.update(result)
        raise_interruption(state)
        state.unfinished = None
        record = {
            "epoch": epoch + 1,
            "seconds": running.seconds,
            "steps": running.steps,
            "chance_error": chance_error(state.model, data),
            **running.record(state.model, state.optimizer),
        }
        dead = dead_units(state.model, data, state.parallel.layer_runner())
        changes = weight_changes(running.weights, weight_samples(state.model))
        for index, layer in enumerate(record["layers"]):
            if layer is not None:
                layer["dead_units"] = None if dead is None else dead.get(index)
                layer["weight_change"] = changes.get(index)
        if record["head"] is not None and state.model.head is None:  # of a baseline
            record["head"]["weight_change"] = max(changes.values(), default=None)
        return state.parallel.record({**record, "validation": None})

    def _until_interrupted(self, batches: Iterator[Pair]) -> Iterator[Pair]:
        state = self.state
        while not state.parallel.any_process_before("stop", state.interruption is not None):
            try:
                batch = next(batches)
            except StopIteration:
                return
            except RuntimeError:
                if state.interruption is None:  # Ctrl-C ends the workers of a loader too
                    raise
                return
            yield batch
        interruption(state)

    def _step(self, running: EpochState, epoch: int, images: Tensor, labels: Tensor | None) -> StepResult:
        state, depth = self.state, len(self.state.model)
        with calling("schedule", state.schedule, "(depth, epoch, step, epochs) -> groups", names_parts=True):
            groups = check_groups(state.schedule(depth, epoch, running.steps, state.epochs), depth)
        name = self.group_names.get(tuple(groups))
        if name is None:
            name = self.group_names[tuple(groups)] = str(groups)
        monitor = running.steps % self.monitor_every == 0 or name not in running.measured
        running.measured.add(name)
        # Other processes of a pipeline need the augmented targets, but not the inputs.
        if self.augment is not None and (state.parallel.reads_inputs or mixes_targets(self.augment)):
            images, labels = running.augmented((_floating(images), labels), self.augment, state.model)
        for callback in state.callbacks:
            callback.on_step_begin(state, images, labels)
        result = self.step(
            (images, labels),
            state.optimizer,
            groups=groups,
            **running.draws(),
            autocast=self.autocast,
            monitor=monitor,
            # the source has checked all values, but not the indices that an augmentation returns
            validate=self.augment is not None and state.model.num_embeddings is not None,
        )
        running.meter.update(result)
        running.steps += 1
        return result


def _floating(images: Tensor) -> Tensor:
    return to_float(images) if images.dtype == torch.uint8 else images
