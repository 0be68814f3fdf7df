"""Progress of a training on standard error: a bar in a terminal or notebook, else one line per epoch."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from tqdm.auto import tqdm

from forwardforward.objectives import LocalLoss
from forwardforward.step import StepResult
from forwardforward.training.history import validation_text

INTERVAL = 1.0  # seconds between readings of the figures, each of which waits for the device
MOST_LAYERS = 4  # of more layers, a bar shows the first and the last; lines show all


class Progress:
    """The progress of a training, as a context manager.

    Args:
        steps: Number of steps of an epoch, None if it is unknown.
        epochs: Total number of epochs.
        done: Number of steps that are done already.
        show: Whether to show anything.
    """

    def __init__(self, steps: int | None, epochs: int, done: int, show: bool) -> None:
        show = show and sys.stderr is not None
        is_notebook = any(base.__name__ == "tqdm_notebook" for base in tqdm.__mro__)
        self._bar_shown = show and (is_notebook or sys.stderr.isatty())
        self._lines_shown = show and not self._bar_shown
        self._epochs = epochs
        self._bar = tqdm(
            total=None if steps is None else steps * epochs, initial=done, disable=not self._bar_shown, unit="step"
        )
        self._validation = ""
        self._last_time = 0.0

    def __enter__(self) -> Progress:
        """Return the progress."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the bar."""
        self._bar.close()

    def begin_epoch(self, epoch: int) -> None:
        """Show an epoch, counted from 0."""
        self._bar.set_description(f"epoch {epoch + 1}/{self._epochs}")

    def show(self, text: str) -> None:
        """Show a text in the bar until the next figures.

        Args:
            text: What takes long.
        """
        if self._bar_shown:
            self._bar.set_postfix_str(text, refresh=True)

    def update(self, result: StepResult) -> None:
        """Count one step, and show its figures from time to time."""
        self._bar.update()
        now = time.monotonic()
        if self._bar_shown and now - self._last_time >= INTERVAL:
            self._last_time = now
            figures = {index: _figures(local) for index, local in result.layers.items()}
            head = None if result.head is None else _figures(result.head)
            self._bar.set_postfix_str(_joined(_text(figures, head, MOST_LAYERS), self._validation))

    def end_epoch(self, record: Mapping[str, Any]) -> None:
        """Show a completed epoch."""
        most = MOST_LAYERS if self._bar_shown else len(record["layers"])
        self._validation = "" if record["validation"] is None else _errors(record["validation"], most)
        if not self._bar_shown and not self._lines_shown:
            return
        figures = {index: layer for index, layer in enumerate(record["layers"]) if layer is not None}
        text = _joined(_text(figures, record["head"], most), self._validation)
        if self._bar_shown:
            self._bar.set_postfix_str(text)
        else:
            print(f"epoch {record['epoch']}/{self._epochs}: {text}, {record['seconds']:.1f} s", file=sys.stderr)


def _figures(local: LocalLoss) -> dict[str, float | None]:
    shown = {"loss": local.loss, "accuracy": local.accuracy}
    return {name: None if value is None else float(value.mean()) for name, value in shown.items()}  # over replicas


def _errors(validation: Mapping[str, Any], most: int) -> str:
    """Return the errors on validation data, of the model and of the layers."""
    layers = [f"{error:.1f}" for error in validation["layer_errors"] or ()]
    return validation_text(validation) + (f" (layers {_listed(layers, most)})" if layers else "")


def _text(layers: Mapping[int, Mapping[str, Any]], head: Mapping[str, Any] | None, most: int) -> str:
    """Return losses and accuracies of the layers, of a network without local objectives those of the head."""
    rows = list(layers.values()) or ([] if head is None else [head])
    losses = [f"{row['loss']:.3g}" for row in rows]
    accuracies = [f"{100 * row['accuracy']:.1f}" for row in rows if row["accuracy"] is not None]
    return _joined(
        f"loss {_listed(losses, most)}" if losses else "",
        f"accuracy {_listed(accuracies, most)} %" if accuracies else "",
    )


def _listed(numbers: list[str], most: int) -> str:
    return " ".join(numbers) if len(numbers) <= most else f"{numbers[0]} ... {numbers[-1]}"


def _joined(*parts: str) -> str:
    return ", ".join(filter(None, parts))
