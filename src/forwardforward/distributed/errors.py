"""Errors of other processes."""

from __future__ import annotations

__all__ = ["RankError"]


class RankError(RuntimeError):
    """Another process of a training ended, failed or did not answer.

    Attributes:
        reported: Whether the other process reported its own error.
    """

    def __init__(self, message: str, reported: bool) -> None:
        super().__init__(message)
        self.reported = reported
