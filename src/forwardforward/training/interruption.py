"""The end of a training by a signal, after a step, with checkpoints to resume from."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from forwardforward.training.callbacks import FitState
from forwardforward.training.parallel import InterruptedElsewhere
from forwardforward.training.resuming import save_checkpoints

__all__ = ["interruptible", "interruption", "raise_interruption"]


def raise_interruption(state: FitState) -> None:
    """Write all checkpoints and end the training, if it was interrupted, in any process."""
    if state.parallel.any_process(state.interruption is not None):
        save_checkpoints(state)
        raise interruption(state)


def interruption(state: FitState) -> BaseException:
    """Return the exception of an interrupted training."""
    if state.interruption is None:
        state.interruption = InterruptedElsewhere("interrupted in another process")
    return state.interruption


@contextlib.contextmanager
def interruptible(state: FitState) -> Iterator[None]:
    """Context manager that a signal ends at once, also one that arrived shortly before.

    If no process has all layers, all are needed for a checkpoint: a signal then waits until the end of the context.
    """
    if not state.parallel.has_all_layers:
        yield
        return
    state.running = False
    try:
        if state.interruption is not None:
            raise state.interruption
        yield
    finally:
        state.running = True
