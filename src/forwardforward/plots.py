"""Plots of a training, with matplotlib."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["curves"]

PANELS = {
    "loss": "loss",
    "accuracy": "layer accuracy",
    "separation": "separation (positive - negative goodness)",
    "largest_weight": "largest weight",
    "gradient_norm": "gradient norm",
}


def curves(history: Iterable[Mapping[str, Any]], path: str | os.PathLike[str] | None = None) -> tuple[Any, Any]:
    """Plot each layer's loss, accuracy, separation, largest weight and gradient norm, and the validation error.

    Nothing of matplotlib's global state is touched, and no display is needed.

    Args:
        history: A :class:`~forwardforward.training.History`, or its records.
        path: Where to save the figure, if anywhere; the ending decides the format.

    Returns:
        The figure and its six axes, an array of shape (2, 3); the last is hidden where there was no validation.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If the history holds no epoch.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError as error:
        raise ImportError('curves need matplotlib: pip install "forwardforward[plot]"') from error
    records = list(history)
    if not records:
        raise ValueError("history must hold at least one epoch, got none")
    figure = Figure(figsize=(13, 7), layout="constrained")
    axes = figure.subplots(2, 3)
    for axis, (key, title) in zip(axes.flat, PANELS.items(), strict=False):
        for layer in range(len(records[0]["layers"])):
            _line(axis, records, [(one["layers"][layer] or {}).get(key) for one in records], f"layer {layer + 1}")
        _line(axis, records, [(one["head"] or {}).get(key) for one in records], "head", linestyle="--")
        axis.set_title(title)
    _validation(axes.flat[5], records)
    for axis in axes.flat:
        axis.set_xlabel("epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
        if axis.lines:
            axis.legend(fontsize="small")
    if path is not None:
        figure.savefig(path, dpi=120)
    return figure, axes


def _validation(axis: Any, records: list[Mapping[str, Any]]) -> None:
    found = [one["validation"] or {} for one in records]
    axis.set_title("validation error, %")
    axis.set_visible(any(found))
    depth = max(len(one.get("layer_errors") or ()) for one in found)
    for layer in range(depth):
        errors = [one["layer_errors"][layer] if one.get("layer_errors") else None for one in found]
        _line(axis, records, errors, f"layer {layer + 1}")
    _line(axis, records, [one.get("head_error") for one in found], "head", linestyle="--")
    _line(axis, records, [one.get("error") for one in found], "model", color="black")


def _line(axis: Any, records: list[Mapping[str, Any]], values: list[float | None], label: str, **style: Any) -> None:
    """Draw the epochs that have a value; a lone point needs a marker to be seen."""
    points = [(one["epoch"], value) for one, value in zip(records, values, strict=True) if value is not None]
    if points:
        axis.plot(*zip(*points, strict=True), label=label, marker="." if len(points) < 20 else None, **style)
