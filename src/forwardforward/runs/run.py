"""Trainings in folders."""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from forwardforward import diagnostics
from forwardforward._utils.annotations import describe
from forwardforward._utils.arguments import PositiveFloat, PositiveInt, StrPath, checked
from forwardforward._utils.checks import check_device
from forwardforward._utils.threads import cpu_threads
from forwardforward.data import Splits, TensorData, split, unlabeled_texts
from forwardforward.data.text import TextEncoder
from forwardforward.diagnostics import Finding
from forwardforward.network import Network
from forwardforward.recipes import Recipe, get, set_fields
from forwardforward.recipes.recipe import USED_IN_TRAINING
from forwardforward.runs.card import card
from forwardforward.runs.config import RunConfig, differences
from forwardforward.runs.encoder import read_text_encoder, write_text_encoder
from forwardforward.runs.folder import RunFolder, write_json
from forwardforward.runs.log import RunLog
from forwardforward.runs.records import naming_history, read_failure, read_history, read_text
from forwardforward.runs.summary import errors_on_test_set, facts_of, read_held_out, summary_of, total_seconds
from forwardforward.runs.teachers import (
    check_teachers,
    read_soft_labels,
    soft_labels,
    with_soft_labels,
    write_soft_labels,
)
from forwardforward.saving.folder import is_model_folder
from forwardforward.training import (
    Callback,
    CheckpointError,
    Evaluation,
    History,
    Parallel,
    RankError,
    TrainingDiverged,
    evaluate,
    load_checkpoint,
)
from forwardforward.training.checkpoints import require, restore_weights
from forwardforward.training.evaluation import chooses_layers

__all__ = ["Run", "load"]

#: Fields of the configuration that describe the data set.
DATA_FIELDS = ("input_shape", "num_classes", "class_names", "class_counts", "data_digest")


@checked
def load(folder: StrPath, device: torch.device | str = "cpu", *, recipe: Recipe | None = None) -> Network:
    """Return the trained model of a run, or a saved model, in evaluation mode. The data set is not read.

    The model contains the preprocessing that was fitted on the training data, so that it accepts raw inputs, and
    ``class_names`` if the data set has them. For a run on texts, see :meth:`Run.text_encoder`.

    Args:
        folder: Run folder, as written by ``forwardforward train`` or :class:`Run`, or a folder that
            :meth:`~forwardforward.network.Network.save_pretrained` wrote.
        device: Device of the model.
        recipe: The run's recipe, if it is not registered by name; default: see :class:`Run`.

    Raises:
        FileNotFoundError: If the folder contains no run.
        ValueError: If the run's recipe is not registered and ``recipe`` is not given, or the recipe's model has changed
            since the run began.
        CheckpointError: If the run has no checkpoint yet, or it is corrupted.
    """
    if recipe is None and is_model_folder(Path(folder)):
        return Network.from_pretrained(folder, device=device)
    return Run.open(folder, recipe=recipe).load(device)


