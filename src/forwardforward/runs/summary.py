"""The summary of a finished run: its results, with what a comparison of results must state."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from forwardforward._utils.files import parse_json
from forwardforward.network import Network
from forwardforward.objectives import BatchObjective
from forwardforward.recipes import Recipe
from forwardforward.recipes.facts import Facts
from forwardforward.runs.config import RunConfig
from forwardforward.runs.records import read_text
from forwardforward.training import Evaluation, History

__all__ = ["errors_on_test_set", "facts_of", "read_held_out", "summary_of", "total_seconds", "training_facts"]

#: Numbers in ``summary.json`` that are read again; each may be missing (None).
NUMBERS = ("total_seconds", "test_error", "head_error")


def summary_of(
    config: RunConfig,
    recipe: Recipe,
    model: Network,
    history: History,
    result: Evaluation,
    holds_out: bool,
    train_samples: int,
) -> dict[str, Any]:
    """Return the content of ``summary.json``, apart from the total time and the distribution over processes.

    Args:
        config: The configuration.
        recipe: The recipe.
        model: The trained model.
        history: Its history.
        result: The errors on the test set or, with ``config.validation``, on the validation split.
        holds_out: Whether the validation split was held out.
        train_samples: Number of training samples.
    """
    last, test = history[-1]["validation"], not config.validation
    return {
        **training_facts(config, recipe, model, history, holds_out),
        "train_samples": train_samples,
        "measured_on": "test" if test else "validation",
        "metric": result.metric,
        "unit": result.unit,
        "test_error": result.error if test else None,
        "layer_errors": None if result.layer_errors is None else list(result.layer_errors),
        "head_error": result.head_error,
        # that of the last epoch, beside an error on the test set; the weights may be those of an earlier epoch
        "validation_error": (None if last is None else last["error"]) if test else result.error,
        "device": torch.cuda.get_device_name(config.device) if config.device.startswith("cuda") else config.device,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "torch": torch.__version__,
    }


def training_facts(
    config: RunConfig, recipe: Recipe, model: nn.Module, history: History, holds_out: bool
) -> dict[str, Any]:
    """Return what a training was, in a form that JSON can represent.

    Args:
        config: The configuration of the run.
        recipe: Its recipe.
        model: Its model.
        history: Its history.
        holds_out: Whether the validation split was held out.
    """
    return {
        "data": config.data,
        "recipe": config.recipe,
        "widths": list(config.widths),
        "epochs": len(history),
        "planned_epochs": config.epochs,
        "batch_size": config.batch_size,
        "seed": config.seed,
        "trained_on": "training split" if holds_out else "all training images",
        "teachers": len(config.teachers),
        "seconds": history.seconds,
        "parameters": sum(p.numel() for p in model.parameters()),
        "training_parameters": _training_parameters(model),
        **Facts.of(recipe).to_dict(),
        "precision": config.precision,
        "command": config.command,
    }


def total_seconds(path: Path, epochs: int) -> float | None:
    """Return the total time in the summary, None if it is unknown or there is no summary of this number of epochs."""
    summary = _numbers(path, epochs)
    return None if summary is None else summary["total_seconds"]


def errors_on_test_set(path: Path, epochs: int) -> dict[str, float]:
    """Return the test errors in the summary, by name; none if there is no summary of this number of epochs."""
    summary = _numbers(path, epochs)
    if summary is None:
        return {}
    errors = {"model": summary["test_error"]}
    if summary["measured_on"] == "test":
        errors["one-pass head"] = summary["head_error"]
    return {name: error for name, error in errors.items() if error is not None}


def read_held_out(path: Path, epochs: int) -> dict[str, Any] | None:
    """Return the errors in ``summary.json``, by the names that evaluations have; None if there are none.

    Args:
        path: ``summary.json``.
        epochs: Number of epochs that the summary must be of.

    Raises:
        ValueError: If it is not the summary of a run.
    """
    if not path.exists():
        return None
    try:
        summary = parse_json(read_text(path))
        if summary["epochs"] != epochs:
            return None
        errors, layer_errors = (summary["test_error"], summary["validation_error"]), summary["layer_errors"]
        error = next((float(value) for value in errors if value is not None), None)
        layers = None if layer_errors is None else [float(value) for value in layer_errors]
        return None if error is None else {"error": error, "layer_errors": layers, "unit": summary.get("unit", "%")}
    except (ValueError, TypeError, LookupError) as error:
        raise ValueError(f"{path} is not the summary of a run: {error}") from error


def facts_of(path: Path) -> dict[str, Any] | None:
    """Return all of the summary, None if there is none that can be read: a card needs none."""
    try:
        summary = parse_json(read_text(path))
    except ValueError:
        return None
    return summary if isinstance(summary, dict) else None


def _numbers(path: Path, epochs: int) -> dict[str, Any] | None:
    """Return the numbers of a summary of this number of epochs, with what they were measured on; None without one."""
    if not path.exists():
        return None
    try:
        summary = parse_json(read_text(path))
        for name in NUMBERS:
            if not isinstance(summary[name], float | None):
                raise TypeError(f"{name} must be a number, got {summary[name]!r}")
        numbers = {name: summary[name] for name in ("measured_on", *NUMBERS)}
        return numbers if summary["epochs"] == epochs else None
    except (ValueError, TypeError, LookupError) as error:
        raise ValueError(f"{path} is not the summary of a run, remove it to write it again: {error}") from error


def _training_parameters(model: nn.Module) -> int:
    """Return the number of parameters that serve training alone: those of losses over embeddings."""
    parts = [part for part in model.modules() if isinstance(part, BatchObjective)]
    return sum(p.numel() for p in {p for part in parts for p in part.parameters()})
