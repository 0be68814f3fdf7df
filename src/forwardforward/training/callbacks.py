"""Callbacks, called between steps and epochs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from forwardforward._utils.arguments import PositiveInt, checked
from forwardforward._utils.plugins import calling
from forwardforward.network import Network
from forwardforward.optimizers import LocalOptimizer
from forwardforward.replicas import Replicas
from forwardforward.sequential import FFSequential
from forwardforward.specs import Plugin
from forwardforward.step import StepResult
from forwardforward.training.epoch import EpochState
from forwardforward.training.history import History
from forwardforward.training.monitors import Mode, Monitor
from forwardforward.training.parallel import Parallel
from forwardforward.training.randomness import seed_global_generators
from forwardforward.update_schedules import Schedule

__all__ = ["Callback", "EarlyStopping", "FitState", "GrowNetwork"]


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
        stop: Set it to end the training after this epoch, in any of several processes.
        validates: Whether there are validation data.
        settings: Other settings that determine the result, as text: optimizer, precision, number of samples.
        callbacks: All callbacks, in the order in which they are called.
        first_epoch: Number of epochs that the model was trained for by earlier calls of ``fit``.
        unfinished: The state of an epoch whose steps are not completed, None between epochs.
        resumed: Whether the training continues that of a checkpoint.
        running: Whether steps or callbacks are running, and not an evaluation or the preparation.
        interruption: Set it to end the training after this step, in any of several processes: checkpoints are
            written, and it is raised.
        parallel: How the training is distributed over processes.

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
    callbacks: Sequence[Callback] = ()
    first_epoch: int = 0
    unfinished: EpochState | None = None
    resumed: bool = False
    running: bool = False
    interruption: BaseException | None = None
    parallel: Parallel = field(default_factory=Parallel)

    @property
    def steps(self) -> int:
        """Number of steps so far, those before a resumption too."""
        completed = sum(record["steps"] for record in self.history)
        return int(completed) + (0 if self.unfinished is None else self.unfinished.steps)


class Callback(Plugin):
    """Base of the callbacks; every method is optional.

    Attributes:
        main_only: Whether the callback is called in the main process only, if several processes train together, such
            as one that writes a file. Others must do the same in every process, but ``stop`` and ``interruption`` of
            one process end the training of all.
        needs_all_layers: Whether the callback reads or changes the weights of all layers, which no process of a
            pipeline has.

    Example:
        >>> class PrintLoss(Callback):
        ...     def on_epoch_end(self, state):
        ...         print(state.history[-1]["layers"][0]["loss"])
    """

    main_only: bool = False
    needs_all_layers: bool = False

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs: tensors, numbers, strings and containers of them; default: nothing."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state of :meth:`state_dict`, before :meth:`on_fit_begin`.

        Args:
            state: The state; empty if the checkpoint has none.
        """

    def on_restore(self, state: FitState, history: History) -> None:
        """Called before a checkpoint is loaded: change the model to the architecture that it had at that time.

        Args:
            state: The state, before the checkpoint is loaded.
            history: The epochs after which the callbacks were called before the checkpoint was written.
        """

    def on_fit_begin(self, state: FitState) -> None:
        """Called once, before the first epoch, and again on resuming, with the history so far."""

    def on_epoch_begin(self, state: FitState) -> None:
        """Called before the first step of each epoch, and before the next one of an epoch that is resumed."""

    def on_step_begin(self, state: FitState, images: Tensor, labels: Tensor | None) -> None:
        """Called before each step.

        Args:
            state: The state.
            images: The step's raw inputs after augmentation, on the device.
            labels: Their labels, None if there are none.
        """

    def on_evaluation_begin(self, state: FitState) -> None:
        """Called after the steps of each epoch, before its validation, also if there are no validation data."""

    def on_step_end(self, state: FitState, result: StepResult) -> None:
        """Called after each step; without ``compile``, ``grad`` of the parameters is the step's gradient.

        Args:
            state: The state.
            result: Figures of the step, on the device; gradient norms in the steps that monitor them.
        """

    def on_epoch_end(self, state: FitState) -> None:
        """Called after each epoch; ``state.history[-1]`` is its record."""

    def on_fit_end(self, state: FitState) -> None:
        """Called once, after the last epoch."""


