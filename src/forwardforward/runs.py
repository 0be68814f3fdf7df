"""Runs: a training kept in a folder, to be looked at, evaluated and gone on with.

A run folder holds ``config.json`` (written first), ``history.jsonl``, ``checkpoint.pt``, and at the end ``summary.json`` and
``curves.png``.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import nn

from forwardforward import diagnostics
from forwardforward.data import Splits, load
from forwardforward.recipes import Recipe, get
from forwardforward.training import Evaluation, History, JSONLog, evaluate, fit, load_weights

__all__ = ["Run", "RunConfig"]


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run's result.

    Attributes:
        data: Name of a data set, or path of an ``.npz``.
        recipe: Name of a recipe.
        hidden: Widths of the layers.
        epochs: Passes over the training data.
        batch_size: Samples a step.
        seed: Of weights, order and draws; the data's splits do not depend on it.
        data_dir: Folder of the data set's files, or None for the default one.
        device: Such as ``"cpu"``.
        precision: ``"float32"`` or ``"bf16"``.
        threads: Number of CPU threads; results are bit-exact for one number.
        validation: Whether the fixed validation split is held out and measured each epoch.
        command: The command that started the run.
    """

    data: str
    recipe: str
    hidden: tuple[int, ...]
    epochs: int
    batch_size: int
    seed: int
    data_dir: str | None
    device: str
    precision: str
    threads: int
    validation: bool
    command: str

    def bound_recipe(self) -> Recipe:
        """Return the recipe with this run's sizes."""
        recipe = get(self.recipe).on(self.data)
        return recipe.with_(hidden=tuple(self.hidden), epochs=self.epochs, batch_size=self.batch_size)


class Run:
    """A run in its folder.

    Args:
        folder: Where the run is kept.
        config: What it runs.
    """

    def __init__(self, folder: str | Path, config: RunConfig) -> None:
        self.folder = Path(folder)
        self.config = config

    @classmethod
    def create(cls, folder: str | Path, config: RunConfig) -> Run:
        """Make the folder and write the configuration.

        Raises:
            FileExistsError: If the folder holds a run already.
        """
        run = cls(folder, config)
        if (run.folder / "config.json").exists():
            raise FileExistsError(
                f"out {folder} holds a run already; go on with it by train --resume {folder}, or give another --out"
            )
        run.folder.mkdir(parents=True, exist_ok=True)
        run._write("config.json", asdict(config))
        return run

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
            content = json.loads(path.read_text(encoding="utf-8"))
            config = RunConfig(**{**content, "hidden": tuple(content["hidden"])})
        except (ValueError, TypeError, KeyError) as error:
            names = ", ".join(one.name for one in fields(RunConfig))
            raise ValueError(f"{path} is not the configuration of a run, which holds {names}") from error
        return cls(folder, config)

    def splits(self) -> Splits:
        """Return the run's data."""
        return load(self.config.data, self.config.data_dir)

    def model(self, splits: Splits) -> nn.Module:
        """Return the run's untrained model, with the weights that its seed gives."""
        torch.manual_seed(self.config.seed)
        return self.config.bound_recipe().model(splits.input_shape, splits.num_classes)

    def train(self, progress: bool = True) -> dict[str, Any]:
        """Train to the end, going on from the checkpoint where there is one, and return the summary.

        The test set is read once, after the last epoch.

        Args:
            progress: Whether to show a progress bar.
        """
        config = self.config
        recipe = config.bound_recipe()
        torch.set_num_threads(config.threads)
        splits = self.splits()
        model = self.model(splits)
        history = fit(
            model,
            splits.train if config.validation else splits.train_and_validation,
            validation=splits.validation if config.validation else None,
            epochs=config.epochs,
            batch_size=config.batch_size,
            optimizer=recipe.optimizer(),
            schedule=recipe.schedule,
            seed=config.seed,
            device=config.device,
            precision=config.precision,
            callbacks=[JSONLog(self.folder / "history.jsonl")],
            progress=progress,
            checkpoint=self.folder / "checkpoint.pt",
            resume=True,
        )
        summary = self._summary(model, history, evaluate(model, splits.test))
        self._write("summary.json", summary)
        return summary

    def evaluate(self) -> Evaluation:
        """Measure the trained model on the test set.

        Raises:
            CheckpointError: If there is no checkpoint, or one that cannot be read.
        """
        splits = self.splits()
        model = load_weights(self.folder / "checkpoint.pt", self.model(splits)).to(self.config.device)
        return evaluate(model, splits.test)

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
        last = history[-1]["validation"]
        return {
            "data": self.config.data,
            "recipe": self.config.recipe,
            "hidden": list(self.config.hidden),
            "epochs": len(history),
            "batch_size": self.config.batch_size,
            "seed": self.config.seed,
            "trained_on": "training split" if self.config.validation else "all training images",
            "test_error": result.error,
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

    def _write(self, name: str, content: dict[str, Any]) -> None:
        """Write a file whole or not at all."""
        part = self.folder / f"{name}.part"
        part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        os.replace(part, self.folder / name)
