"""The module for Lightning's Trainer."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar, cast

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.utils.data import DataLoader

from forwardforward._utils.arguments import NonNegativeInt, checked
from forwardforward._utils.generators import global_state, restored_global_generators, set_global_state
from forwardforward._utils.plugins import calling
from forwardforward._utils.training_progress import set_progress
from forwardforward.data.batching import Pair, class_names_of, generators_of, pair_of, source
from forwardforward.lightning.optimizer import TrainerOptimizer
from forwardforward.network import Network
from forwardforward.optimizers import LocalOptimizer
from forwardforward.preprocessing import to_tensor
from forwardforward.replicas import Replicas
from forwardforward.step import StepResult, check_groups
from forwardforward.training.arguments import check_trainable, checked_class_names, checked_model
from forwardforward.training.compilation import check_cuda_graph, step_of
from forwardforward.training.epoch import EpochState
from forwardforward.training.evaluation import choose_layers, counts_of
from forwardforward.training.preparation import is_prepared, prepare_network
from forwardforward.training.trackers import scalars_of
from forwardforward.update_schedules import Joint, Schedule

__all__ = ["FFModule"]

F = TypeVar("F", bound=Callable[..., None])

#: Compute precision (autocast dtype) by the Trainer's precision; others are refused.
PRECISIONS = {"32-true": None, "64-true": None, "bf16-mixed": torch.bfloat16}

#: Key of the module's state in a Trainer's checkpoint.
KEY = "forwardforward"


def _asking_for_model(init: F) -> F:
    """Return the constructor with an error that states how a checkpoint is loaded: Lightning does it by this call."""

    @functools.wraps(init)
    def call(self: object, *args: Any, **kwargs: Any) -> None:
        if not args and "model" not in kwargs:
            raise TypeError(
                "model must be given, a network of the same architecture: FFModule(model), or "
                "FFModule.load_from_checkpoint(path, model=model)"
            )
        init(self, *args, **kwargs)

    return cast(F, call)


class FFModule(LightningModule):  # type: ignore[misc]
    """A module for Lightning's ``Trainer`` that trains a network with its local step.

    Every batch is one step of the network, as in :func:`~forwardforward.fit`: with the same batches and seed, the
    weights are the same. Lightning does not compute gradients (``automatic_optimization`` is False); a batch counts as
    one of the Trainer's steps, and its checkpoints contain the network, the local optimizers and the random state.

    The Trainer's loaders yield ``(images, labels)``. After each epoch, the figures of the
    :class:`~forwardforward.training.History` are logged by names with slashes: ``layers/0/loss``,
    ``layers/0/separation``, ``head/accuracy`` and, of validation and test data, ``validation/error``,
    ``validation/layer_errors/0``, ``test/error``; of several loaders each with a suffix, ``/dataloader_idx_0``.
    ``trainer.predict`` returns the predictions of each batch.

    Args:
        model: The network. Shapes that are not known yet, the statistics of a preprocessing that standardizes and the
            scaling of real-valued targets are taken from the training data.
        optimizer: Local optimizers; default: Adam with a learning rate of 0.001.
        schedule: The layers that are updated in each step; default: all.
        seed: Random seed for sampling. Weights, shuffling and augmentation follow torch's global generator:
            ``lightning.seed_everything``.
        compile: Whether to compile the training step, see :func:`~forwardforward.fit`.
        cuda_graph: Whether to record the training step in a CUDA graph, likewise.

    Raises:
        TypeError: If an argument has the wrong kind.
        ValueError: If the model is :class:`~forwardforward.Replicas`. In ``Trainer.fit``, if ``cuda_graph`` is True on
            another device than a GPU, or the Trainer has several devices or another precision than ``"32-true"``,
            ``"64-true"`` and ``"bf16-mixed"``.

    Example:
        >>> import forwardforward as ff, lightning
        >>> model = ff.FFSequential(
        ...     ff.FFLinear(8, 6), goodness=ff.goodness.LearnedProjection(2), loss=ff.losses.CrossEntropy()
        ... )
        >>> module = FFModule(model, ff.LocalOptimizer(torch.optim.Adam, lr=0.01))
        >>> module.automatic_optimization
        False
    """

    @_asking_for_model
    @checked
    def __init__(
        self,
        model: nn.Module,
        optimizer: Annotated[LocalOptimizer | None, "ff.LocalOptimizer(torch.optim.Adam, lr=...)"] = None,
        *,
        schedule: Annotated[Schedule | None, "ff.update_schedules.Greedy()"] = None,
        seed: NonNegativeInt = 0,
        compile: bool = False,
        cuda_graph: bool = False,
    ) -> None:
        super().__init__()
        self.model: Network = checked_model(model)
        if isinstance(self.model, Replicas):
            raise ValueError("model must be a network for a Trainer, got Replicas: train them by ff.fit")
        self.automatic_optimization = False
        self.local_optimizer = LocalOptimizer(torch.optim.Adam, lr=1e-3) if optimizer is None else optimizer
        self.schedule: Schedule = Joint() if schedule is None else schedule
        self.seed = seed
        self.compile_step = compile
        self.cuda_graph = cuda_graph
        self._step: Callable[..., StepResult] = self.model.step
        self._first_epoch = 0
        self._epoch: EpochState | None = None
        self._restored: dict[str, Any] | None = None
        self._counts: Any = None  # of the loader that is read
        self._lengths: list[int | float] = []  # of all loaders

    # Training

    def setup(self, stage: str) -> None:
        """Check the Trainer, and make what depends on the data; called by the Trainer.

        Args:
            stage: ``"fit"``, ``"validate"``, ``"test"`` or ``"predict"``.
        """
        trainer = self.trainer
        if trainer.precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)} for FFModule, got {trainer.precision}")
        if stage != "fit":
            return
        if self.cuda_graph:
            check_cuda_graph(trainer.strategy.root_device)
        if trainer.world_size > 1:
            raise ValueError(
                "devices must be 1 for FFModule, which does not reduce gradients over devices, "
                f"got {trainer.world_size}: train on several devices by ff.fit(parallel=...)"
            )
        self._first_epoch = self.model.epochs_trained
        self._restored = None  # of a checkpoint that was loaded before; one to resume from is read after this
        if not is_prepared(self.model):
            with restored_global_generators(self.model.device):
                trainer.fit_loop.setup_data()
                data = source(self._loader, 1, self.model.device, self.model.dtype, self.model.num_embeddings)
                prepare_network(self.model, data, self.seed)
            # The Trainer sets the loader up again: this one would not resume from a checkpoint, which is not read yet.
            trainer.fit_loop._combined_loader = None
        check_trainable(self.model)

    @property
    def _loader(self) -> DataLoader[Any]:
        loader = self.trainer.train_dataloader
        if not isinstance(loader, DataLoader):
            raise TypeError(f"train_dataloaders must be one DataLoader, got {type(loader).__name__}")
        return loader

    def on_train_start(self) -> None:
        """Take class names and batch size from the loader, and restore the random state of a checkpoint."""
        loader = self._loader
        if (names := class_names_of(loader)) is not None:
            self.model.class_names = checked_class_names(self.model, names)
        self._step = step_of(self.model, loader.batch_size, self.compile_step, self.cuda_graph)
        if self._restored is not None:
            self._restore_generators(self._restored)
            if self._restored["unfinished"] is None or not hasattr(loader, "load_state_dict"):  # else it is resumed
                iter(self.trainer.fit_loop._data_fetcher)  # the Trainer's iterator has drawn from another random state

    def _restore_generators(self, state: dict[str, Any]) -> None:
        set_global_state(state["global"], self.trainer.strategy.root_device)
        for generator, saved in zip(generators_of(self._loader), state["loader"], strict=False):
            generator.set_state(saved.cpu())

    def configure_optimizers(self) -> Any:
        """Return the local optimizers as one optimizer; called by the Trainer."""
        return TrainerOptimizer(self.local_optimizer.attach(self.model))

    def on_train_epoch_start(self) -> None:
        """Begin an epoch."""
        self._begin_epoch()

    def _begin_epoch(self) -> EpochState:
        """Begin an epoch, or continue one within which the checkpoint was written."""
        trainer = self.trainer
        self._epoch = EpochState(self.seed, self._first_epoch + trainer.current_epoch, self.device)
        restored, self._restored = self._restored, None
        if restored is not None and restored["epoch"] == trainer.current_epoch and restored["unfinished"] is not None:
            self._epoch.load_state_dict(restored["unfinished"])
        progress = 0.0
        if trainer.max_epochs is not None and trainer.max_epochs > 0:
            progress = (trainer.current_epoch + 0.5) / trainer.max_epochs
        elif trainer.max_steps > 0:
            progress = trainer.global_step / trainer.max_steps
        set_progress((self.local_optimizer, *self.model.modules()), progress)
        return self._epoch

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """Update the network once.

        Args:
            batch: ``(images, labels)``, or images.
            batch_idx: Number of the batch.
        """
        images, labels = _batch(batch)
        self.optimizers().step(lambda: self._local_step(images, labels))

    def _local_step(self, images: Tensor, labels: Tensor | None) -> None:
        epoch = self._begin_epoch() if self._epoch is None else self._epoch  # a Trainer resumes without its hook
        trainer, depth = self.trainer, len(self.model)
        with calling("schedule", self.schedule, "(depth, epoch, step, epochs) -> groups", names_parts=True):
            groups = self.schedule(depth, trainer.current_epoch, epoch.steps, max(1, trainer.max_epochs or 1))
            groups = check_groups(groups, depth)
        name = str(groups)
        # a prime, as in `fit`, so that the phases of an alternating schedule are measured equally often
        monitor = epoch.steps % 17 == 0 or name not in epoch.measured
        epoch.measured.add(name)
        with torch.autocast(self.device.type, enabled=False):  # the step has its own
            result = self._step(
                (images, labels),
                self.local_optimizer,
                groups=groups,
                generator=epoch.negatives,
                autocast=PRECISIONS[trainer.precision],
                monitor=monitor,
            )
        epoch.meter.update(result)
        epoch.steps += 1

    def on_train_epoch_end(self) -> None:
        """Log the means of the epoch."""
        if self._restored is not None:  # no step remained after the checkpoint, only the validation
            self._restore_generators(self._restored)
            self._begin_epoch()
        epoch, self._epoch = self._epoch, None
        if epoch is None or not epoch.steps:
            return
        self.model.epochs_trained = epoch.epoch + 1
        self.log_dict(scalars_of(epoch.record(self.model, self.local_optimizer)))

    # Evaluation

    def on_validation_epoch_start(self) -> None:
        """Let the classifier choose its layers by the first loader, if it chooses any, and begin to count."""
        trainer = self.trainer
        if not trainer.sanity_checking:
            choose_layers(self.model, _first(trainer.val_dataloaders))
        self._begin_counts(trainer.num_sanity_val_batches if trainer.sanity_checking else trainer.num_val_batches)

    def _begin_counts(self, lengths: list[int | float]) -> None:
        if len(lengths) > 1 and math.inf in lengths:  # Lightning tells loaders apart in steps only
            raise ValueError(
                "dataloaders must have lengths if they are several, so that the errors of each are logged after its "
                f"last batch, got one without as number {lengths.index(math.inf)}"
            )
        self._counts, self._lengths = counts_of(self.model), lengths

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Count the errors of a batch, and log those of its loader after the last one.

        Args:
            batch: ``(images, labels)``.
            batch_idx: Number of the batch.
            dataloader_idx: Number of its loader.
        """
        with torch.autocast(self.device.type, enabled=False):
            self._counts.add(*_batch(batch))
        if batch_idx + 1 == self._lengths[dataloader_idx]:
            self._log_errors()

    def _log_errors(self) -> None:
        counts, self._counts = self._counts, counts_of(self.model)
        name = "test" if self.trainer.testing else "validation"
        self.log_dict(scalars_of({name: counts.result().to_dict()}), on_step=False, on_epoch=True, batch_size=1)

    def on_validation_epoch_end(self) -> None:
        """Log the errors of a loader whose length was not known."""
        if self._counts.samples:
            self._log_errors()

    def on_test_epoch_start(self) -> None:
        """Begin to count."""
        self._begin_counts(self.trainer.num_test_batches)

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Count the errors of a batch, and log those of its loader after the last one.

        Args:
            batch: ``(images, labels)``.
            batch_idx: Number of the batch.
            dataloader_idx: Number of its loader.
        """
        self.validation_step(batch, batch_idx, dataloader_idx)

    def on_test_epoch_end(self) -> None:
        """Log the errors of a loader whose length was not known."""
        self.on_validation_epoch_end()

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Return the prediction of each sample of a batch, as the network's ``predict``.

        Args:
            batch: Images, or ``(images, labels)``, whose labels are ignored.
            batch_idx: Number of the batch.
            dataloader_idx: Number of its loader.
        """
        with torch.autocast(self.device.type, enabled=False):
            return self.model.predictions(self.model.scores(_batch(batch)[0]))

    def forward(self, images: Tensor) -> Tensor:
        """Return the network's features, ``model(images)``."""
        features: Tensor = self.model(images)
        return features

    # Checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what a resumed training needs beside weights and optimizers."""
        loader, epoch = self.trainer.train_dataloader, self._epoch
        checkpoint[KEY] = {
            "first_epoch": self._first_epoch,
            "epochs_trained": self.model.epochs_trained,
            "epoch": self.trainer.current_epoch,
            "unfinished": epoch.state_dict() if epoch is not None and epoch.steps else None,
            "global": global_state(self.trainer.strategy.root_device),  # the module's is the CPU after the training
            "loader": [g.get_state() for g in generators_of(loader)] if isinstance(loader, DataLoader) else [],
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore it; the random state follows when a training resumes."""
        self._restored = state = checkpoint[KEY]
        self._first_epoch, self.model.epochs_trained = state["first_epoch"], state["epochs_trained"]


def _first(loaders: Any) -> Any:
    """Return the first loader of those that were passed to the Trainer."""
    while isinstance(loaders, Mapping | list | tuple):
        loaders = next(iter(loaders.values() if isinstance(loaders, Mapping) else loaders))
    return loaders


def _batch(batch: Any) -> Pair:
    """Return the images and labels of a loader's batch."""
    images, labels = pair_of(batch)
    return to_tensor(images), None if labels is None else to_tensor(labels, "labels")
