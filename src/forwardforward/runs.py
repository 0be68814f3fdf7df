"""Runs: a training kept in a folder, to be looked at, evaluated and gone on with.

A run folder holds ``config.json`` (written first), ``history.jsonl``, ``checkpoint.pt``, and at the end
``summary.json`` and ``curves.png``.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import nn

from forwardforward import diagnostics
from forwardforward._utils.files import replacing
from forwardforward.data import Splits
from forwardforward.recipes import Recipe, get
from forwardforward.training import (
    CheckpointError,
    Evaluation,
    History,
    JSONLog,
    evaluate,
    load_checkpoint,
    load_weights,
)

__all__ = ["Run", "RunConfig"]

FILES = ("config.json", "history.jsonl", "checkpoint.pt", "summary.json", "curves.png")


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run's result.

    Attributes:
        data: Name of a data set, or path of an ``.npz``.
        recipe: Name of a recipe.
        widths: Widths of the layers.
        epochs: Passes over the training data.
        batch_size: Samples a step.
        seed: Of weights, order and draws; the data's splits do not depend on it.
        data_dir: Folder of the data set's files, or None for the default one.
        device: Such as ``"cpu"``.
        precision: ``"float32"`` or ``"bf16"``.
        threads: Number of CPU threads; results are bit-exact for one number.
        validation: Whether the run is there to choose by: the fixed validation split is held out, measured each epoch
            and at the end, and the test set stays unread.
        command: The command that started the run.
        table: The whole recipe in words, as it was when the run began.
        compile: Whether ``torch.compile`` compiles the layers; results are equal within rounding.
        vectors: File of word vectors in place of those that the recipe trains, or None.
    """

    data: str
    recipe: str
    widths: tuple[int, ...]
    epochs: int
    batch_size: int
    seed: int
    data_dir: str | None
    device: str
    precision: str
    threads: int
    validation: bool
    command: str
    table: dict[str, str]
    compile: bool
    vectors: str | None

    def sized_recipe(self) -> Recipe:
        """Return the recipe of this name with the run's sizes."""
        recipe = get(self.recipe).for_dataset(self.data).with_vectors(self.vectors)
        return recipe.replace(widths=self.widths, epochs=self.epochs, batch_size=self.batch_size)

    def bound_recipe(self) -> Recipe:
        """Return the recipe with this run's sizes, to train by.

        Raises:
            ValueError: If the recipe of this name is no longer the one that the run began with.
        """
        recipe = self.sized_recipe()
        now = recipe.table()
        changed = sorted(name for name in {*now, *self.table} if now.get(name) != self.table.get(name))
        if changed:
            raise ValueError(f"recipe {self.recipe} has changed since the run began: {', '.join(changed)}")
        return recipe

    @classmethod
    def from_json(cls, text: str) -> RunConfig:
        """Return the configuration that ``config.json`` holds.

        Raises:
            ValueError: If the text is something else.
        """
        values = json.loads(text)
        names = [one.name for one in fields(cls)]
        if not isinstance(values, dict) or set(values) != set(names):
            raise ValueError(f"it must hold {', '.join(names)}")
        numbers = {name: values[name] for name in ("epochs", "batch_size", "seed", "threads")}
        for name, value in [*numbers.items(), *(("widths", width) for width in list(values["widths"]))]:
            if type(value) is not int:
                raise ValueError(f"{name} must be whole, got {value!r}")
        return cls(**{**values, "widths": tuple(values["widths"])})


