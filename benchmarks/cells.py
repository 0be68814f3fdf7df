"""Cells: trainings of studies, each with its results in one file.

A row is a training, measured after some of its epochs; with a data set, a seed and a setting it is a cell. The test set
is read only when a cell is finished, and nothing is selected on it. A finished cell is one JSON file: configuration,
test accuracy, and a summary of the history. Rows of the same *line* are stages of one training, which is a
:class:`forwardforward.runs.Run` in its own folder and resumes from its checkpoint.

A cell with fewer epochs, narrower layers or fewer training images than its row is a different cell.
"""

from __future__ import annotations

import functools
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

import forwardforward as ff
from benchmarks.machine import device_name
from benchmarks.pages import write
from benchmarks.recorders import Recorder
from forwardforward.data.pretexts import Pretext
from forwardforward.network import Network
from forwardforward.recipes import Recipe
from forwardforward.runs import Run, RunConfig, differences
from forwardforward.training import Callback, FitState, History, TrainingDiverged

__all__ = ["Cell", "Content", "Measure", "Options", "Row", "Setting", "count", "load_splits", "read_cell"]

#: Some of the keys of every finished cell.
KEYS = {"name", "data", "seed", "epochs", "setting", "config", "result", "seconds", "device", "torch"}

#: Figures per layer that a cell keeps from its history, for at most this number of epochs.
FIGURES = ("loss", "accuracy", "positive", "negative", "separation", "gradient_norm", "largest_weight")
KEPT_EPOCHS = 100

#: Largest number of activations per chunk in classification on a GPU.
GPU_CHUNK_SIZE = 2**27

#: Content of a JSON file.
Content = dict[str, Any]

#: Makes further entries of a cell's result from its run and the trained model.
Measure = Callable[[Run, Network], Content]


@dataclass(frozen=True)
class Row:
    """A row of a table: a training, measured after some of its epochs, or results of others.

    Args:
        line: Name of the training, the same in all studies of a bench.
        label: Name in the table.
        recipe: Recipe of the training; None for a row with reported results only.
        epochs: Number of epochs after which the row is measured.
        total_epochs: Number of epochs over which the recipe's schedules run; default: ``epochs``.
        paper: Reported result by data set, as printed.
        metric: The entry of the result that the row shows.
        validation: Whether the validation images are held out and measured after each epoch, for curves.
        epochs_by_data: Other numbers of epochs, by data set.
        measure: Makes entries of the row's results in addition to the bench's.
        recorders: Functions of the run that make callbacks, whose records become part of the cell.
        pretext: Pretext whose classes the training learns in place of the images' own.
        compile: Whether the training step is compiled at full width.
    """

    line: str
    label: str
    recipe: Recipe | None = None
    epochs: int = 0
    total_epochs: int = 0
    paper: Mapping[str, str] = field(default_factory=dict)
    metric: str = "accuracy"
    validation: bool = False
    epochs_by_data: Mapping[str, int] = field(default_factory=dict)
    measure: Measure | None = None
    recorders: tuple[Callable[[Run], Recorder], ...] = ()
    pretext: Pretext | None = None
    compile: bool = False

    @property
    def name(self) -> str:
        """Name for ``--rows``."""
        return f"{self.line}-{self.epochs}"

    @property
    def title(self) -> str:
        """Label with the number of epochs."""
        return f"{self.label}, {count(self.epochs, 'epoch')}"

    def epochs_on(self, data: str) -> int:
        """Return the number of epochs after which the row is measured on a data set."""
        return self.epochs_by_data.get(data, self.epochs)


@dataclass(frozen=True, order=True)
class Setting:
    """Differences of a cell from its row.

    Args:
        epochs: Length of the training, to which schedules are scaled; default: the row's.
        width: Factor on the widths of all layers.
        images: Number of training images, with equal shares of the classes; default: all.
        batch_size: Images per step, so that fewer images need not mean fewer steps; default: the recipe's.
        precision: Compute precision, ``"float32"`` or ``"bf16"``.
        lr_factor: Factor on the learning rate, for batches of another size.
    """

    epochs: int = 0
    width: float = 1.0
    images: int = 0
    batch_size: int = 0
    precision: str = "float32"
    lr_factor: float = 1.0

    def description(self) -> str:
        """Return the differences in words, "" if there are none."""
        parts = [
            count(self.epochs, "epoch") if self.epochs else "",
            f"{self.width:g} times the width" if self.width != 1 else "",
            f"{self.images:,} training images" if self.images else "",
            f"batches of {self.batch_size}" if self.batch_size else "",
            f"precision {self.precision}" if self.precision != "float32" else "",
            f"{self.lr_factor:g} times the learning rate" if self.lr_factor != 1 else "",
        ]
        return ", ".join(filter(None, parts))


