"""Tables of figures for standard output."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from forwardforward.runs import RunConfig


def headline(config: RunConfig, epochs: int) -> str:
    """Return the name of a run: recipe, data set, epochs if it is unfinished, and what it was trained on.

    Args:
        config: The run's configuration.
        epochs: Number of completed epochs.
    """
    parts = [f"{config.recipe} on {Path(config.data).name}"]
    parts += [f"unfinished, {epochs} of {config.epochs} epochs"] if epochs < config.epochs else []
    parts += ["trained with --validation"] if config.validation else []
    return ", ".join(parts)


def print_errors(figures: dict[str, Any], name: str) -> None:
    """Print the errors of the layers, the one-pass head and the model.

    Args:
        figures: ``measured_on`` (``"test"`` or ``"validation"``), the model's ``test_error`` or ``validation_error``,
            ``layer_errors``, ``head_error``, and the ``metric`` and ``unit`` of the errors.
        name: Name of the run, see :func:`headline`.
    """
    split = figures["measured_on"]
    rows = [(f"layer {index}", error) for index, error in enumerate(figures["layer_errors"] or [])]
    rows += [] if figures["head_error"] is None else [("one-pass head", figures["head_error"])]
    rows += [("model", figures[f"{split}_error"])]
    print(f"{name}: {split} {figures['metric']}")
    for row, error in rows:
        print(f"  {row:<14}{error:6.2f} {figures['unit']}".rstrip())
