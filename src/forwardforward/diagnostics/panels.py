"""Training curves of a history."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from forwardforward.diagnostics._figure import new_figure, save
from forwardforward.training import History

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["curves"]

_PANELS = (
    ("loss", "local loss"),
    ("accuracy", "layer accuracy"),
    ("separation", "separation of goodness"),
    ("largest_goodness", "largest goodness, validation"),
    ("gradient_norm", "gradient norm"),
    ("largest_weight", "largest weight"),
    ("learning_rate", "learning rate"),
)


def curves(history: History, path: str | Path | None = None) -> tuple[Figure, Any]:
    """Plot the metrics of every layer over the epochs, and the validation error or the head's training error.

    Args:
        history: As returned by :func:`~forwardforward.training.fit`.
        path: File to save the figure to; default: not saved.

    Returns:
        The figure and its array of axes.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If the history is empty.

    Example:
        >>> record = {"epoch": 1, "seconds": 1.0, "layers": [None], "head": None, "validation": None}
        >>> figure, axes = curves(History([record]))
    """
    if not len(history):
        raise ValueError("history must contain at least one epoch, got an empty one")
    figure = new_figure(16, 6.5)
    axes = figure.subplots(2, 4)
    epochs = [record["epoch"] for record in history]
    depth = max(len(record["layers"]) for record in history)
    for axis, (key, title) in zip(axes.flat, _PANELS, strict=False):
        for layer in range(depth):
            values = _values(history, layer, key)
            if any(value is not None for value in values):
                shown = [float("nan") if value is None else value for value in values]
                axis.plot(epochs, shown, marker="." if len(epochs) < 3 else None, label=f"layer {layer}")
        axis.set_title(title)
        axis.set_xlabel("epoch")
    axes.flat[0].legend() if axes.flat[0].lines else None
    _errors(axes.flat[-1], history, epochs)
    save(figure, path)
    return figure, axes


def _values(history: History, layer: int, key: str) -> list[float | None]:
    """Return a metric of a layer for every epoch, from the training or from the validation data."""
    if key != "largest_goodness":
        return history.layer(layer, key)
    measured = [(record["validation"] or {}).get(key) for record in history]
    return [values[layer] if values is not None and layer < len(values) else None for values in measured]


def _errors(axis: Any, history: History, epochs: list[int]) -> None:
    """Plot the available errors in percent."""
    if all(record["validation"] is not None for record in history):
        axis.plot(epochs, history.validation("error"), color="black", label="model, validation")
        if history[0]["validation"]["head_error"] is not None:
            axis.plot(epochs, history.validation("head_error"), "--", label="head, validation")
    if all(record["head"] is not None for record in history):
        errors = [100 * (1 - record["head"]["accuracy"]) for record in history]
        name = "model" if all(layer is None for layer in history[0]["layers"]) else "one-pass head"  # of a baseline
        axis.plot(epochs, errors, ":", color="gray", label=f"{name}, training")
    axis.set_title("error, %")
    axis.set_xlabel("epoch")
    if axis.lines:
        axis.legend()
