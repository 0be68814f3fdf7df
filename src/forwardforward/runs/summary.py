"""What the summaries of runs and of ensembles state about a training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from forwardforward.objectives import BatchObjective
from forwardforward.recipes.facts import Facts

if TYPE_CHECKING:
    from forwardforward.runs.run import Run

__all__ = ["training_facts"]


def training_facts(run: Run, model: nn.Module, epochs: int, seconds: float) -> dict[str, Any]:
    """Return what a training was, in a form that JSON can represent.

    Args:
        run: The run.
        model: Its model.
        epochs: Number of completed epochs.
        seconds: Duration of the training.
    """
    config = run.config
    return {
        "data": config.data,
        "recipe": config.recipe,
        "widths": list(config.widths),
        "epochs": epochs,
        "planned_epochs": config.epochs,
        "batch_size": config.batch_size,
        "seed": config.seed,
        "trained_on": "training split" if run.holds_out else "all training images",
        "seconds": seconds,
        "parameters": sum(p.numel() for p in model.parameters()),
        "training_parameters": _training_parameters(model),
        **Facts.of(run.recipe).to_dict(),
        "precision": config.precision,
        "command": config.command,
    }


def _training_parameters(model: nn.Module) -> int:
    """Return the number of parameters that serve training alone: those of losses over embeddings."""
    parts = [part for part in model.modules() if isinstance(part, BatchObjective)]
    return sum(p.numel() for p in {p for part in parts for p in part.parameters()})