@dataclass(frozen=True)
class Options:
    """Where and how cells are trained, with no effect on their results.

    Args:
        out: Folder of the finished cells.
        work: Folder of the run folders.
        data_dir: Folder of the data sets' files; default: the cache.
        device: Device to train on.
        deadline: Time at which to stop, as ``time.monotonic`` measures it.
        progress: Whether to show progress bars.
    """

    out: Path
    work: Path
    data_dir: str | None = None
    device: str = "cpu"
    deadline: float = math.inf
    progress: bool = False


class StopAtStage(Callback):
    """End the training at a stage, or before an epoch that would exceed the deadline; the run can be resumed.

    Args:
        epochs: Number of epochs of the stage.
        deadline: As in :class:`Options`.
    """

    def __init__(self, epochs: int, deadline: float) -> None:
        self.epochs = epochs
        self.deadline = deadline

    def on_epoch_end(self, state: FitState) -> None:
        """Stop if the stage is complete or the time is up."""
        duration = state.history[-1]["seconds"] if len(state.history) else 0.0
        state.stop = len(state.history) >= self.epochs or time.monotonic() + duration >= self.deadline

    on_fit_begin = on_epoch_end


def read_cell(path: Path) -> Content:
    """Return the content of a finished cell's file.

    Raises:
        ValueError: If it is not a complete cell.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not a complete cell; remove it to train again: {error}") from error
    if not isinstance(content, dict) or not set(content) >= KEYS:
        raise ValueError(f"{path} is not a cell: it must contain {', '.join(sorted(KEYS))}")
    return content


@dataclass(frozen=True)
class Cell:
    """One training of a row, with a data set, seed and setting."""

    row: Row
    data: str
    seed: int
    setting: Setting = Setting()

    @property
    def epochs(self) -> int:
        """Number of epochs after which the cell is measured."""
        return self.setting.epochs or self.row.epochs_on(self.data)

    @property
    def total_epochs(self) -> int:
        """Number of epochs over which the schedules run."""
        total = self.row.total_epochs or self.row.epochs
        return max(self.epochs, round(total * self.epochs / self.row.epochs))

    @property
    def training(self) -> str:
        """Name of the training, of which the cell is a stage, and of its run folder."""
        reduced = [
            f"width{self.setting.width:g}" if self.setting.width != 1 else "",
            f"images{self.setting.images}" if self.setting.images else "",
            f"batch{self.setting.batch_size}" if self.setting.batch_size else "",
            self.setting.precision if self.setting.precision != "float32" else "",
            f"lr{self.setting.lr_factor:g}" if self.setting.lr_factor != 1 else "",
        ]
        parts = [self.row.line, self.data, *filter(None, reduced), f"seed{self.seed}", f"of{self.total_epochs}"]
        return "_".join(parts)

    @property
    def name(self) -> str:
        """Name of the cell's file."""
        return f"{self.training}_epochs{self.epochs}"

    def recipe(self) -> Recipe:
        """Return the row's recipe with the cell's data set and sizes."""
        assert self.row.recipe is not None
        recipe = self.row.recipe.for_dataset(self.data)
        return recipe.replace(
            widths=tuple(max(1, round(width * self.setting.width)) for width in recipe.widths),
            epochs=self.total_epochs,
            batch_size=self.setting.batch_size or recipe.batch_size,
            lr=recipe.lr * self.setting.lr_factor,
        )

    def config(self, **options: Any) -> RunConfig:
        """Return the configuration of the training's run.

        Args:
            **options: Fields without an effect on the result, such as ``device``.
        """
        return RunConfig.from_recipe(
            self.recipe(),
            self.data,
            seed=self.seed,
            precision=self.setting.precision,
            validation=self.row.validation,
            train_samples=self.setting.images or None,
            compile=self.row.compile and self.setting.width == 1,
            **options,
        )

    def settings(self) -> Content:
        """Return the settings that determine the result, by name."""
        pretext = {} if self.row.pretext is None else {"pretext": repr(self.row.pretext)}
        return {**self.config().settings(), **pretext}

    def read(self, out: Path) -> Content | None:
        """Return the finished cell, None if it is not finished.

        Args:
            out: Folder of the finished cells.

        Raises:
            ValueError: If it was trained with other settings than the row now has.
        """
        path = out / f"{self.name}.json"
        if not path.exists():
            return None
        content = read_cell(path)
        if changed := differences(content["config"], self.settings()):
            values = ", ".join(f"{name} (was {before}, is {now})" for name, (before, now) in changed.items())
            raise ValueError(f"the study has changed since the cell {path}: {values}; move it elsewhere")
        return content

    def run(self, options: Options, measure: Measure | None, command: str) -> Content | None:
        """Train, resuming from a checkpoint if there is one, and write the finished cell; None if the time was up.

        Args:
            options: Where and how.
            measure: Makes further entries of the result; default: none.
            command: Command that trains the cell, written to its file.

        Raises:
            ValueError: If the run folder contains a run with other settings, or one that is past this stage.
        """
        run = self._open(options, command)
        run.begin(resume=True)
        if (done := run.epochs_done) > self.epochs:
            raise ValueError(f"{run.folder} is at epoch {done}, past {self.name}; remove it to train again")
        result: Content
        recorders = [make(run) for make in self.row.recorders]
        try:
            model, history = run.fit([StopAtStage(self.epochs, options.deadline), *recorders], options.progress)
        except TrainingDiverged as error:
            model, history, result = run.model(), History(), {"diverged": str(error)}
        else:
            if len(history) < self.epochs:
                return None
            if isinstance(model, ff.FFSequential) and model.device.type == "cuda":
                model.chunk_size = GPU_CHUNK_SIZE
            evaluation = ff.evaluate(model, run.splits().test)
            result = {"accuracy": evaluation.accuracy, **evaluation.to_dict()}
            for further in (measure, self.row.measure):
                result |= {} if further is None else further(run, model)
        content: Content = {
            "name": self.name,
            "line": self.row.line,
            "data": self.data,
            "seed": self.seed,
            "epochs": self.epochs,
            "total_epochs": self.total_epochs,
            "setting": vars(self.setting),
            "command": command,
            "config": self.settings(),
            "training_images": len(run.training_data()),
            "parameters": sum(p.numel() for p in model.parameters()),
            "result": result,
            "seconds": round(history.seconds, 1),
            "device": device_name(options.device),
            "threads": run.config.threads,
            "torch": torch.__version__,
            "history": summarized(history),
            **({"records": {recorder.name: recorder.content() for recorder in recorders}} if recorders else {}),
        }
        entries = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in content.items())
        write(options.out / f"{self.name}.json", f"{{\n{entries}\n}}\n")
        return content

    def _open(self, options: Options, command: str) -> Run:
        """Return the training's run, with its data read and the number of training images checked."""
        recipe = self.recipe()
        config = self.config(
            data_dir=options.data_dir,
            device=options.device,
            threads=torch.get_num_threads(),
            cuda_graph=options.device.startswith("cuda"),
            command=command,
        )
        splits = load_splits(self.data, options.data_dir, recipe.representation)
        if self.row.pretext is not None:
            splits = self.row.pretext.splits(splits)
        run = Run(options.work / self.training, config, recipe=recipe, splits=splits)
        try:
            run.training_data()
        except ValueError as error:
            raise ValueError(f"--images {self.setting.images} does not suit {self.data}: {error}") from error
        return run


