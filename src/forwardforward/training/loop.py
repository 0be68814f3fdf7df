"""The training loop."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from forwardforward._utils.checks import check_whole
from forwardforward.optimizers import LocalOptimizer
from forwardforward.training.arguments import (
    check_checkpoint,
    check_model,
    check_optimizer,
    check_schedule,
    checked_callbacks,
    dtype_of,
    placed,
)
from forwardforward.training.callbacks import Callback, Checkpoint, FitState, StopOnNaN
from forwardforward.training.checkpoints import check_architecture, load_checkpoint, require, restore_weights
from forwardforward.training.compilation import Compiled
from forwardforward.training.evaluation import check_validation, choose_layers, evaluate
from forwardforward.training.history import History
from forwardforward.training.meters import EpochMeter
from forwardforward.training.randomness import derive_generator, derive_seed
from forwardforward.training.settings import described, first_difference, model_settings
from forwardforward.training.sources import Data, Source, source
from forwardforward.update_schedules import Joint, Schedule

__all__ = ["fit"]

PRECISIONS = {"float32": None, "bf16": torch.bfloat16}
MONITOR_EVERY = 16  # steps between measurements of the gradient norm, which reads every gradient once


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
) -> History:
    """Train a model.

    The same seed gives the same run, and a run that was killed and resumed ends with the same weights as one left
    alone, bit for bit on the CPU with the same number of threads: each epoch's order and draws depend on the seed and
    the epoch alone. The caller's random state is left as it was.

    Args:
        model: An :class:`~forwardforward.FFSequential`, a baseline, or any module with ``step``, ``units``,
            ``layers`` and a length, its number of layers.
        train: :class:`~forwardforward.data.TensorData`, a pair of tensors, a map-style dataset, or a ``DataLoader``
            (which keeps its own batches and order). Tensors are moved to the device once; floating inputs are read
            in the type of the model's weights.
        validation: Labelled data of the same kinds, tried before the first epoch and measured after each; never the
            test set, if anything is chosen by it, as :class:`~forwardforward.classifiers.BestInterval` chooses layers.
        epochs: Passes over the training data.
        batch_size: Samples a step. A last batch of one sample joins the batch before it, since some negatives and
            batch statistics need two.
        optimizer: Local optimizers; Adam with a learning rate of 0.001 unless given.
        schedule: Which layers are updated when, see :mod:`forwardforward.update_schedules`; all of them in each step unless
            given.
        seed: Decides order and draws. Weights are the model's own: call ``torch.manual_seed`` before making it.
        device: Where to train; where the model is unless given.
        precision: ``"float32"``, or ``"bf16"`` for products in bfloat16 with weights and goodness in float32.
        compile: Whether ``torch.compile`` compiles what the layers run in a step, see
            :class:`~forwardforward.training.Compiled`: minutes at the start, and faster steps. Training goes on
            without, and a warning says so, where the compiler fails.
        augment: Changes the images of each training batch, as ``augment(images, generator)``; see
            :mod:`forwardforward.data`.
        callbacks: Called after each epoch, in order.
        progress: Whether to show a progress bar on standard error.
        checkpoint: File to write after each epoch, in a folder that exists. It is written too where measuring the
            validation data fails; resumed, the run measures them before it goes on.
        resume: Go on from ``checkpoint``, or from the start where it does not exist yet. Without it, a file that
            exists is refused.

    Returns:
        The history, of all epochs where the run was resumed.

    Raises:
        TypeError: If an argument is of another kind than it must be.
        ValueError: If an argument is out of range, the checkpoint exists and ``resume`` is not given, or it is of a
            run with another seed, batch size, schedule, optimizer, precision, number of samples or model. More
            epochs than before may be given.
        CheckpointError: If a checkpoint cannot be read or written.
        TrainingDiverged: If a loss is no longer finite; the last checkpoint is from before.
    """
    epochs, batch_size = check_whole("epochs", epochs, 1), check_whole("batch_size", batch_size, 1)
    seed = check_whole("seed", seed)
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    optimizer = LocalOptimizer(torch.optim.Adam, lr=1e-3) if optimizer is None else optimizer
    schedule = Joint() if schedule is None else schedule
    check_model(model, "step", "parameter_groups", "layers", "__len__")
    check_optimizer(optimizer)
    check_schedule(schedule)
    callbacks = checked_callbacks(callbacks)
    check_checkpoint(checkpoint, resume)
    place = placed(model, device)
    data = source(train, batch_size, place, dtype_of(model))
    optimizer.attach(model)  # type: ignore[arg-type]
    decisive = {"precision": precision, "samples": data.samples, "optimizer": optimizer, "augment": augment}
    settings = {**{name: described(one) for name, one in decisive.items()}, **model_settings(model)}
    state = FitState(
        model,
        optimizer,
        schedule,
        History(),
        epochs,
        batch_size,
        seed,
        validates=validation is not None,
        settings=settings,
    )
    every = [StopOnNaN(), *([Checkpoint(checkpoint)] if checkpoint is not None else []), *callbacks]
    steps = Compiled(model) if compile else contextlib.nullcontext()
    cuda = [place] if place.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        if validation is not None:
            check_validation(model, validation)
        if resume and checkpoint is not None and Path(checkpoint).exists():
            _restore(state, checkpoint, place)
            if validation is not None and state.history and state.history[-1]["validation"] is None:
                state.history[-1]["validation"] = _measured(model, validation)
        for callback in every:
            callback.on_fit_begin(state)
        total = None if data.steps is None else data.steps * epochs
        with tqdm(total=total, initial=(data.steps or 0) * len(state.history), disable=not progress) as bar:
            while len(state.history) < epochs and not state.stop:
                with steps:
                    record = _epoch(state, data, place, PRECISIONS[precision], augment, bar)
                state.history.epochs.append(record)
                if validation is not None:
                    try:
                        record["validation"] = _measured(model, validation)
                    except Exception:
                        _keep(state, every)
                        raise
                    bar.set_postfix_str(f"validation error {record['validation']['error']:.2f} %")
                for callback in every:
                    callback.on_epoch_end(state)
        for callback in every:
            callback.on_fit_end(state)
    return state.history


def _keep(state: FitState, callbacks: Sequence[Callback]) -> None:
    """Write an epoch that could not be measured, so that it is not lost, unless it diverged."""
    StopOnNaN().on_epoch_end(state)
    for one in callbacks:
        if isinstance(one, Checkpoint):
            one.write(state)


def _measured(model: nn.Module, validation: Data) -> dict[str, Any]:
    """Return what an epoch's record says of the validation data, by which layers are chosen first."""
    choose_layers(model, validation)
    return evaluate(model, validation).to_dict()


