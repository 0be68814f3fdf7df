"""Signals that end a training after its current step."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

from forwardforward.training.callbacks import Callback, FitState

__all__ = ["Interrupted", "StopOnSignal", "stop_on_signals"]

#: Windows has no SIGHUP.
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Interrupted(KeyboardInterrupt):
    """A signal ended the program.

    Attributes:
        number: Number of the signal.

    Example:
        >>> str(Interrupted(15))
        'interrupted by SIGTERM'
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(number).name}")
        self.number = number


class StopOnSignal(Callback):
    """Ends a training after the step in which a signal arrives, see :func:`stop_on_signals`.

    Elsewhere, such as while data are read or the network is evaluated, a signal raises :class:`Interrupted` at once. A
    second signal ends the process.

    Example:
        >>> with stop_on_signals() as stop:
        ...     type(stop).__name__
        'StopOnSignal'
    """

    def __init__(self) -> None:
        self._state: FitState | None = None
        self._received = False
        self._process = os.getpid()

    def on_fit_begin(self, state: FitState) -> None:
        """Remember the state, which knows whether steps are being computed."""
        self._state = state

    def handle(self, number: int, frame: Any = None) -> None:
        """Handle a signal.

        Args:
            number: Number of the signal.
            frame: The current stack frame, which is not used.
        """
        if os.getpid() != self._process:  # a worker of a data loader, which inherits the handler
            if number != signal.SIGINT:  # the terminal sends Ctrl-C to workers too; the main process decides
                os._exit(128 + number)
            return
        if self._received:
            for worker in multiprocessing.active_children():
                worker.kill()
            os._exit(128 + number)
        self._received = True
        interruption = Interrupted(number)
        if self._state is None or not self._state.running:
            raise interruption
        self._state.interruption = interruption


@contextlib.contextmanager
def stop_on_signals() -> Iterator[StopOnSignal]:
    """Context manager that handles SIGINT (Ctrl-C), SIGTERM and SIGHUP, for programs that train in the main thread.

    With the callback that it returns, a training finishes the current step, writes its checkpoints and raises
    :class:`Interrupted`. A signal that is ignored, as SIGHUP under ``nohup``, stays ignored.

    Example:
        >>> with stop_on_signals() as stop:
        ...     pass  # fit(..., checkpoint="run.pt", callbacks=[stop])
    """
    callback = StopOnSignal()
    if threading.current_thread() is not threading.main_thread():  # Python handles signals in the main thread only
        yield callback
        return
    previous = {number: signal.getsignal(number) for number in SIGNALS}
    # A handler that was not installed from Python is reported as None.
    handled = [number for number, handler in previous.items() if handler not in (signal.SIG_IGN, None)]
    try:
        for number in handled:
            signal.signal(number, callback.handle)
        yield callback
    finally:
        for number in handled:
            signal.signal(number, previous[number])
