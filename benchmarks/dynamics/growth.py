"""When a growing network gets another layer: by the accuracies of its layers on the training samples of the epoch."""

from __future__ import annotations

from collections.abc import Callable

from forwardforward.training import History

__all__ = ["CONDITIONS", "TARGET", "condition"]

#: Layer accuracy that counts as learned, in the paper's figure of the delay.
TARGET = 0.7

#: Gain per epoch below which a layer has stopped improving, as a share.
SMALL_GAIN = 0.002


def reaches(history: History) -> bool:
    """Return whether the last layer has reached the target."""
    accuracy = history[-1]["layers"][-1]["accuracy"]
    return bool(accuracy >= TARGET)


def stops_improving(history: History) -> bool:
    """Return whether the last layer gained less than a fifth of a point in the last epoch, or lost."""
    depth = len(history[-1]["layers"])
    if len(history) < 2 or len(history[-2]["layers"]) < depth:
        return False
    before, after = (history[index]["layers"][-1]["accuracy"] for index in (-2, -1))
    return bool(after - before < SMALL_GAIN)


CONDITIONS: dict[str, Callable[[History], bool]] = {"reach": reaches, "plateau": stops_improving}


def condition(name: str, depth: int) -> Callable[[History], bool]:
    """Return the condition under which a network of at most ``depth`` layers grows.

    Args:
        name: A key of ``CONDITIONS``.
        depth: Largest number of layers.
    """
    return lambda history: len(history[-1]["layers"]) < depth and CONDITIONS[name](history)
