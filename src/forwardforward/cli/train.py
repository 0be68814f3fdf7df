"""``forwardforward train``."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm.auto import tqdm

from forwardforward import __version__, data, plots, recipes
from forwardforward.cli.errors import CommandError, describe, explained
from forwardforward.cli.report import table
from forwardforward.data import Splits
from forwardforward.runs import Run, RunConfig
from forwardforward.training import (
    Callback,
    CheckpointError,
    Evaluation,
    FitState,
    History,
    JSONLog,
    evaluate,
    fit,
    load_checkpoint,
)

DEFAULTS: dict[str, Any] = {
    "data": "digits",
    "recipe": "hinton",
    "seed": 0,
    "validation": False,
    "precision": "float32",
    "data_dir": None,
}


def train(options: argparse.Namespace) -> None:
    """Train, in a new run folder or going on with the one given."""
    given = vars(options)
    resumed = "resume" in given
    run = _existing_run(given) if resumed else None
    config = _new_config(given) if run is None else run.config
    if run is None and "out" in given:
        with explained("argument --out: "):
            Run.check_free(given["out"])
    if config.threads != torch.get_num_threads():
        torch.set_num_threads(config.threads)
    splits = load_data(config, given.get("data_dir", config.data_dir))
    with explained():
        recipe = config.resolved()
        model = build(config, recipe, splits)
        run = run or Run.create(config, given.get("out"))
    progress = not options.no_progress
    try:
        history = _fit(run, recipe, model, splits, progress=progress, fresh=not resumed)
        summary = _summary(run, recipe, model, history, _measure(config, model, splits))
    except KeyboardInterrupt:
        raise CommandError(f"interrupted; go on with: {run.resume_command}", code=130) from None
    with explained(suffix=f"; go on with: {run.resume_command}"):
        run.write_summary(summary)
    note = _draw(run, history)
    if options.json:
        print(json.dumps(summary))
        return
    print(table(summary))
    print(f"{config.epochs} epochs of {summary['command']} in {summary['seconds']:.1f} s, {config.threads} threads")
    print(f"summary: {run.summary}\n{note}")


def load_data(config: RunConfig, data_dir: str | None) -> Splits:
    """Load a run's data."""
    hint = "; leave --data-dir out to download it"
    try:
        with explained("argument DATA: "):
            return data.load(config.data, data_dir)
    except CommandError as error:
        if data_dir is not None and isinstance(error.__cause__, FileNotFoundError) and config.data in data.available():
            raise CommandError(f"argument --data-dir: {str(error.__cause__).partition('; ')[0]}{hint}") from error
        raise


def build(config: RunConfig, recipe: recipes.Recipe, splits: Splits) -> nn.Module:
    """Return the run's untrained model; its weights depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return recipe.model(splits.input_shape, splits.num_classes)


def _new_config(given: dict[str, Any]) -> RunConfig:
    values = {name: given.get(name, default) for name, default in DEFAULTS.items()}
    recipe = recipes.get(values["recipe"]).on(values["data"])
    chosen = {name: given[name] for name in ("hidden", "epochs", "batch_size") if name in given}
    recipe = recipe.with_(**chosen)
    if values["data_dir"] is not None:
        values["data_dir"] = str(Path(values["data_dir"]).expanduser().absolute())
    return RunConfig(
        **values,
        hidden=recipe.hidden,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        device=given.get("device") or ("cuda" if torch.cuda.is_available() else "cpu"),
        threads=given.get("threads", torch.get_num_threads()),
        table=recipe.table(),
        version=__version__,
    )


def _existing_run(given: dict[str, Any]) -> Run:
    """Open the run to go on with, and refuse wishes that are not its own."""
    with explained("argument --resume: "):
        run = Run.open(given["resume"])
    if "out" in given and Path(given["out"]).absolute() != run.folder.absolute():
        raise CommandError("argument --out: a resumed run stays in its folder; leave --out out")
    for name in ("data", "recipe", "hidden", "epochs", "batch_size", "seed", "validation", "device", "precision", "threads"):
        own = getattr(run.config, name)
        if name in given and given[name] != own:
            option = "DATA" if name == "data" else "--" + name.replace("_", "-")
            raise CommandError(
                f"argument {option}: {_shown(given[name])} contradicts {_shown(own)} of the run in {run.folder}; "
                "leave it out, or begin a new run with --out"
            )
    if run.checkpoint.exists():
        with explained("argument --resume: "):
            load_checkpoint(run.checkpoint)
    return run


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _fit(
    run: Run, recipe: recipes.Recipe, model: nn.Module, splits: Splits, *, progress: bool, fresh: bool
) -> History:
    config = run.config
    held_out = splits.validation if config.validation else None
    try:
        with explained():
            return fit(
                model,
                splits.train if config.validation else splits.train_and_validation,
                validation=held_out,
                epochs=config.epochs,
                batch_size=config.batch_size,
                optimizer=recipe.optimizer(),
                schedule=recipe.schedule,
                seed=config.seed,
                device=config.device,
                precision=config.precision,
                callbacks=[JSONLog(run.history), *([_ShowValidation()] if config.validation else [])],
                progress=progress,
                checkpoint=run.checkpoint,
                resume=True,
            )
    except CommandError as error:
        cause = error.__cause__
        if isinstance(cause, (OSError, CheckpointError)):  # a full disk and the like: nothing is wrong with the run
            raise CommandError(f"{error}; go on with: {run.resume_command}") from error
        if fresh:
            run.discard()
        raise


class _ShowValidation(Callback):
    """A line on standard error after each epoch."""

    def on_epoch_end(self, state: FitState) -> None:
        record = state.history[-1]
        found = record["validation"]
        head = "" if found["head_error"] is None else f", one-pass head {found['head_error']:.2f} %"
        line = f"epoch {record['epoch']}/{state.epochs}: validation error {found['error']:.2f} %{head}"
        tqdm.write(line, file=sys.stderr)


def _measure(config: RunConfig, model: nn.Module, splits: Splits) -> Evaluation:
    """Measure the validation split while settings are being chosen, else the test set."""
    with explained():
        return evaluate(model, splits.validation if config.validation else splits.test)


def _summary(
    run: Run, recipe: recipes.Recipe, model: nn.Module, history: History, found: Evaluation
) -> dict[str, Any]:
    config = run.config
    return {
        "test_error": None if config.validation else found.error,
        "validation_error": found.error if config.validation else None,
        "layer_errors": None if found.layer_errors is None else list(found.layer_errors),
        "layer_accuracies": None if found.layer_accuracies is None else list(found.layer_accuracies),
        "head_error": found.head_error,
        "samples": found.samples,
        "seconds": history.seconds,
        "epochs": len(history),
        "recipe": config.recipe,
        "data": config.data_name,
        "seed": config.seed,
        "hidden": list(config.hidden),
        "batch_size": config.batch_size,
        "parameters": sum(p.numel() for p in model.parameters()),
        "precision": config.precision,
        "device": _device(config.device),
        "threads": config.threads,
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
        "torch": torch.__version__,
        "version": __version__,
        "table": recipe.table(),
        "command": config.command(),
    }


def _device(name: str) -> str:
    return torch.cuda.get_device_name(name) if torch.device(name).type == "cuda" else name


def _draw(run: Run, history: History) -> str:
    """Draw the curves and say where they are; a run never fails for a picture."""
    try:
        plots.curves(history, run.curves)
    except (ImportError, OSError) as error:
        return f"curves: none, {describe(error)}"
    return f"curves: {run.curves}"
