"""The facts on a run for a model card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from forwardforward.recipes import Recipe
from forwardforward.runs.config import RunConfig

__all__ = ["card"]


def card(config: RunConfig, recipe: Recipe, summary: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the facts on a run for a model card, by name.

    Args:
        config: The configuration.
        recipe: The recipe.
        summary: Content of ``summary.json``; None if there is none.
    """
    facts: dict[str, Any] = {
        "name": f"{config.recipe} on {Path(config.data).name}",
        "data": Path(config.data).name,
        "recipe": config.recipe,
        "source": recipe.source,
        **{name: value for name, value in config.table.items() if name not in ("widths", "epochs", "batch_size")},
        "widths": list(config.widths),
        "epochs": config.epochs,
        "batch size": config.batch_size,
        "seed": config.seed,
        "precision": config.precision,
        "command": config.command or None,
    }
    if summary is not None:
        measured, metric, unit = summary.get("measured_on"), summary.get("metric", "error"), summary.get("unit", "%")
        error = summary.get("test_error") if measured == "test" else summary.get("validation_error")
        facts |= {
            "trained on": summary.get("trained_on"),
            f"{measured} {metric}, {unit}" if unit else f"{measured} {metric}": error,
            f"one-pass head, {unit or metric}": summary.get("head_error"),
            f"layers' errors, {unit or metric}": summary.get("layer_errors"),
            "seconds": summary.get("seconds"),
            "torch": summary.get("torch"),
        }
    return {name: value for name, value in facts.items() if value is not None}