def _epoch(
    state: FitState,
    data: Source,
    device: torch.device,
    autocast: torch.dtype | None,
    augment: Callable[[Tensor, torch.Generator | None], Tensor] | None,
    bar: Any,
) -> dict[str, Any]:
    """Run one epoch and return its record."""
    model: Any = state.model
    epoch = len(state.history)
    torch.manual_seed(derive_seed(state.seed, epoch, "torch"))  # dropout and the like
    generator = derive_generator(state.seed, epoch, "negatives", device)
    augmentation = derive_generator(state.seed, epoch, "augmentation", device)
    for plugin in (state.optimizer, *model.modules()):
        if hasattr(plugin, "set_progress"):
            plugin.set_progress((epoch + 0.5) / state.epochs)
    bar.set_description(f"epoch {epoch + 1}/{state.epochs}")
    meter = EpochMeter()
    depth = len(model)
    model.train()
    began = time.perf_counter()
    for step, (images, labels) in enumerate(data.batches(derive_generator(state.seed, epoch, "order"))):
        result = model.step(
            (images if augment is None else augment(images, augmentation), labels),
            state.optimizer,
            groups=state.schedule(depth, epoch, step, state.epochs),
            generator=generator,
            autocast=autocast,
            monitor=step % MONITOR_EVERY == 0,
        )
        meter.update(result)
        bar.update()
    layers = [meter.layer(i) for i in range(depth)]
    rates = state.optimizer.learning_rates()
    for i, layer in enumerate(layers):
        if layer is not None:
            layer["largest_weight"] = _largest(model.layers[i])
            layer["learning_rate"] = rates.get(str(i))
    return {
        "epoch": epoch + 1,
        "seconds": time.perf_counter() - began,
        "layers": layers,
        "head": meter.head(),
        "validation": None,
    }


def _largest(layer: nn.Module) -> float | None:
    sizes = [p.detach().abs().max() for p in layer.parameters() if p.numel()]
    return float(torch.stack(sizes).max()) if sizes else None


def _restore(state: FitState, path: str | Path, device: torch.device) -> None:
    """Take over a checkpoint's weights, optimizer state and history."""
    content = load_checkpoint(path, device)
    require(content, path, "seed", "batch_size", "schedule", "settings", "optimizer", "history")
    check_architecture(content, path, state.model)
    own = {"seed": state.seed, "batch_size": state.batch_size, "schedule": described(state.schedule)}
    kept = {**{name: content[name] for name in own}, **content["settings"]}
    own |= state.settings
    if (name := first_difference(kept, own)) is not None:
        raise ValueError(f"{name} must be that of the checkpoint {path}, {kept.get(name)}, got {own.get(name)}")
    restore_weights(content, path, state.model)
    state.optimizer.load_state_dict(content["optimizer"])
    state.history.epochs.extend(content["history"])
