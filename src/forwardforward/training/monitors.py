"""The figure by which epochs are compared."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from forwardforward.training.history import History

__all__ = ["Mode", "Monitor", "best_of"]

Mode = Literal["min", "max"]

#: Figures whose highest value is the best, and those whose lowest is, beside the terms of a loss.
HIGHEST = ("accuracy", "layer_accuracies", "separation")
LOWEST = ("loss", "error", "layer_errors", "head_error")


@dataclass(frozen=True)
class Monitor:
    """A figure of the records of a history.

    Attributes:
        name: Name of the figure, with dots, as the columns of :class:`~forwardforward.training.CSVLog`.
        mode: Whether the lowest or the highest value is the best; None for the one that the name states.

    Raises:
        ValueError: If the mode is None, and the name does not state which value is the best.

    Example:
        >>> history = History([{"head": {"loss": 0.5}}, {"head": {"loss": 0.2}}, {"head": {"loss": 0.3}}])
        >>> Monitor("head.loss").best_epoch(history)
        2
    """

    name: str
    mode: Mode | None = None

    def __post_init__(self) -> None:
        if self.mode is None and best_of(self.name) is None:
            raise ValueError(
                f"mode must be 'min' or 'max' for monitor={self.name!r}, got None, which is for losses and the figures "
                f"{', '.join((*LOWEST[1:], *HIGHEST))}"
            )

    @property
    def needs_validation(self) -> bool:
        """Whether the figure is one of validation data."""
        return self.name.split(".")[0] == "validation"

    def check(self, validates: bool, user: str) -> None:
        """Check that the figure will exist.

        Args:
            validates: Whether there are validation data.
            user: The callback, for the message.

        Raises:
            ValueError: If the figure is one of validation data and there are none.
        """
        if self.needs_validation and not validates:
            raise ValueError(f"validation must be given to fit for {user}: choices must not use the test set")

    def best_epoch(self, history: History) -> int:
        """Return the first epoch with the best value, counted from 1; 0 if there is no epoch.

        Args:
            history: The epochs so far.

        Raises:
            ValueError: If the records have no figure of this name.
        """
        values = [self._comparable(record) for record in history]
        return 1 + values.index(min(values)) if values else 0

    def _comparable(self, record: Mapping[str, Any]) -> float:
        """Return a number that is lowest in the best epoch; infinity for an epoch without the figure."""
        value: Any = record
        for part in self.name.split("."):
            if value is None:  # of a layer that was not updated, or no validation data
                return math.inf
            try:
                value = value[int(part)] if isinstance(value, Sequence) else value[part]
            except (KeyError, IndexError, ValueError, TypeError):
                raise self._error(record) from None
        if value is None:
            return math.inf
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._error(record)
        return -value if (self.mode or best_of(self.name)) == "max" else value

    def _error(self, record: Mapping[str, Any]) -> ValueError:
        names = (name for key in ("validation", "head", "layers") for name in _names(record.get(key), key))
        return ValueError(f"monitor must be a figure of the history, such as {', '.join(names)}, got {self.name!r}")


def best_of(name: str) -> Mode | None:
    """Return whether the lowest or the highest value of a figure is the best, None if its name does not state it.

    Args:
        name: Its name, with dots.
    """
    parts = [part for part in name.split(".") if not part.isdigit()]
    if parts and parts[-1] in HIGHEST:
        return "max"
    return "min" if parts and (parts[-1] in LOWEST or "parts" in parts) else None


def _names(value: Any, prefix: str) -> list[str]:
    """Return the names of numbers, those of the first layer in place of all layers."""
    if isinstance(value, Mapping):
        return [name for key, item in value.items() for name in _names(item, f"{prefix}.{key}")]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return _names(value[0], f"{prefix}.0") if value else []
    return [prefix] if isinstance(value, int | float) else []