@checked
class EarlyStopping(Callback):
    """End the training when a figure has not improved for a number of epochs, and restore the best weights.

    The model ends with the weights of the first epoch with the best value, also if the last epoch is reached. If the
    network grows, they are those of the best epoch since then. A run that had stopped is not trained further when it is
    resumed; with a larger ``patience`` it continues from the weights of its last epoch.

    Args:
        patience: Number of epochs without a new best after which training ends.
        monitor: Name of the figure in the :class:`History`, with dots, such as ``"layers.0.loss"``; default: the error
            on the validation data.
        mode: Whether the lowest, ``"min"``, or the highest value, ``"max"``, is the best; default: the lowest of losses
            and errors, the highest of accuracies and separations.

    Attributes:
        best_epoch: The epoch whose weights were restored, from 1; None before the first epoch.

    Raises:
        ValueError: If ``patience`` is below 1, if ``mode`` is None for another figure than those, such as
            ``"layers.0.positive"``, or, in ``fit``, if there are no validation data for a figure of them, or no figure
            of the name.

    Example:
        >>> stop = EarlyStopping(patience=5)  # fit(..., validation=..., callbacks=[stop])
    """

    needs_all_layers = True

    def __init__(self, patience: PositiveInt, monitor: str = "validation.error", mode: Mode | None = None) -> None:
        self.patience = patience
        self.monitor = Monitor(monitor, mode)
        self.best_epoch: int | None = None
        self._best: dict[str, Tensor] = {}
        self._last: dict[str, Tensor] = {}  # weights of the last epoch, after the best ones were restored

    def state_dict(self) -> dict[str, Any]:
        """Return the best weights and, after the training, those of the last epoch."""
        return {"best_epoch": self.best_epoch, "best": self._best, "last": self._last}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the weights."""
        self.best_epoch = state.get("best_epoch")
        self._best, self._last = dict(state.get("best", {})), dict(state.get("last", {}))

    def on_fit_begin(self, state: FitState) -> None:
        """Check that there are validation data, and the epochs of a resumed run."""
        self.monitor.check(state.validates, "EarlyStopping")
        if not len(state.history):
            self.load_state_dict({})
        if self._last:
            state.model.load_state_dict(self._last)
            self._last = {}
        state.stop |= self._is_over(state.history)

    def on_epoch_end(self, state: FitState) -> None:
        """Store the weights of a new best epoch, and compare the last epochs with the best before them."""
        current = state.model.state_dict()
        if self.monitor.best_epoch(state.history) == len(state.history) or not _same_shapes(current, self._best):
            self.best_epoch = len(state.history)
            self._best = {name: value.detach().clone() for name, value in current.items()}
        state.stop |= self._is_over(state.history)

    def on_fit_end(self, state: FitState) -> None:
        """Restore the best weights."""
        current = state.model.state_dict()
        if _same_shapes(current, self._best):
            self._last = {name: value.detach().clone() for name, value in current.items()}
            state.model.load_state_dict(self._best)

    def _is_over(self, history: History) -> bool:
        return len(history) - self.monitor.best_epoch(history) >= self.patience


def _same_shapes(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return {name: value.shape for name, value in a.items()} == {name: value.shape for name, value in b.items()}


@checked
class GrowNetwork(Callback):
    """Append layers to a network while it trains.

    The condition depends on the history only, so that a resumed run grows the network to the size that it had.
    :class:`~forwardforward.Replicas` grow together, by the means in the history; each member's new layer has the
    weights that it would have in a training by itself.

    Args:
        layer: Makes a new layer, ``layer(depth)`` with the current number of layers.
        condition: ``condition(history) -> bool``, evaluated after each epoch: whether to append a layer.

    Example:
        >>> import forwardforward as ff
        >>> grow = GrowNetwork(lambda depth: ff.FFLinear(100, 100), condition=lambda history: len(history) == 5)
    """

    needs_all_layers = True

    def __init__(self, layer: Callable[[int], nn.Module], condition: Callable[[History], bool]) -> None:
        self.layer = layer
        self.condition = condition

    def on_restore(self, state: FitState, history: History) -> None:
        """Append the layers that the model had when the checkpoint was written, and does not have yet."""
        depth = len(history[-1]["layers"]) + self._is_met(history) if len(history) else 0
        while len(state.model) < depth:
            self._append(state)

    def on_epoch_end(self, state: FitState) -> None:
        """Append a layer if the condition is met."""
        if self._is_met(state.history):
            self._append(state)

    def _is_met(self, history: History) -> bool:
        with calling("condition", self.condition, "history -> bool"):
            return bool(self.condition(history))

    def _append(self, state: FitState) -> None:
        model, depth = state.model, len(state.model)
        if isinstance(model, Replicas):
            model.append(self._layer_of_seed(state, seed, depth) for seed in model.seeds)
        elif isinstance(model, FFSequential):
            model.append(self._new_layer(depth))
        else:
            raise TypeError(f"model must be an FFSequential or Replicas to grow, got {type(model).__name__}")
        state.optimizer.attach(model)

    def _layer_of_seed(self, state: FitState, seed: int, depth: int) -> nn.Module:
        """Return the new layer of one member, with the weights that a training by itself would give it."""
        seed_global_generators(seed, state.first_epoch + len(state.history), "callbacks")
        return self._new_layer(depth)

    def _new_layer(self, depth: int) -> nn.Module:
        with calling("layer", self.layer, "depth -> layer"):
            return self.layer(depth)
