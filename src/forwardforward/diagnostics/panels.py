"""Training curves of a history."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forwardforward._utils.arguments import checked
from forwardforward.diagnostics._figure import new_figure, save
from forwardforward.training import History

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["curves"]

COLUMNS = 4
_STYLES = {"head, validation": "--", "one-pass head, training": ":"}

_PANELS = (
    ("loss", "local loss"),
    ("accuracy", "layer accuracy"),
    ("separation", "separation of goodness"),
    ("largest_goodness", "largest goodness, validation"),
    ("gradient_norm", "gradient norm"),
    ("largest_weight", "largest weight"),
    ("learning_rate", "learning rate"),
)


@checked
def curves(
    history: History, path: str | Path | None = None, test_errors: Mapping[str, float] | None = None
) -> tuple[Figure, Any]:
    """Plot the metrics of every layer and the errors over the epochs, one panel for each that has data.

    Args:
        history: As returned by :func:`~forwardforward.training.fit`.
        path: File to save the figure to; default: not saved.
        test_errors: Errors on the test set, in the unit of the validation errors, by the names of what they measure,
            such as ``"model"``; drawn at the last epoch.

    Returns:
        The figure and its two-dimensional array of axes.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If the history is empty.

    Example:
        >>> record = {"epoch": 1, "seconds": 1.0, "layers": [None], "head": None, "validation": None}
        >>> figure, axes = curves(History([record]), test_errors={"model": 8.2})
        >>> axes[0, 0].get_title()
        'error, %'
    """
    if not len(history):
        raise ValueError("history must contain at least one epoch, got an empty one")
    depth = max(len(record["layers"]) for record in history)
    panels = {
        title: {f"layer {layer}": _values(history, layer, key) for layer in range(depth)} for key, title in _PANELS
    }
    error_title = _error_title(history)
    panels[error_title] = _errors(history)
    drawn = {title: lines for title, lines in panels.items() if any(map(_has_data, lines.values()))}
    if test_errors:
        drawn.setdefault(error_title, {})
    columns = max(1, min(len(drawn), COLUMNS))
    rows = max(1, math.ceil(len(drawn) / columns))
    figure = new_figure(4 * columns, 3.25 * rows)
    axes = figure.subplots(rows, columns, squeeze=False)
    epochs = [record["epoch"] for record in history]
    for axis, (title, lines) in zip(axes.flat, drawn.items(), strict=False):
        for label, values in lines.items():
            if _has_data(values):
                shown = [math.nan if value is None else value for value in values]
                axis.plot(epochs, shown, _STYLES.get(label, "-"), marker=".", label=label)
        axis.set_title(title)
        axis.set_xlabel("epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
        if title == error_title:
            for name, error in (test_errors or {}).items():
                axis.plot(epochs[-1:], [error], "*", label=f"{name}, test")
            axis.legend()
    if axes[0, 0].lines:
        axes[0, 0].legend()
    for axis in axes.flat[max(1, len(drawn)) :]:
        axis.remove()
    save(figure, path)
    return figure, axes


def _has_data(values: Sequence[float | None]) -> bool:
    return any(value is not None for value in values)


def _values(history: History, layer: int, key: str) -> list[float | None]:
    """Return a metric of a layer for every epoch, from the training or from the validation data."""
    if key != "largest_goodness":
        return history.layer(layer, key)
    measured = [(record["validation"] or {}).get(key) for record in history]
    return [values[layer] if values is not None and layer < len(values) else None for values in measured]


def _error_title(history: History) -> str:
    """Return the name of the error of the validation data, with its unit."""
    records = [record["validation"] for record in history if record["validation"] is not None]
    metric, unit = (records[-1].get("metric", "error"), records[-1].get("unit", "%")) if records else ("error", "%")
    return ", ".join(filter(None, (metric, unit)))


def _errors(history: History) -> dict[str, list[float | None]]:
    """Return the errors over the epochs; those of the training are in percent."""
    baseline = all(layer is None for record in history for layer in record["layers"])
    accuracies = [None if record["head"] is None else record["head"]["accuracy"] for record in history]
    return {
        "model, validation": history.validation("error"),
        "head, validation": history.validation("head_error"),
        f"{'model' if baseline else 'one-pass head'}, training": [
            None if accuracy is None else 100 * (1 - accuracy) for accuracy in accuracies
        ],
    }
