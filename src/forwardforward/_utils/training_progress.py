"""Plug-ins that depend on the progress of the training, such as a threshold with a schedule."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

__all__ = ["HasProgress", "set_progress"]


@runtime_checkable
class HasProgress(Protocol):
    """A plug-in that depends on the progress of the training."""

    def set_progress(self, progress: float) -> None:
        """Set the progress, from 0 to 1."""
        ...


def set_progress(parts: Iterable[object], progress: float) -> None:
    """Set the progress of the plug-ins among some objects that depend on it.

    Args:
        parts: The objects, such as the modules of a network.
        progress: Progress of the training, from 0 to 1.
    """
    for part in parts:
        if isinstance(part, HasProgress):
            part.set_progress(progress)