@checked
class Run:
    """A training in a folder.

    Args:
        folder: Run folder.
        config: The configuration.
        recipe: The recipe; required if it is not registered by name. Default: the registered recipe that the
            configuration names, with the data set's settings. Widths, epochs and batch size are taken from the
            configuration.
        splits: The data set, if it has been read already.

    Example:
        >>> import tempfile
        >>> from forwardforward.recipes import get
        >>> recipe = get("hinton").for_dataset("digits").replace(widths=(20, 20), epochs=1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     run = Run.create(folder + "/run", RunConfig.from_recipe(recipe, "digits"))
        ...     summary = run.train(progress=False)
        ...     model = load(folder + "/run")  # does not need the data set
        >>> model.predict(run.splits().test.inputs[:3]).shape
        torch.Size([3])
    """

    def __init__(
        self, folder: StrPath, config: RunConfig, *, recipe: Recipe | None = None, splits: Splits | None = None
    ) -> None:
        self.folder = Path(folder)
        self._files = RunFolder(self.folder)
        self.config = config
        self._recipe = recipe
        self._taught: TensorData | None = None
        self._splits: dict[str | Path | None, Splits] = {} if splits is None else {config.data_dir: splits}
        self._begun = time.monotonic()
        #: Number of epochs in the checkpoint that was read last, with the file's identity.
        self._epochs_read: tuple[tuple[int, int], int, int] | None = None

    @classmethod
    @checked
    def create(
        cls, folder: StrPath, config: RunConfig, *, recipe: Recipe | None = None, splits: Splits | None = None
    ) -> Run:
        """Return a new run, with its folder and configuration written.

        Args:
            folder: Run folder.
            config: The configuration.
            recipe: As in the constructor.
            splits: As in the constructor.

        Raises:
            FileExistsError: If the folder already contains a run.
        """
        run = cls(folder, config, recipe=recipe, splits=splits)
        run.begin()
        return run

    @classmethod
    @checked
    def open(cls, folder: StrPath, *, recipe: Recipe | None = None, splits: Splits | None = None) -> Run:
        """Return an existing run.

        Args:
            folder: Run folder.
            recipe: As in the constructor.
            splits: As in the constructor.

        Raises:
            FileNotFoundError: If the folder contains no run.
            ValueError: If the configuration cannot be read, or the folder contains a saved model.
        """
        path = Path(folder) / "config.json"
        try:
            exists = path.exists()
        except OSError as error:  # a name that is too long
            raise ValueError(f"folder must be a run folder, got {describe(str(folder))}: {error.strerror}") from None
        if not exists:
            raise FileNotFoundError(f"there is no run in {str(folder)!r}: it has no config.json")
        try:
            config = RunConfig.from_json(read_text(path))
        except (ValueError, TypeError) as error:
            if is_model_folder(path.parent):
                raise ValueError(
                    f"there is no run in {str(folder)!r}: it contains a saved model, which ff.load and forwardforward "
                    "predict read"
                ) from error
            raise ValueError(f"{path} is not the configuration of a run: {error}") from error
        return cls(folder, config, recipe=recipe, splits=splits)

    @checked
    def begin(self, resume: bool = False) -> None:
        """Read the data, make the folder and write the configuration.

        Args:
            resume: Whether to resume a run that the folder already contains, if its settings are equal.

        Raises:
            FileExistsError: If the folder already contains a run and ``resume`` is False.
            ValueError: If it contains a run with other settings, or the teachers do not fit.
            OSError: If the folder cannot be made or written to.
            BlockingIOError: If another process begins a run in this folder.
        """
        if resume and self._files.config.exists():
            saved = Run.open(self.folder).config
            if changed := differences(saved.settings(), self.config.settings()):
                raise ValueError(f"{self.folder} contains a run with other settings: {_listed(changed)}")
            self.config = replace(self.config, **{name: getattr(saved, name) for name in DATA_FIELDS})
            return
        self.check_free()
        self.check_teachers()
        self.splits()
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._files.locked():
            self.check_free()  # another process may have begun a run while the data were read
            write_json(self._files.config, asdict(self.config))

    def check_free(self) -> None:
        """Check that the run would overwrite nothing in its folder, and that the folder can be made and written to.

        Raises:
            FileExistsError: If the folder contains a run or a file with a name that runs use, or is a file.
            OSError: If the folder cannot be made or written to.
        """
        self._files.check_free()

    def check_teachers(self) -> None:
        """Check, without reading the data, that the teachers can predict the unlabeled texts of the run.

        Nothing is checked if their predictions are saved in the folder already.

        Raises:
            CheckpointError: If the checkpoint of a teacher is corrupted.
            FileNotFoundError: If the folder of a teacher contains no run.
            ValueError: If the data set has no unlabeled texts, or a teacher has no completed epoch, was trained on
                other data, or was trained on a validation split that is held out here.
        """
        if not self._files.soft_labels.exists():
            self._teachers()

    def _teachers(self) -> list[Run]:
        """Return the teachers, after their check."""
        try:
            teachers = [Run.open(folder) for folder in self.config.teachers]
        except (ValueError, FileNotFoundError) as error:
            raise type(error)(f"teachers must be trained runs: {error}") from error
        check_teachers(teachers, self.config.data, self.holds_out)
        return teachers

    def discard(self) -> None:
        """Remove a run without a checkpoint that no other process trains; other files in its folder are kept."""
        self._files.discard()

    @property
    def resume_command(self) -> str:
        """The command that resumes this run."""
        return self._files.resume_command

    @property
    def recipe(self) -> Recipe:
        """The recipe, with the run's widths, epochs and batch size."""
        config, recipe = self.config, self._recipe
        if recipe is None:
            with self._naming_configuration():
                recipe = get(config.recipe).for_dataset(config.data).with_vectors(config.vectors)
                recipe = set_fields(recipe, config.changes)
        return recipe.replace(widths=config.widths, epochs=config.epochs, batch_size=config.batch_size)

    @contextlib.contextmanager
    def _naming_configuration(self) -> Iterator[None]:
        """Context manager that names the configuration in an error that its values cause."""
        try:
            yield
        except (ValueError, TypeError, FileNotFoundError) as error:
            path = self._files.config
            if not path.exists():  # a run that has not begun
                raise
            kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
            raise kind(f"{path} cannot be used: {error}") from error

    @checked
    def check_recipe(self, training: bool = True) -> None:
        """Check that the recipe is still the one that the run began with.

        Args:
            training: Whether to compare all fields; otherwise only those on which a trained model depends, so that a
                run can be used after a change of the learning rate, for example.

        Raises:
            ValueError: If one of its fields has changed.
        """
        changed = differences(self.config.table, self.recipe.table())
        if not training:
            changed = {name: pair for name, pair in changed.items() if name not in USED_IN_TRAINING}
        if changed:
            raise ValueError(f"recipe {self.config.recipe} has changed since the run began: {_listed(changed)}")

    @property
    def epochs_done(self) -> int:
        """Number of epochs in the checkpoint; 0 if there is none.

        Raises:
            CheckpointError: If the checkpoint is corrupted.
        """
        return self._epochs()[0]

    @property
    def epochs_begun(self) -> int:
        """Number of epochs in the checkpoint, with one that it contains in part.

        Raises:
            CheckpointError: If the checkpoint is corrupted.
        """
        return self._epochs()[1]

    def _epochs(self) -> tuple[int, int]:
        path = self._files.checkpoint
        if not path.exists():
            return 0, 0
        if self._epochs_read is None or self._epochs_read[0] != _identity(path):
            self._read_checkpoint()
        assert self._epochs_read is not None
        return self._epochs_read[1:]

    def _read_checkpoint(self) -> dict[str, Any]:
        """Return the checkpoint, and remember its number of epochs."""
        path = self._files.checkpoint
        content = load_checkpoint(path)
        require(content, path, "epoch")
        done = int(content["epoch"])
        self._epochs_read = _identity(path), done, done + (content.get("unfinished") is not None)
        return content

    @checked
    def set_epochs(self, epochs: PositiveInt, *, write: bool = True) -> None:
        """Change the run's number of epochs, to train it longer.

        Learning-rate and update schedules run over the new number from the next epoch on, so the result differs from
        that of a run that began with it, unless the recipe has neither.

        Args:
            epochs: New number of epochs, including those already completed.
            write: Whether to write the configuration now; otherwise :meth:`fit` does so when the training begins, after
                the data and the checkpoint were accepted.

        Raises:
            ValueError: If more epochs have begun already, or the recipe's update schedule needs more epochs.
            BlockingIOError: If another process trains in the folder.
        """
        with self._files.locked():
            if epochs < (begun := self.epochs_begun):
                raise ValueError(f"epochs must be at least {begun}, the number of epochs that have begun, got {epochs}")
            table = {**self.config.table, "epochs": self.recipe.replace(epochs=epochs).table()["epochs"]}
            command = f"{self.config.command} && python -m forwardforward train --resume RUN --epochs {epochs}"
            config = replace(self.config, epochs=epochs, table=table, command=command)
            self.recipe.schedule(len(self.model().layers), 0, 0, epochs)
            self.config = config
            if write:
                write_json(self._files.config, asdict(self.config))

    @checked
    def splits(self, data_dir: str | Path | None = None, progress: bool = False) -> Splits:
        """Return the run's data set, which is read once.

        Args:
            data_dir: Folder of the data set's files, or of an ``.npz`` file that was moved; default: the
                configuration's.
            progress: Whether to show progress bars for long steps.

        Raises:
            ValueError: If the data differ from those of the run.
        """
        folder = data_dir or self.config.data_dir
        if folder not in self._splits:
            with contextlib.nullcontext() if data_dir else self._naming_configuration():
                moved = data_dir is not None and self.config.data.endswith(".npz")
                data = str(Path(folder or "", Path(self.config.data).name)) if moved else self.config.data
                self._splits[folder] = self.recipe.splits(data, folder, progress)
        splits = self._splits[folder]
        fields = {name: getattr(splits, name.removeprefix("data_")) for name in DATA_FIELDS}
        config = self.config
        if config.input_shape is None:
            self.config = replace(config, **fields)
        elif changed := differences({name: getattr(config, name) for name in fields}, fields):
            raise ValueError(f"data {Path(config.data).name} have changed since the run began: {_listed(changed)}")
        return splits

    def training_data(self) -> TensorData:
        """Return the training data: the training split, plus the validation split unless that is held out.

        With teachers, the unlabeled texts follow; their targets are saved in the folder.

        Raises:
            ValueError: If the configuration's number of training samples is out of range for the data, or the teachers
                do not fit.
        """
        splits, samples = self.splits(), self.config.train_samples
        train = splits.train if self.holds_out else splits.train_and_validation
        if samples is not None and samples != len(train):
            fewest = splits.num_classes or 1
            if not fewest <= samples < len(train):
                raise ValueError(f"train_samples must be from {fewest} to {len(train)}, got {samples}")
            train = split(train, [samples, len(train) - samples], seed=0)[0]
        if not self.config.teachers:
            return train
        if self._taught is None:
            self._taught = with_soft_labels(train, *self._unlabeled(splits))
        return self._taught

    def _unlabeled(self, splits: Splits) -> tuple[Tensor, Tensor]:
        """Return the unlabeled inputs, and the teachers' predictions of them, which are saved in the folder."""
        config, path = self.config, self._files.soft_labels
        texts = list(unlabeled_texts(config.data, config.data_dir, progress=False))
        if path.exists():
            probabilities = read_soft_labels(path)
        else:
            probabilities = soft_labels(self._teachers(), texts)
            write_soft_labels(path, probabilities)
        assert splits.text_encoder is not None  # only texts can be without labels
        return splits.text_encoder(texts, "unlabeled"), probabilities

    def _records(self, parallel: Parallel) -> bool:
        """Whether steps are recorded; not if a run is resumed on a CPU or by several processes."""
        is_alone = parallel.description is None
        return self.config.cuda_graph and self.config.device.startswith("cuda") and is_alone

    @property
    def holds_out(self) -> bool:
        """Whether the validation split is held out: on request, or because the classifier selects layers with it."""
        return self.config.validation or chooses_layers(self.recipe.classifier)

    def model(self) -> Network:
        """Return the untrained model; its weights are determined by the run's seed.

        The data set is read only if the run has not begun.
        """
        if self.config.input_shape is None:
            self.splits()
        config = self.config
        assert config.input_shape is not None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            with self._naming_configuration():
                model = self.recipe.model(config.input_shape, config.num_classes)
        model.class_names = config.class_names
        return model

    @checked
    def load(self, device: torch.device | str = "cpu") -> Network:
        """Return the trained model in evaluation mode, without reading the data set.

        Args:
            device: Device of the model.

        Raises:
            CheckpointError: If there is no checkpoint, or it is corrupted.
            ValueError: If the recipe's model has changed since the run began, see :meth:`check_recipe`.
        """
        check_device(device)
        self.check_recipe(training=False)
        model, content = self.model(), self._read_checkpoint()
        try:
            restore_weights(content, self._files.checkpoint, model)
        except CheckpointError as error:
            if self._recipe is None:
                raise
            raise CheckpointError(f"recipe must be that of the run: {error}") from error
        model.epochs_trained = int(content.get("first_epoch", 0)) + int(content["epoch"])
        facts = facts_of(self._files.summary)
        if facts is not None and (facts.get("epochs") != content["epoch"] or content.get("unfinished") is not None):
            facts = None  # of other weights
        model.card = {**card(self.config, self.recipe, facts), "epochs": int(content["epoch"])}
        return model.to(device).eval()

    @property
    def reads_text(self) -> bool:
        """Whether the run's inputs are texts."""
        return self.recipe.representation is not None

    def text_encoder(self) -> TextEncoder:
        """Return the encoder from texts to the model's inputs, fitted to the training texts.

        ``run.load().predict(run.text_encoder()(["A wonderful film."]))`` classifies a text.

        Raises:
            ValueError: If the run's inputs are not texts, or the recipe's model has changed since the run began.
            CheckpointError: If ``text_encoder.pt`` is missing or corrupted.
        """
        self.check_recipe(training=False)
        representation = self.recipe.representation
        if representation is None:
            raise ValueError(
                f"the inputs of the run in {self.folder} are not texts, its data set is {self.config.data}"
            )
        return read_text_encoder(self._files.text_encoder, type(representation))

    @checked
    def fit(
        self,
        callbacks: Sequence[Callback] = (),
        progress: bool = True,
        checkpoint_minutes: PositiveFloat | None = None,
        parallel: Parallel | None = None,
    ) -> tuple[Network, History]:
        """Train from the checkpoint, or from the start, to the last epoch or until a callback stops the training.

        Args:
            callbacks: Callbacks in addition to the one that writes ``history.jsonl``.
            progress: Whether to show progress bars.
            checkpoint_minutes: Minutes between checkpoints within an epoch; default: none.
            parallel: Distribution over several processes, each of which calls this method; default: one process.

        Returns:
            The model and its history.

        Raises:
            ValueError: If the recipe or the data have changed since the run began.
            CheckpointError: If the checkpoint cannot be read or written.
            BlockingIOError: If another process trains in the folder.
        """
        parallel = Parallel() if parallel is None else parallel
        with self._files.locked() if parallel.is_main else contextlib.nullcontext():
            return self._fit(callbacks, progress, checkpoint_minutes, parallel)

    def _fit(
        self, callbacks: Sequence[Callback], progress: bool, checkpoint_minutes: float | None, parallel: Parallel
    ) -> tuple[Network, History]:
        self.check_recipe()
        self._files.check_regular()
        self.check_teachers()
        config = self.config
        splits = self.splits(progress=progress)
        model = self.model()
        checkpoint = self._files.checkpoint
        if not checkpoint.exists() and (epochs := self.epochs_logged) > 1:  # one may be logged before it is saved
            raise CheckpointError(
                f"there is no checkpoint {checkpoint}, but history.jsonl contains {epochs} epochs: restore the "
                "checkpoint, or remove history.jsonl to train again from the start"
            )
        if checkpoint.exists():
            load_checkpoint(checkpoint)  # outside the block below: resuming does not repair a corrupted checkpoint
        with cpu_threads(config.threads), self._resumable():
            if parallel.is_main:
                encoder = self._files.text_encoder
                if splits.text_encoder is not None and not encoder.exists():
                    write_text_encoder(encoder, splits.text_encoder)
            log = RunLog(self._files.history, self._accept)
            try:
                history = self.recipe.fit(
                    model,
                    self.training_data(),
                    validation=splits.validation if self.holds_out else None,
                    seed=config.seed,
                    device=config.device if parallel.device is None else parallel.device,
                    precision=config.precision,
                    compile=config.compile,
                    cuda_graph=self._records(parallel),
                    callbacks=[log, *callbacks],
                    progress=progress,
                    checkpoint=checkpoint,
                    checkpoint_minutes=checkpoint_minutes,
                    resume=True,
                    parallel=parallel,
                )
            except (TrainingDiverged, RankError) as error:
                cause = error.cause if isinstance(error, RankError) else type(error).__name__
                if parallel.is_main and cause == TrainingDiverged.__name__:  # in this process or another
                    write_json(self._files.failure, {"epoch": 1 + log.epochs, "error": str(error)})
                raise
        return model, history

    @checked
    def train(
        self,
        callbacks: Sequence[Callback] = (),
        progress: bool = True,
        checkpoint_minutes: PositiveFloat | None = None,
        parallel: Parallel | None = None,
    ) -> dict[str, Any]:
        """Train like :meth:`fit`, evaluate, write the summary to ``summary.json`` and return it.

        The test set is used once, after the last epoch; with ``validation`` the validation split is used instead.

        Args:
            callbacks: Callbacks in addition to the one that writes ``history.jsonl``.
            progress: Whether to show progress bars.
            checkpoint_minutes: Minutes between checkpoints within an epoch; default: none.
            parallel: Distribution over several processes, each of which calls this method; default: one process.
        """
        parallel = Parallel() if parallel is None else parallel
        with self._files.locked() if parallel.is_main else contextlib.nullcontext():
            resumed = self._files.checkpoint.exists()
            # Before the training, so that an unreadable summary loses no work.
            earlier = total_seconds(self._files.summary, self.config.epochs)
            model, history = self.fit(callbacks, progress, checkpoint_minutes, parallel)
            splits = self.splits()
            with cpu_threads(self.config.threads), self._resumable():
                result = parallel.evaluate(model, splits.validation if self.config.validation else splits.test)
                summary = summary_of(
                    self.config,
                    self.recipe,
                    model,
                    history,
                    result,
                    self.holds_out,
                    len(self.training_data()),
                )
                # The total time, including reading the data, is known only if the run was never interrupted.
                summary["total_seconds"] = earlier if resumed else time.monotonic() - self._begun
                summary["parallel"] = parallel.description
                if parallel.is_main:
                    write_json(self._files.summary, summary)
            return summary

    @checked
    def evaluate(
        self,
        device: torch.device | str | None = None,
        data_dir: str | Path | None = None,
        batch_size: PositiveInt = 1000,
    ) -> Evaluation:
        """Evaluate the trained model on the test set.

        Args:
            device: Device; default: the configuration's.
            data_dir: Folder of the data set's files; default: the configuration's.
            batch_size: Samples per batch; the errors do not depend on it.

        Raises:
            CheckpointError: If there is no checkpoint, or it is corrupted.
            ValueError: If the data or the recipe's model have changed since the run began.
        """
        model = self.load(device or self.config.device)
        return evaluate(model, self.splits(data_dir).test, batch_size=batch_size)

    @checked
    def plot(self, history: History | None = None) -> Path:
        """Draw the curves, and the test errors of a finished run, into ``curves.png`` and return its path.

        Args:
            history: The history; default: read from ``history.jsonl``.

        Raises:
            ImportError: If matplotlib is not installed.
            ValueError: If ``history.jsonl`` is not a history.
        """
        files = self._files
        context: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
        if history is None:
            history, context = read_history(files.history), naming_history(files.history)
        with context:
            diagnostics.curves(history, files.curves, errors_on_test_set(files.summary, len(history)))
        return files.curves

    def diagnose(self) -> list[Finding]:
        """Return the probable causes of a bad result, see :func:`~forwardforward.diagnostics.diagnose`.

        The history is read, but neither the data set nor the checkpoint. Held-out errors are those of the validation
        split or, of a finished run without it, those in the summary.

        Raises:
            ValueError: If the run has no completed epoch, or a file in its folder is not that of a run.
        """
        path = self._files.history
        history = read_history(path) if path.exists() else History()
        failure = read_failure(self._files.failure)
        if not len(history) and failure is None:
            raise ValueError(f"the run in {self.folder} has no completed epoch yet: its history is empty")
        held_out = None
        if not len(history) or history[-1].get("validation") is None:
            held_out = read_held_out(self._files.summary, len(history))
        with naming_history(path):
            return diagnostics.diagnose(
                history,
                evaluation=held_out,
                class_counts=self.config.class_counts,
                num_classes=self.config.num_classes,
                epochs=self.config.epochs,
                failure=failure,
            )

    @property
    def epochs_logged(self) -> int:
        """Number of lines of ``history.jsonl``, 0 if there is no such file."""
        path = self._files.history
        return len(read_text(path).splitlines()) if path.exists() else 0

    @contextlib.contextmanager
    def _resumable(self) -> Iterator[None]:
        """Context manager that adds the command to resume to errors such as a full disk."""
        try:
            yield
        except RankError as error:
            error.args = (f"{error}; resume with the same options and --resume {shlex.quote(str(self.folder))}",)
            raise
        except (OSError, CheckpointError) as error:
            if self._recipe is not None:  # the command line can only resume runs of registered recipes
                raise
            raise CheckpointError(f"{error}; resume with: {self.resume_command}") from error

    def _accept(self) -> None:
        """Write the number of epochs of a training that begins, and forget the failure of an earlier one."""
        path = self._files.config
        if path.exists():
            saved = RunConfig.from_json(read_text(path))
            names = ("epochs", "table", "command")
            config = replace(saved, **{name: getattr(self.config, name) for name in names})
            if config != saved:
                write_json(path, asdict(config))
        self._files.failure.unlink(missing_ok=True)


def _identity(path: Path) -> tuple[int, int]:
    """Return two numbers that change when a file is replaced."""
    status = path.stat()
    return status.st_ino, status.st_mtime_ns


def _listed(changed: Mapping[str, tuple[Any, Any]]) -> str:
    """Return differences as one line."""
    return ", ".join(f"{name} (was {old}, is {new})" for name, (old, new) in changed.items())
