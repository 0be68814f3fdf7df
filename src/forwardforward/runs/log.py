"""The history of a run while it is trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from forwardforward.training import FitState, JSONLog


class RunLog(JSONLog):
    """One line of JSON per epoch.

    Args:
        path: The file.
        accept: Called when the training begins, after the checkpoint was accepted.

    Attributes:
        epochs: Number of completed epochs.
    """

    def __init__(self, path: Path, accept: Callable[[], None]) -> None:
        super().__init__(path)
        self.accept = accept
        self.epochs = 0

    def on_fit_begin(self, state: FitState) -> None:
        """Write the history so far."""
        self.accept()
        self.epochs = len(state.history)
        super().on_fit_begin(state)

    def on_epoch_end(self, state: FitState) -> None:
        """Add the epoch."""
        super().on_epoch_end(state)
        self.epochs = len(state.history)
