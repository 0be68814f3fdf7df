"""Findings of the diagnosis, in words with the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from forwardforward._utils.arguments import checked

__all__ = ["CAUSES", "UNEXPLAINED", "Finding", "epochs_of", "listed", "percent"]

#: The causes that a diagnosis can name, those that explain others first.
CAUSES = (
    "divergence",
    "imbalanced classes",
    "threshold",
    "learning rate too high",
    "dead units",
    "label leak",
    "learning rate too low",
    "stalled layer",
    "too few epochs",
    "unrelated labels",
)

#: What a diagnosis says in place of a cause if a result is bad, or cannot be judged, and nothing explains it.
UNEXPLAINED = "not explained"


@checked
@dataclass(frozen=True)
class Finding:
    """A probable cause of a bad result.

    Args:
        cause: One of the causes that :doc:`/diagnosing` describes, or ``"not explained"``.
        layers: Indices of the layers concerned; empty for the whole network.
        text: What in the history speaks for it, with the numbers.
        remedy: What to change.

    Example:
        >>> print(Finding("dead units", (1,), "all units of layer 1 are constant.", "lower the learning rate."))
        dead units, layer 1: all units of layer 1 are constant. To do: lower the learning rate.
    """

    cause: str
    layers: tuple[int, ...]
    text: str
    remedy: str

    @property
    def title(self) -> str:
        """The cause and its layers."""
        return self.cause + (f", layer{'s' * (len(self.layers) > 1)} {listed(self.layers)}" if self.layers else "")

    def __str__(self) -> str:
        """Return the finding in one line."""
        return f"{self.title}: {self.text} To do: {self.remedy}"


def listed(numbers: Sequence[int]) -> str:
    """Return the first ten numbers, separated by commas."""
    return ", ".join(map(str, numbers[:10])) + (", ..." if len(numbers) > 10 else "")


def percent(share: float) -> str:
    """Return a share in percent with two significant digits."""
    return f"{100 * share:.2g} %" if share < 1 else f"{100 * share:,.0f} %"


def epochs_of(count: int) -> str:
    """Return a number of epochs with its noun."""
    return f"{count} epoch{'s' * (count != 1)}"
