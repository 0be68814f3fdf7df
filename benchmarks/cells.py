"""Cells: one training each, which can be stopped at any moment and gone on with.

A row is a training, looked at after some of its epochs; with a data set, a seed and a setting it is a cell. Each
finished cell is one JSON file: what was trained and how, its test accuracy, and its history in short. Rows of one
*line* are stages of one training. A cell under way keeps a checkpoint. The test set is read when a cell is finished
and not before, and nothing is chosen by it.

A cell that was run for fewer epochs, with fewer channels or on fewer images than its row says is another cell.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

import forwardforward as ff
from forwardforward._utils.files import replacing
from forwardforward.recipes import Recipe
from forwardforward.training import Callback, FitState, History, TrainingDiverged

__all__ = ["Cell", "Content", "Options", "Readings", "Row", "Setting", "Trained", "count", "read_cell", "write"]

#: What every finished cell holds, beside more.
CELL = {"name", "data", "seed", "epochs", "setting", "config", "result", "seconds", "device", "torch"}

#: Figures of the layers that a cell keeps of its history, of at most so many epochs.
FIGURES = ("loss", "accuracy", "positive", "negative", "separation", "gradient_norm", "largest_weight")
KEPT_EPOCHS = 100

#: Largest number of activations held at once in classification on a GPU.
GPU_CHUNK = 2**27

Content = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """A row of a table: a training, looked at after some of its epochs, or figures that others report.

    Args:
        line: Name of the training, the same in all studies of a bench.
        label: What the table calls it.
        recipe: What is trained; None where only the reported figures are shown.
        epochs: After how many epochs the row is measured.
        of: For how many epochs the recipe's schedules are made; as many as are trained unless given.
        paper: The reported figure by data set, as printed.
        shows: Which figure of a cell's result the row shows.
        validation: Whether the validation images are held out and measured each epoch, for curves.
        epochs_on: After how many epochs it is measured on a data set, where that differs, by its name.
    """

    line: str
    label: str
    recipe: Recipe | None = None
    epochs: int = 0
    of: int = 0
    paper: Mapping[str, str] = field(default_factory=dict)
    shows: str = "accuracy"
    validation: bool = False
    epochs_on: Mapping[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What `--rows` calls it."""
        return f"{self.line}-{self.epochs}"

    def length(self, data: str) -> int:
        """After how many epochs it is measured on a data set."""
        return self.epochs_on.get(data, self.epochs)

    @property
    def titled(self) -> str:
        """What a sentence calls it."""
        return f"{self.label}, {count(self.epochs, 'epoch')}"


@dataclass(frozen=True, order=True)
class Setting:
    """In what a cell differs from its row; nothing unless given.

    Args:
        epochs: Length of the training, to which the schedules shrink or stretch.
        width: Factor on the widths of all layers.
        images: Number of training images, of all classes alike.
        batch_size: Number of images in a batch: fewer images make as many steps of smaller batches.
        precision: ``"float32"`` or ``"bf16"``.
    """

    epochs: int = 0
    width: float = 1.0
    images: int = 0
    batch_size: int = 0
    precision: str = "float32"

    def words(self) -> str:
        """Say it in plain words, "" for a whole cell."""
        parts = [
            f"{count(self.epochs, 'epoch')}" if self.epochs else "",
            f"{self.width:g} times the width" if self.width != 1 else "",
            f"{self.images:,} training images" if self.images else "",
            f"batches of {self.batch_size}" if self.batch_size else "",
            f"products in {self.precision}" if self.precision != "float32" else "",
        ]
        return ", ".join(part for part in parts if part)


@dataclass(frozen=True)
class Options:
    """Where and how cells are run; nothing here changes what they are.

    Args:
        out: Folder of the finished cells.
        work: Folder of the checkpoints.
        data_dir: Folder of the data sets' files, or None for the default one.
        device: Where to compute.
        threads: Number of CPU threads, or None for torch's choice.
        deadline: When to stop, as of ``time.monotonic``.
        progress: Whether to show a progress bar.
    """

    out: Path
    work: Path
    data_dir: str | None = None
    device: str = "cpu"
    threads: int | None = None
    deadline: float = math.inf
    progress: bool = False