@functools.lru_cache(maxsize=1)  # consecutive cells usually share their data
def load_splits(data: str, data_dir: str | None, representation: Any = None) -> ff.data.Splits:
    """Return a data set, which is kept until another one is loaded.

    Args:
        data: Name of the data set.
        data_dir: Folder of its files; default: the cache.
        representation: Representation of texts.
    """
    return ff.data.load(data, data_dir, representation=representation)


def summarized(history: History) -> Content:
    """Return evenly spaced epochs of the history, including the first and the last, with four digits per figure."""
    step = -(-len(history) // KEPT_EPOCHS)
    records = [record for record in history if record["epoch"] in (1, len(history)) or record["epoch"] % step == 0]
    content: Content = {
        "epoch": [record["epoch"] for record in records],
        "seconds": [round(record["seconds"], 2) for record in records],
    }
    for figure in FIGURES:
        values = [[rounded((layer or {}).get(figure)) for layer in record["layers"]] for record in records]
        if any(value is not None for layers in values for value in layers):
            content[figure] = values
    validations = [record["validation"] for record in records]
    if any(validations):
        content["validation_error"] = [rounded(validation["error"]) for validation in validations]
        content["validation_layer_errors"] = [
            [rounded(error) for error in validation["layer_errors"] or ()] for validation in validations
        ]
    return content


def rounded(value: float | None) -> float | None:
    """Return a number with four digits."""
    return None if value is None else float(f"{value:.4g}")


def count(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural if it is not 1."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
