"""What the summaries of runs and of ensembles state about a training."""

from __future__ import annotations

from typing import Any

from torch import nn

from forwardforward.objectives import BatchObjective
from forwardforward.recipes import Recipe
from forwardforward.recipes.facts import Facts
from forwardforward.runs.config import RunConfig
from forwardforward.training import History

__all__ = ["training_facts"]


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
        "seconds": history.seconds,
        "parameters": sum(p.numel() for p in model.parameters()),
        "training_parameters": _training_parameters(model),
        **Facts.of(recipe).to_dict(),
        "precision": config.precision,
        "command": config.command,
    }


def _training_parameters(model: nn.Module) -> int:
    """Return the number of parameters that serve training alone: those of losses over embeddings."""
    parts = [part for part in model.modules() if isinstance(part, BatchObjective)]
    return sum(p.numel() for p in {p for part in parts for p in part.parameters()})
