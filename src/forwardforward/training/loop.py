"""The training loop."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from forwardforward._utils.arguments import NonNegativeInt, PositiveFloat, PositiveInt, StrPath, checked
from forwardforward._utils.generators import restored_global_generators
from forwardforward.data.batching import Data, source
from forwardforward.network import Network
from forwardforward.optimizers import LocalOptimizer
from forwardforward.replicas import Replicas
from forwardforward.sequential import FFSequential
from forwardforward.step import MicroBatches, StepResult
from forwardforward.training.arguments import (
    check_checkpoint,
    check_trainable,
    checked_class_names,
    checked_model,
    move_to,
)
from forwardforward.training.callbacks import Callback, FitState
from forwardforward.training.compilation import CompiledStep, check_cuda_graph, step_of
from forwardforward.training.divergence import StopOnDivergence
from forwardforward.training.epoch import check_mixing
from forwardforward.training.evaluation import check_validation
from forwardforward.training.history import History
from forwardforward.training.interruption import interruptible, raise_interruption
from forwardforward.training.members import CompiledMembers, check_replicas, record_validation
from forwardforward.training.parallel import Parallel
from forwardforward.training.precision import AUTOCAST, products_in
from forwardforward.training.preparation import prepare_network
from forwardforward.training.progress import Progress
from forwardforward.training.randomness import seed_global_generators
from forwardforward.training.resuming import Checkpoint, is_resumed_from, restore, save_checkpoints
from forwardforward.training.runner import EpochRunner
from forwardforward.training.settings import described, model_settings
from forwardforward.update_schedules import Joint, Schedule

__all__ = ["fit"]


@checked
@torch.inference_mode(False)
@torch.enable_grad()
def fit(
    model: nn.Module,
    train: Data,
    *,
    validation: Data | None = None,
    epochs: PositiveInt = 10,
    batch_size: PositiveInt = 100,
    micro_batch_size: PositiveInt | None = None,
    optimizer: Annotated[LocalOptimizer | None, "ff.LocalOptimizer(torch.optim.Adam, lr=...)"] = None,
    schedule: Annotated[Schedule | None, "ff.update_schedules.Greedy()"] = None,
    seed: NonNegativeInt = 0,
    device: torch.device | str | None = None,
    precision: Literal["float32", "tf32", "bf16"] = "float32",
    compile: bool = False,
    cuda_graph: bool = False,
    augment: Callable[[Tensor, torch.Generator | None], Tensor] | None = None,
    callbacks: Sequence[Callback] = (),
    progress: bool = True,
    checkpoint: StrPath | None = None,
    checkpoint_minutes: PositiveFloat | None = None,
    resume: bool = False,
    monitor_every: PositiveInt = 17,
    parallel: Annotated[Parallel | None, "ff.distributed.DataParallel(ranks)"] = None,
) -> History:
    """Train a model.

    The same seed gives the same run, and a run that was killed and resumed ends with the same weights as an
    uninterrupted one, bit for bit on the CPU with the same number of threads: the order and the random numbers of each
    epoch depend on the seed and the epoch only. Global generators of torch, ``random`` and ``numpy.random`` are seeded
    in each epoch, and the caller's states are restored. Excluded are data sets, samplers and augmentation that draw
    from their own generators, samplers that draw from a global generator during the epoch, and persistent workers of
    a ``DataLoader``, whose generators are not seeded again.

    A second call for the same model counts epochs from where the first one ended: ``fit(epochs=1)`` in a loop gives
    another order and other negatives in each call. Pass the same ``optimizer`` to keep its state.

    Args:
        model: An :class:`~forwardforward.FFSequential`, a baseline or :class:`~forwardforward.Replicas`.
        train: Raw training data, with targets of the model's kind (:mod:`forwardforward.targets`):
            :class:`~forwardforward.TensorData`, a pair of tensors or arrays, a map-style data
            set, or a ``DataLoader`` (which keeps its own batches and order). Tensors are moved to the device once. If
            the model's preprocessing standardizes and is not fitted yet, it is fitted on these data.
        validation: Labeled data of the same kinds, evaluated after each epoch; not the test set, if anything is chosen
            by it, as :class:`~forwardforward.classifiers.BestInterval` chooses layers; without it, such a classifier
            keeps its choice, at first all layers alike, until :func:`~forwardforward.training.choose_layers` is called.
        epochs: Passes over the training data.
        batch_size: Samples per step. A last batch of one sample joins the batch before it, since some negatives and
            batch statistics need two.
        micro_batch_size: Samples whose gradients are computed at once: gradients are accumulated over the parts of a
            batch, which needs less memory and gives the same result, see :class:`~forwardforward.step.MicroBatches` for
            the two exceptions. Default: the whole batch.
        optimizer: Local optimizers; default: Adam with a learning rate of 0.001.
        schedule: The layers that are updated in each step, see :mod:`forwardforward.update_schedules`; default: all.
        seed: Random seed for shuffling, sampling and augmentation. Weights are initialized by the model: call
            ``torch.manual_seed`` before making it. Replicas have their own seeds.
        device: Device of the training; default: the model's.
        precision: Precision of the products; weights and goodness are in float32. ``"float32"``; ``"tf32"``, which
            rounds factors to 10 bits after the point on GPUs with TF32 units, NVIDIA's since Ampere
            (``torch.set_float32_matmul_precision("high")`` during this call); or ``"bf16"`` for autocast to bfloat16,
            with 7 bits, faster on GPUs and on CPUs with bfloat16 units, and slower on other CPUs.
        compile: Whether to compile the whole training step with ``torch.compile``, see
            :class:`~forwardforward.training.CompiledStep`. That takes 5 to 15 s, once for each set of layers that the
            schedule updates, and pays for trainings of minutes; the step then takes half of the time in small dense
            networks and less gain in large ones, and memory grows with depth. On a CPU, convolutions are faster
            without. Not the default, since a resumed run must take the same form, and rounds differently in the other.
        cuda_graph: Whether to record the whole training step in a CUDA graph, whose kernels start together. On a GPU,
            this is the difference between the time of the kernels and that of the host that starts them, several times
            as long in networks of small layers; together with ``compile``, the kernels are those of the compiler. The
            recording takes a second, once for each set of layers. As with ``compile``, memory grows with depth, and
            results are equal within rounding, but for the random numbers of blocks. A step that waits for the device,
            as ``tensor.item()`` does, cannot be recorded: then one warning is issued, and training continues without.
        augment: Changes the raw images of each training batch, before preprocessing: ``augment(images, generator)``;
            see :mod:`forwardforward.data`. :class:`~forwardforward.data.Mixup` and
            :class:`~forwardforward.data.CutMix` change the targets with them.
        callbacks: Called after each epoch, in order; those that write checkpoints last.
        progress: Whether to show the progress on standard error: a bar in a terminal or notebook, else one line per
            epoch.
        checkpoint: File to write after each epoch, in an existing folder. It is also written if the evaluation of the
            validation data fails, except in a pipeline or with sharded layers, where that needs all processes; a
            resumed run repeats that evaluation first, and then calls the callbacks.
        checkpoint_minutes: Minutes after which ``checkpoint`` is also written within an epoch; default: only after
            epochs. A run that resumes within an epoch draws the batches before from a ``DataLoader`` again, without
            training on them.
        resume: Resume from ``checkpoint``, or start if it does not exist yet. By default, an existing file is refused.
        monitor_every: Number of steps between measurements of the gradient norm, which reads every gradient once. The
            default is a prime, so that the phases of an alternating schedule are measured equally often; the first step
            of each phase in an epoch is always measured.
        parallel: Distribution over several processes, see :mod:`forwardforward.distributed`; default: one process.

    Returns:
        The history; of a resumed run, of all epochs.

    Raises:
        TypeError: If an argument has the wrong kind.
        ValueError: If an argument is out of range, all parameters are frozen, the checkpoint exists and ``resume`` is
            not given, or it belongs to a run with another seed, batch size, schedule, optimizer, precision,
            compilation, number of samples or model. More epochs than before are accepted.
        CheckpointError: If a checkpoint cannot be read or written.
        TrainingDiverged: If a loss is no longer finite or a weight exceeds 2**24; the last checkpoint is from before.

    Example:
        >>> import forwardforward as ff
        >>> model = ff.FFSequential(
        ...     ff.FFLinear(8, 6), goodness=ff.goodness.LearnedProjection(2), loss=ff.losses.CrossEntropy()
        ... )
        >>> history = ff.fit(model, (torch.rand(20, 8), torch.arange(20) % 2), epochs=2, batch_size=5, progress=False)
        >>> len(history)
        2
    """
    network = checked_model(model)
    parallel = Parallel() if parallel is None else parallel
    check_checkpoint(checkpoint, resume, checkpoint_minutes)
    if checkpoint is not None and isinstance(train, DataLoader) and train.persistent_workers:
        warnings.warn(
            "persistent_workers=True keeps the workers' random states between epochs: if the data set draws random "
            "numbers, a resumed run differs from an uninterrupted one",
            stacklevel=2,
        )
    target = move_to(network, parallel.device if device is None else device)
    if cuda_graph:
        check_cuda_graph(target, parallel)
    data = source(train, batch_size, target, network.dtype, network.num_embeddings)
    if data.class_names is not None:
        network.class_names = checked_class_names(network, data.class_names)
    optimizer = LocalOptimizer(torch.optim.Adam, lr=1e-3) if optimizer is None else optimizer
    if micro_batch_size is not None and not isinstance(network, FFSequential):
        raise ValueError(
            f"micro_batch_size must be None for {type(network).__name__}, got {micro_batch_size}: only the steps of an "
            "FFSequential are divided"
        )
    if isinstance(network, Replicas):
        check_replicas(seed, data)
        optimizer = network.local_optimizer(optimizer)
    compared = {
        "precision": precision,
        "compile": compile,
        "micro_batch_size": micro_batch_size,
        "samples": data.samples,
        "optimizer": optimizer,
        "augment": augment,
    }
    state = FitState(
        network,
        optimizer,
        Joint() if schedule is None else schedule,
        History(),
        epochs,
        batch_size,
        seed,
        validates=validation is not None,
        settings={name: described(value) for name, value in compared.items()},
        callbacks=_all_callbacks(callbacks, checkpoint, checkpoint_minutes, parallel),
        first_epoch=network.epochs_trained,
        parallel=parallel,
    )
    # A context of autocast around this call must not change the precision that `precision` names.
    with restored_global_generators(target), torch.autocast(target.type, enabled=False), products_in(precision, target):
        prepare_network(network, data, seed)
        check_trainable(network)
        check_mixing(augment, network)
        optimizer.attach(network)
        if validation is not None:
            check_validation(network, validation)
        unevaluated = None
        resumes = resume and checkpoint is not None and Path(checkpoint).exists()
        parallel.check(network, _settings(state, resumes), data)
        if resumes and checkpoint is not None:
            unevaluated = restore(state, checkpoint, target, data.steps)
            network.epochs_trained = state.first_epoch + len(state.history)
        parallel.begin(network, optimizer, data)
        if validation is not None and state.history and state.history[-1]["validation"] is None:
            _evaluate(state, state.history[-1], validation)
        for callback in state.callbacks:
            callback.on_fit_begin(state)
        step = parallel.step(network, _step(network, data.batch_size, compile, cuda_graph))
        in_parts = step if micro_batch_size is None else partial(step, micro_batches=MicroBatches(micro_batch_size))
        epoch = EpochRunner(state, in_parts, target, AUTOCAST[precision], augment, monitor_every)
        completed = len(state.history) + (unevaluated is not None)
        steps = (data.steps or 0) * completed + (state.unfinished.steps if state.unfinished is not None else 0)
        with Progress(data.steps, epochs, steps, progress and parallel.is_main) as shown:
            if isinstance(step, CompiledStep | CompiledMembers) and step.whole_step is not None:
                step.whole_step.on_compile = partial(shown.show, "compiling the training step")
            # A signal waits for the end of a step, and also after the last one, until the epoch is saved.
            state.running = True
            try:
                if unevaluated is not None:
                    _finish(state, unevaluated, validation, shown)
                while len(state.history) < epochs and not _is_stopped(state):
                    _finish(state, epoch.run(data, shown), validation, shown)
            finally:
                state.running = False
            raise_interruption(state)
        for callback in state.callbacks:
            callback.on_fit_end(state)
    return state.history


def _all_callbacks(
    callbacks: Sequence[Callback], checkpoint: StrPath | None, checkpoint_minutes: float | None, parallel: Parallel
) -> list[Callback]:
    """Return the callbacks of this process in the order of their calls, with those that every training has."""
    for callback in callbacks:
        if callback.needs_all_layers and not parallel.has_all_layers:
            raise ValueError(
                f"callbacks must not contain {type(callback).__name__} with a {type(parallel).__name__}, of which no "
                "process has the weights of all layers"
            )
    all_callbacks = [StopOnDivergence(), *callbacks]
    if checkpoint is not None:
        all_callbacks.append(Checkpoint(checkpoint, minutes=checkpoint_minutes))
    # Checkpoints are written last, so that they contain what the other callbacks change, such as an appended layer;
    # that of the best epoch before those from which a killed run resumes, which would not write it again.
    return sorted(
        (callback for callback in all_callbacks if parallel.is_main or not callback.main_only),
        key=lambda callback: (isinstance(callback, Checkpoint), is_resumed_from(callback)),
    )


def _finish(state: FitState, record: dict[str, Any], validation: Data | None, progress: Progress) -> None:
    """Add a trained epoch to the history, evaluate it, and call the callbacks."""
    state.history.epochs.append(record)
    for callback in state.callbacks:
        callback.on_evaluation_begin(state)
    if validation is not None:
        try:
            with interruptible(state):
                _evaluate(state, record, validation)
        except BaseException:  # also an interruption, since the epoch is not saved yet
            if state.parallel.has_all_layers:  # other processes do not know of the error, and cannot send theirs
                save_checkpoints(state, finished=False)
            raise
    # Callbacks may draw random numbers, such as the weights of a new layer.
    seed_global_generators(state.seed, state.first_epoch + record["epoch"], "callbacks")
    for callback in state.callbacks:
        callback.on_epoch_end(state)
    state.model.epochs_trained = state.first_epoch + len(state.history)
    progress.end_epoch(record)
    raise_interruption(state)


def _is_stopped(state: FitState) -> bool:
    """Return whether a callback of any process has ended the training."""
    state.stop = state.parallel.any_process(state.stop)
    return state.stop


def _settings(state: FitState, resumes: bool) -> dict[str, Any]:
    """Return what must be equal in all processes of a training."""
    settings = {name: getattr(state, name) for name in ("seed", "epochs", "batch_size", "first_epoch", "validates")}
    checkpoint = "an existing file" if resumes else "none"
    callbacks = ", ".join(type(callback).__name__ for callback in state.callbacks if not callback.main_only)
    plugins = {
        "schedule": described(state.schedule),
        "checkpoint to resume from": checkpoint,
        "callbacks": callbacks,
    }
    return {**settings, **plugins, **state.settings, **model_settings(state.model)}


def _evaluate(state: FitState, record: dict[str, Any], validation: Data) -> None:
    """Add the validation data's figures to a record; layers are chosen by them first, if the classifier does so."""
    seed_global_generators(state.seed, state.first_epoch + len(state.history), "validation")
    record_validation(record, state.parallel.evaluate(state.model, validation, choose=True))


def _step(network: Network, batch_size: int | None, compile: bool, cuda_graph: bool) -> Callable[..., StepResult]:
    """Return the function of a training step."""
    if isinstance(network, Replicas) and (compile or cuda_graph):
        return CompiledMembers(network, batch_size, compile, cuda_graph)
    return step_of(network, batch_size, compile, cuda_graph)