@contextlib.contextmanager
def _threads(number: int) -> Iterator[None]:
    """Compute with so many threads meanwhile."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Run:
    """A run in its folder.

    Args:
        folder: Where the run is kept.
        config: What it runs.
    """

    def __init__(self, folder: str | Path, config: RunConfig) -> None:
        self.folder = Path(folder)
        self.config = config
        self._splits: dict[str | None, Splits] = {}
        self._begun = time.monotonic()

    @classmethod
    def create(cls, folder: str | Path, config: RunConfig) -> Run:
        """Return a run whose folder was made and holds the configuration.

        Raises:
            FileExistsError: If the folder holds a run already.
        """
        run = cls(folder, config)
        run.begin()
        return run

    def begin(self) -> None:
        """Make the folder and write the configuration.

        Raises:
            FileExistsError: If the folder holds a run already.
        """
        self.check_free()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write("config.json", asdict(self.config))

    def check_free(self) -> None:
        """Refuse a folder in which the run would overwrite something.

        Raises:
            FileExistsError: If there is a run in it, a file of a run's name, or a file in its place.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise FileExistsError(f"--out {self.folder} is a file; give another --out")
        taken = [name for name in FILES if (self.folder / name).exists()]
        if "config.json" in taken:
            raise FileExistsError(
                f"--out {self.folder} holds a run already; go on with it by {self.resume_command}, "
                "or give another --out"
            )
        if taken:
            raise FileExistsError(f"--out {self.folder} holds {', '.join(taken)} already; give another --out")

    @property
    def resume_command(self) -> str:
        """The command that goes on with this run."""
        return f"forwardforward train --resume {shlex.quote(str(self.folder))}"

    @classmethod
    def open(cls, folder: str | Path) -> Run:
        """Read an existing run's configuration.

        Raises:
            FileNotFoundError: If there is no run in the folder.
            ValueError: If its configuration cannot be read.
        """
        path = Path(folder) / "config.json"
        if not path.is_file():
            raise FileNotFoundError(f"there is no run in {folder}: it has no config.json")
        try:
            return cls(folder, RunConfig.from_json(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path} is not the configuration of a run: {error}") from error

    def discard(self) -> None:
        """Remove a run that could not begin, if it has no checkpoint; other files in its folder stay."""
        if (self.folder / "checkpoint.pt").exists():
            return
        for name in ("history.jsonl", "config.json"):
            (self.folder / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # it holds something else
            self.folder.rmdir()

    def splits(self, data_dir: str | None = None, progress: bool = False) -> Splits:
        """Return the run's data, which are read once.

        Args:
            data_dir: Folder of the data set's files; the run's unless given.
            progress: Whether to show progress bars where reading takes long.
        """
        folder = data_dir or self.config.data_dir
        if folder not in self._splits:
            self._splits[folder] = self.config.sized_recipe().splits(self.config.data, folder, progress)
        return self._splits[folder]

    def model(self, splits: Splits) -> nn.Module:
        """Return the run's untrained model, with the weights that its seed gives."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.seed)
            return self.config.sized_recipe().model(splits.input_shape, splits.num_classes)

    def train(self, progress: bool = True) -> dict[str, Any]:
        """Train to the end, going on from the checkpoint where there is one, and return the summary.

        The test set is read once, after the last epoch; the validation split in its place where the run is there to
        choose by. That split is also held out where a recipe chooses its layers by it.

        Args:
            progress: Whether to show progress bars.
        """
        with _threads(self.config.threads):
            return self._train(progress)

    def _train(self, progress: bool) -> dict[str, Any]:
        config = self.config
        recipe = config.bound_recipe()
        held_out = config.validation or hasattr(recipe.classifier, "choose")
        splits = self.splits(progress=progress)
        model = self.model(splits)
        checkpoint = self.folder / "checkpoint.pt"
        resumed = checkpoint.exists()
        if resumed:
            load_checkpoint(checkpoint)  # a damaged one is no reason to try again, unlike what may follow
        with self._going_on():
            history = recipe.fit(
                model,
                splits.train if held_out else splits.train_and_validation,
                validation=splits.validation if held_out else None,
                seed=config.seed,
                device=config.device,
                precision=config.precision,
                compile=config.compile,
                callbacks=[JSONLog(self.folder / "history.jsonl")],
                progress=progress,
                checkpoint=checkpoint,
                resume=True,
            )
            result = evaluate(model, splits.validation if config.validation else splits.test)
            summary = self._summary(model, history, result)
            summary["total_seconds"] = self._earlier_total() if resumed else time.monotonic() - self._begun
            self._write("summary.json", summary)
        return summary

    def evaluate(self, device: str | None = None, data_dir: str | None = None) -> Evaluation:
        """Measure the trained model on the test set.

        Args:
            device: Where to compute; the run's device unless given.
            data_dir: Folder of the data set's files; the run's unless given.

        Raises:
            CheckpointError: If there is no checkpoint, or one that cannot be read.
        """
        splits = self.splits(data_dir)
        model = load_weights(self.folder / "checkpoint.pt", self.model(splits))
        return evaluate(model.to(device or self.config.device), splits.test)

    def plot(self, history: History | None = None) -> Path:
        """Draw the curves into ``curves.png`` and return its path.

        Raises:
            ImportError: If matplotlib is not installed.
        """
        if history is None:
            lines = (self.folder / "history.jsonl").read_text(encoding="utf-8").splitlines()
            history = History([json.loads(line) for line in lines])
        path = self.folder / "curves.png"
        diagnostics.curves(history, path)
        return path

    def _summary(self, model: nn.Module, history: History, result: Evaluation) -> dict[str, Any]:
        last, test = history[-1]["validation"], not self.config.validation
        return {
            "data": self.config.data,
            "recipe": self.config.recipe,
            "widths": list(self.config.widths),
            "epochs": len(history),
            "batch_size": self.config.batch_size,
            "seed": self.config.seed,
            "trained_on": "all training images" if last is None else "training split",
            "measured_on": "test" if test else "validation",
            "test_error": result.error if test else None,
            "layer_errors": None if result.layer_errors is None else list(result.layer_errors),
            "head_error": result.head_error,
            "validation_error": None if last is None else last["error"],
            "seconds": history.seconds,
            "parameters": sum(p.numel() for p in model.parameters()),
            "precision": self.config.precision,
            "threads": self.config.threads,
            "cores": os.cpu_count(),
            "torch": torch.__version__,
            "command": self.config.command,
        }

    def _earlier_total(self) -> float | None:
        """Return how long it took from reading the data to the result, None where the run was stopped in between."""
        path = self.folder / "summary.json"
        return json.loads(path.read_text(encoding="utf-8")).get("total_seconds") if path.exists() else None

    @contextlib.contextmanager
    def _going_on(self) -> Iterator[None]:
        """Say how to go on where it is not the run that is at fault, as with a full disk."""
        try:
            yield
        except (OSError, CheckpointError) as error:
            raise CheckpointError(f"{error}; go on with: {self.resume_command}") from error

    def _write(self, name: str, content: dict[str, Any]) -> None:
        """Write a file whole or not at all."""
        with replacing(self.folder / name) as file:
            file.write(json.dumps(content, indent=2) + "\n")
