"""What a history shows."""

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
    """Draw every layer's figures over the epochs, and the error on the validation data or the head's training error.

    Args:
        history: Of :func:`~forwardforward.training.fit`.
        path: Where to save the picture; not saved unless given.

    Returns:
        The figure and its array of axes.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If the history is empty.
    """
    if not len(history):
        raise ValueError("history must hold at least one epoch, got an empty one")
    figure = new_figure(16, 6.5)
    axes = figure.subplots(2, 4)
    epochs = [record["epoch"] for record in history]
    depth = len(history[0]["layers"])
    for axis, (key, title) in zip(axes.flat, _PANELS, strict=False):
        for layer in range(depth):
            values = _values(history, layer, key)
            if any(value is not None for value in values):
                shown = [float("nan") if value is None else value for value in values]
                axis.plot(epochs, shown, marker="." if len(epochs) < 3 else None, label=f"layer {layer + 1}")
        axis.set_title(title)
        axis.set_xlabel("epoch")
    axes.flat[0].legend() if axes.flat[0].lines else None
    _errors(axes.flat[-1], history, epochs)
    save(figure, path)
    return figure, axes


def _values(history: History, layer: int, key: str) -> list[float | None]:
    """Return a layer's figure by epoch: of the training, or where it has none of the validation data."""
    if key != "largest_goodness":
        return history.layer(layer, key)
    measured = [(record["validation"] or {}).get(key) for record in history]
    return [None if values is None else values[layer] for values in measured]


def _errors(axis: Any, history: History, epochs: list[int]) -> None:
    """Draw what there is of errors in percent."""
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
