"""The training loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from forwardforward._utils.checks import check_whole
from forwardforward.data.batching import Data, Source, source
from forwardforward.network import Network
from forwardforward.optimizers import LocalOptimizer
from forwardforward.optimizers.local import check_optimizer
from forwardforward.preprocessing import to_float
from forwardforward.step import StepResult, check_groups
from forwardforward.training.arguments import (
    check_checkpoint,
    check_schedule,
    checked_callbacks,
    checked_class_names,
    checked_model,
    move_to,
)
from forwardforward.training.callbacks import Callback, Checkpoint, FitState, StopOnNaN
from forwardforward.training.checkpoints import check_architecture, load_checkpoint, require, restore_weights
from forwardforward.training.compilation import CompiledStep
from forwardforward.training.evaluation import check_validation, choose_layers, evaluate
from forwardforward.training.history import History
from forwardforward.training.meters import EpochMeter
from forwardforward.training.randomness import derive_generator, derive_seed
from forwardforward.training.settings import described, differences, model_settings
from forwardforward.update_schedules import Group, Joint, Schedule

__all__ = ["fit"]

PRECISIONS = {"float32": None, "bf16": torch.bfloat16}


def fit(
    model: nn.Module,
    train: Data,
    *,
    validation: Data | None = None,
    epochs: int = 10,
    batch_size: int = 100,
    optimizer: LocalOptimizer | None = None,
    schedule: Schedule | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
    precision: str = "float32",
    compile: bool = False,
    augment: Callable[[Tensor, torch.Generator | None], Tensor] | None = None,
    callbacks: Sequence[Callback] = (),
    progress: bool = True,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    monitor_every: int = 17,
) -> History:
    """Train a model.

    The same seed gives the same run, and a run that was killed and resumed ends with the same weights as an
    uninterrupted one, bit for bit on the CPU with the same number of threads: the order and the random numbers of each
    epoch depend on the seed and the epoch only. The caller's random state is restored.

    Args:
        model: An :class:`~forwardforward.FFSequential` or a baseline.
        train: Raw training data: :class:`~forwardforward.TensorData`, a pair of tensors or arrays, a map-style data
            set, or a ``DataLoader`` (which keeps its own batches and order). Tensors are moved to the device once. If
            the model's preprocessing standardizes and is not fitted yet, it is fitted on these data.
        validation: Labeled data of the same kinds, evaluated after each epoch; not the test set, if anything is chosen
            by it, as :class:`~forwardforward.classifiers.BestInterval` chooses layers.
        epochs: Passes over the training data.
        batch_size: Samples per step. A last batch of one sample joins the batch before it, since some negatives and
            batch statistics need two.
        optimizer: Local optimizers; default: Adam with a learning rate of 0.001.
        schedule: The layers that are updated in each step, see :mod:`forwardforward.update_schedules`; default: all.
        seed: Random seed for shuffling, sampling and augmentation. Weights are initialized by the model: call
            ``torch.manual_seed`` before making it.
        device: Device of the training; default: the model's.
        precision: ``"float32"``, or ``"bf16"`` for products in bfloat16 with weights and goodness in float32.
        compile: Whether to compile the training step with ``torch.compile``, see
            :class:`~forwardforward.training.CompiledStep`.
        augment: Changes the raw images of each training batch, before preprocessing: ``augment(images, generator)``;
            see :mod:`forwardforward.data`.
        callbacks: Called after each epoch, in order; those that write checkpoints last.
        progress: Whether to show a progress bar on standard error.
        checkpoint: File to write after each epoch, in an existing folder. It is also written if the evaluation of the
            validation data fails; a resumed run repeats that evaluation first, and then calls the callbacks.
        resume: Resume from ``checkpoint``, or start if it does not exist yet. By default, an existing file is refused.
        monitor_every: Number of steps between measurements of the gradient norm, which reads every gradient once. The
            default is a prime, so that the phases of an alternating schedule are measured equally often; the first step
            of each phase in an epoch is always measured.

    Returns:
        The history; of a resumed run, of all epochs.

    Raises:
        TypeError: If an argument has the wrong kind.
        ValueError: If an argument is out of range, the checkpoint exists and ``resume`` is not given, or it belongs to
            a run with another seed, batch size, schedule, optimizer, precision, number of samples or model. More epochs
            than before are accepted.
        CheckpointError: If a checkpoint cannot be read or written.
        TrainingDiverged: If a loss is no longer finite; the last checkpoint is from before.

    Example:
        >>> import forwardforward as ff
        >>> model = ff.FFSequential(
        ...     ff.FFLinear(8, 6), goodness=ff.goodness.LearnedProjection(2), loss=ff.losses.CrossEntropy()
        ... )
        >>> history = ff.fit(model, (torch.rand(20, 8), torch.arange(20) % 2), epochs=2, batch_size=5, progress=False)
        >>> len(history)
        2
    """
    with torch.inference_mode(False), torch.enable_grad():
        return _fit(**locals())


def _fit(
    model: nn.Module,
    train: Data,
    validation: Data | None,
    epochs: int,
    batch_size: int,
    optimizer: LocalOptimizer | None,
    schedule: Schedule | None,
    seed: int,
    device: torch.device | str | None,
    precision: str,
    compile: bool,
    augment: Callable[[Tensor, torch.Generator | None], Tensor] | None,
    callbacks: Sequence[Callback],
    progress: bool,
    checkpoint: str | Path | None,
    resume: bool,
    monitor_every: int,
) -> History:
    epochs, batch_size = check_whole("epochs", epochs, 1), check_whole("batch_size", batch_size, 1)
    seed, monitor_every = check_whole("seed", seed), check_whole("monitor_every", monitor_every, 1)
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    optimizer = LocalOptimizer(torch.optim.Adam, lr=1e-3) if optimizer is None else optimizer
    schedule = Joint() if schedule is None else schedule
    network = checked_model(model)
    check_optimizer(optimizer)
    check_schedule(schedule)
    callbacks = checked_callbacks(callbacks)
    check_checkpoint(checkpoint, resume)
    target = move_to(network, device)
    data = source(train, batch_size, target, network.dtype, network.num_embeddings)
    if data.class_names is not None:
        network.class_names = checked_class_names(network, data.class_names)
    compared = {"precision": precision, "samples": data.samples, "optimizer": optimizer, "augment": augment}
    state = FitState(
        network,
        optimizer,
        schedule,
        History(),
        epochs,
        batch_size,
        seed,
        validates=validation is not None,
        settings={name: described(value) for name, value in compared.items()},
    )
    # Checkpoints are written last, so that they contain what the other callbacks change, such as an appended layer.
    all_callbacks = [StopOnNaN(), *callbacks, *([Checkpoint(checkpoint)] if checkpoint is not None else [])]
    all_callbacks.sort(key=lambda callback: isinstance(callback, Checkpoint))
    cuda = [target] if target.type == "cuda" else []
    # A context of autocast around this call must not change the precision that `precision` names.
    with torch.random.fork_rng(devices=cuda), torch.autocast(target.type, enabled=False):
        _prepare(state, data)
        if validation is not None:
            check_validation(network, validation)
        unfinished = None
        if resume and checkpoint is not None and Path(checkpoint).exists():
            unfinished = _restore(state, all_callbacks, checkpoint, target)
            if validation is not None and state.history and state.history[-1]["validation"] is None:
                state.history[-1]["validation"] = _evaluated(network, validation)
        for callback in all_callbacks:
            callback.on_fit_begin(state)
        step = CompiledStep(network) if compile else network.step
        total = None if data.steps is None else data.steps * epochs
        trained = len(state.history) + (unfinished is not None)
        with tqdm(total=total, initial=(data.steps or 0) * trained, disable=not progress) as bar:
            if unfinished is not None:
                _finish(state, unfinished, validation, all_callbacks, bar)
            while len(state.history) < epochs and not state.stop:
                epoch = _Epoch(state, step, target, PRECISIONS[precision], augment, all_callbacks, monitor_every)
                _finish(state, epoch.run(data, bar), validation, all_callbacks, bar)
        for callback in all_callbacks:
            callback.on_fit_end(state)
    return state.history


def _prepare(state: FitState, data: Source) -> None:
    """Fit the preprocessing and set up shapes on the training data, and attach the optimizer."""
    model = state.model
    if not model.is_set_up:  # first, so that weights are drawn from the caller's random state
        model.prepare(data.some()[0], validate=False)
    # Labels and indices are checked here and by the source, so that no step waits for the device.
    data.check_labels(model.num_classes, warn_of_absent=model.uses_negatives and model.layers_classify)
    if model.preprocessing.needs_fit:
        torch.manual_seed(derive_seed(state.seed, 0, "preprocessing"))  # data sets may draw random numbers
        order = derive_generator(state.seed, 0, "preprocessing")
        model.preprocessing.fit(images for images, _ in data.batches(order))
    state.optimizer.attach(model)


def _finish(
    state: FitState, record: dict[str, Any], validation: Data | None, callbacks: Sequence[Callback], bar: Any
) -> None:
    """Add a trained epoch to the history, evaluate it, and call the callbacks."""
    state.history.epochs.append(record)
    if validation is not None:
        try:
            record["validation"] = _evaluated(state.model, validation)
        except Exception:
            _keep(state, callbacks)
            raise
        bar.set_postfix_str(f"validation error {record['validation']['error']:.2f} %")
    # Callbacks may draw random numbers, such as the weights of a new layer.
    torch.manual_seed(derive_seed(state.seed, record["epoch"], "callbacks"))
    for callback in callbacks:
        callback.on_epoch_end(state)


def _keep(state: FitState, callbacks: Sequence[Callback]) -> None:
    """Write an epoch whose evaluation failed, so that it is not lost, unless it diverged."""
    StopOnNaN().on_epoch_end(state)
    for callback in callbacks:
        if isinstance(callback, Checkpoint):
            callback.write(state, finished=False)


def _evaluated(model: Network, validation: Data) -> dict[str, Any]:
    """Return the record of the validation data; layers are chosen by them first, if the classifier chooses layers."""
    choose_layers(model, validation)
    return evaluate(model, validation).to_dict()


class _Epoch:
    """One epoch of a training."""

    def __init__(
        self,
        state: FitState,
        step: Callable[..., StepResult],
        device: torch.device,
        autocast: torch.dtype | None,
        augment: Callable[[Tensor, torch.Generator | None], Tensor] | None,
        callbacks: Sequence[Callback],
        monitor_every: int,
    ) -> None:
        self.state = state
        self.step = step
        self.device = device
        self.autocast = autocast
        self.augment = augment
        self.callbacks = callbacks
        self.monitor_every = monitor_every

    def run(self, data: Source, bar: Any) -> dict[str, Any]:
        """Train for one epoch, and return its record."""
        # Every generator is derived from (seed, epoch, purpose), and none from earlier draws: a run that resumes at
        # this epoch has the same order, negatives, augmentation and dropout as one that was never interrupted.
        state, epoch = self.state, len(self.state.history)
        torch.manual_seed(derive_seed(state.seed, epoch, "torch"))  # dropout and the like
        negatives = derive_generator(state.seed, epoch, "negatives", self.device)
        augmentation = derive_generator(state.seed, epoch, "augmentation", self.device)
        order = derive_generator(state.seed, epoch, "order")
        self._set_progress((epoch + 0.5) / state.epochs)
        bar.set_description(f"epoch {epoch + 1}/{state.epochs}")
        meter, depth = EpochMeter(), len(state.model)
        phases: set[tuple[Group, ...]] = set()  # those whose gradients were measured
        state.model.train()
        start = time.perf_counter()
        for index, (images, labels) in enumerate(data.batches(order)):
            groups = check_groups(state.schedule(depth, epoch, index, state.epochs), depth)
            monitor = index % self.monitor_every == 0 or tuple(groups) not in phases
            phases.add(tuple(groups))
            result = self.step(
                (images if self.augment is None else self.augment(_floating(images), augmentation), labels),
                state.optimizer,
                groups=groups,
                generator=negatives,
                autocast=self.autocast,
                monitor=monitor,
                # the source has checked all values, but not the indices that an augmentation returns
                validate=self.augment is not None and state.model.num_embeddings is not None,
            )
            meter.update(result)
            for callback in self.callbacks:
                callback.on_step_end(state, result)
            bar.update()
        return {
            "epoch": epoch + 1,
            "seconds": time.perf_counter() - start,
            "layers": [self._layer_record(meter, index) for index in range(depth)],
            "head": meter.head(),
            "validation": None,
        }

    def _set_progress(self, progress: float) -> None:
        for plugin in (self.state.optimizer, *self.state.model.modules()):
            if isinstance(plugin, HasProgress):
                plugin.set_progress(progress)

    def _layer_record(self, meter: EpochMeter, index: int) -> dict[str, Any] | None:
        record = meter.layer(index)
        if record is not None:
            record["largest_weight"] = _largest_weight(self.state.model.layers[index])
            record["learning_rate"] = self.state.optimizer.learning_rates().get(str(index))
        return record


@runtime_checkable
class HasProgress(Protocol):
    """A plug-in that depends on the progress of the training, such as a threshold with a schedule."""

    def set_progress(self, progress: float) -> None:
        """Set the progress, from 0 to 1."""
        ...


def _floating(images: Tensor) -> Tensor:
    return to_float(images) if images.dtype == torch.uint8 else images


def _largest_weight(layer: nn.Module) -> float | None:
    sizes = [p.detach().abs().max() for p in layer.parameters() if p.numel()]
    return float(torch.stack(sizes).max()) if sizes else None


def _restore(
    state: FitState, callbacks: Sequence[Callback], path: str | Path, device: torch.device
) -> dict[str, Any] | None:
    """Load a checkpoint's weights, optimizer state and history, and return an epoch that was not evaluated.

    Everything that determines the result is compared first: a checkpoint of another run would load without an error and
    continue as a mixture of both.
    """
    content = load_checkpoint(path, device)
    require(content, path, "seed", "batch_size", "schedule", "settings", "optimizer", "history")
    records = content["history"]
    unfinished = None if content.get("finished", True) else records.pop()
    for callback in callbacks:
        callback.on_restore(state, History(records))
    check_architecture(content, path, state.model)
    current = {"seed": state.seed, "batch_size": state.batch_size, "schedule": described(state.schedule)}
    saved = {**{name: content[name] for name in current}, **content["settings"]}
    current |= {**state.settings, **model_settings(state.model)}
    for name, (before, after) in differences(saved, current).items():
        raise ValueError(f"{name} must be that of the checkpoint {path}, {before}, got {after}")
    restore_weights(content, path, state.model)
    state.optimizer.load_state_dict(content["optimizer"])
    state.history.epochs.extend(records)
    return unfinished