class Until(Callback):
    """Ends a training at a stage, or before an epoch that would outlast the time; the checkpoint is kept."""

    def __init__(self, epochs: int, deadline: float) -> None:
        self.epochs = epochs
        self.deadline = deadline

    def on_fit_begin(self, state: FitState) -> None:
        """Look before the first epoch too: a later stage may go on from here."""
        epoch = state.history[-1]["seconds"] if len(state.history) else 0.0
        state.stop = len(state.history) >= self.epochs or time.monotonic() + epoch >= self.deadline

    on_epoch_end = on_fit_begin


@dataclass(frozen=True)
class Trained:
    """A cell that has just been trained, as readings see it.

    Args:
        cell: The cell.
        model: Its model.
        splits: Its data.
        train: What of it the model was trained on.
        other: Reads another data set as the cell's recipe reads it, from the same folder.
    """

    cell: Cell
    model: Any
    splits: ff.data.Splits
    train: ff.data.TensorData
    other: Callable[[str], ff.data.Splits]


#: Makes further figures of a cell's result.
Readings = Callable[[Trained], Content]


def read_cell(path: Path) -> Content:
    """Return what a finished cell's file holds.

    Raises:
        ValueError: If it is not a whole cell.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not a whole cell, remove it to train anew: {error}") from error
    if not isinstance(content, dict) or not set(content) >= CELL:
        raise ValueError(f"{path} is not a cell: it must hold {', '.join(sorted(CELL))}")
    return content


@dataclass(frozen=True)
class Cell:
    """One training of a row, with one data set, seed and setting."""

    row: Row
    data: str
    seed: int
    setting: Setting = Setting()

    @property
    def epochs(self) -> int:
        """After how many epochs it is measured."""
        return self.setting.epochs or self.row.length(self.data)

    @property
    def of(self) -> int:
        """For how many epochs the schedules are made."""
        return max(self.epochs, round((self.row.of or self.row.epochs) * self.epochs / self.row.epochs))

    @property
    def training(self) -> str:
        """Name of the training, of which the cell is a stage."""
        reduced = [
            f"width{self.setting.width:g}" if self.setting.width != 1 else "",
            f"images{self.setting.images}" if self.setting.images else "",
            f"batch{self.setting.batch_size}" if self.setting.batch_size else "",
            self.setting.precision if self.setting.precision != "float32" else "",
        ]
        return "_".join([self.row.line, self.data, *filter(None, reduced), f"seed{self.seed}", f"of{self.of}"])

    @property
    def name(self) -> str:
        """Name of the cell's file."""
        return f"{self.training}_epochs{self.epochs}"

    def recipe(self) -> Recipe:
        """The recipe with the cell's sizes."""
        assert self.row.recipe is not None
        recipe = self.row.recipe.for_dataset(self.data)
        widths = tuple(max(1, round(width * self.setting.width)) for width in recipe.widths)
        return recipe.replace(widths=widths, epochs=self.of, batch_size=self.setting.batch_size or recipe.batch_size)

    def config(self) -> Content:
        """Everything that decides the training, in words."""
        held = {"validation": "held out, measured each epoch"} if self.row.validation else {}
        sizes = {"data": self.data, "seed": self.seed, "images": self.setting.images or "all"}
        return {**sizes, "precision": self.setting.precision, **held, **self.recipe().table()}

    def read(self, out: Path) -> Content | None:
        """Return the finished cell, None if it is not finished.

        Raises:
            ValueError: If it was trained otherwise than the study now says.
        """
        path = out / f"{self.name}.json"
        if not path.exists():
            return None
        content = read_cell(path)
        self._compare(content["config"], path, "cell")
        return content

    def run(self, options: Options, readings: Readings | None, command: str) -> Content | None:
        """Train, going on where a checkpoint is, and keep the finished cell; None if the time was up before.

        Args:
            options: Where and how.
            readings: Further figures of the result.
            command: What made the cell, to be kept in it.
        """
        recipe, work = self.recipe(), options.work / self.training
        splits = _splits(recipe, self.data, options.data_dir)
        train = self._train(splits)
        self._claim(work)
        if options.threads:
            torch.set_num_threads(options.threads)
        torch.manual_seed(self.seed)
        model: Any = recipe.model(splits.input_shape, splits.num_classes)
        result: Content
        if options.device != "cpu" and hasattr(model, "chunk"):
            model.chunk = GPU_CHUNK
        try:
            history = recipe.fit(
                model,
                train,
                validation=splits.validation if self.row.validation else None,
                seed=self.seed,
                device=options.device,
                precision=self.setting.precision,
                callbacks=[Until(self.epochs, options.deadline)],
                progress=options.progress,
                checkpoint=work / "checkpoint.pt",
                resume=True,
            )
        except TrainingDiverged as error:
            history, result = History(), {"diverged": str(error)}
        else:
            if len(history) < self.epochs:
                return None
            if len(history) > self.epochs:
                raise ValueError(f"{work} has gone past epoch {self.epochs} of {self.name}; remove it to train anew")
            found = ff.evaluate(model, splits.test)
            result = {"accuracy": found.accuracy, **found.to_dict()}
            if readings is not None:
                other = partial(recipe.splits, data_dir=options.data_dir)
                result |= readings(Trained(self, model, splits, train, other))
        content = {
            **{"name": self.name, "line": self.row.line, "data": self.data, "seed": self.seed},
            **{"epochs": self.epochs, "of": self.of, "setting": vars(self.setting), "command": command},
            "config": self.config(),
            "training_images": len(train),
            "parameters": sum(p.numel() for p in model.parameters()),
            "result": result,
            "seconds": round(history.seconds, 1),
            "device": _device_name(options.device),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "history": summary(history),
        }
        write(options.out / f"{self.name}.json", content)
        return content

    def _train(self, splits: ff.data.Splits) -> ff.data.TensorData:
        train = splits.train if self.row.validation else splits.train_and_validation
        if not self.setting.images:
            return train
        if not splits.num_classes <= self.setting.images < len(train):
            raise ValueError(
                f"--images must be from {splits.num_classes} to {len(train) - 1} on {self.data}, "
                f"got {self.setting.images}; leave it out for all"
            )
        return ff.data.split(train, [self.setting.images, len(train) - self.setting.images], seed=0)[0]

    def _claim(self, work: Path) -> None:
        """Make the work folder, or refuse one in which another training is under way."""
        path = work / "config.json"
        if path.exists():
            self._compare(json.loads(path.read_text(encoding="utf-8")), work, "training")
        else:
            write(path, self.config())

    def _compare(self, old: Content, path: Path, what: str) -> None:
        now = json.loads(json.dumps(self.config()))
        changed = sorted(name for name in {*old, *now} if old.get(name) != now.get(name))
        if changed:
            raise ValueError(f"the study has changed since the {what} {path}: {', '.join(changed)}; move it away")


def write(path: Path, content: Content) -> None:
    """Write a file of JSON, a line an entry, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in content.items())
    with replacing(path) as file:
        file.write(f"{{\n{lines}\n}}\n")


def summary(history: History) -> Content:
    """The history in short: evenly chosen epochs, the first and the last among them, four digits a figure."""
    step = -(-len(history) // KEPT_EPOCHS)
    kept = [record for record in history if record["epoch"] in (1, len(history)) or record["epoch"] % step == 0]
    content: Content = {"epoch": [record["epoch"] for record in kept]}
    content["seconds"] = [round(record["seconds"], 2) for record in kept]
    layers = [[layer or {} for layer in record["layers"]] for record in kept]
    for figure in FIGURES:
        values = [[_short(layer.get(figure)) for layer in record] for record in layers]
        if any(value is not None for record in values for value in record):
            content[figure] = values
    if any(record["validation"] for record in kept):
        content["validation_error"] = [_short(record["validation"]["error"]) for record in kept]
        content["validation_layer_errors"] = [
            [_short(error) for error in record["validation"]["layer_errors"] or ()] for record in kept
        ]
    return content


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def _splits(recipe: Recipe, data: str, data_dir: str | None) -> ff.data.Splits:
    """The data, of which the last cell's are kept for the next."""
    key = data, data_dir, recipe.representation, recipe.standardize
    if key not in _LAST:
        _LAST.clear()
        _LAST[key] = recipe.splits(data, data_dir)
    return _LAST[key]


_LAST: dict[tuple[object, ...], ff.data.Splits] = {}


def _device_name(device: str) -> str:
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


def count(number: int, what: str) -> str:
    """Say a number of things."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")
