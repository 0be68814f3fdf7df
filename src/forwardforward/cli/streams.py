"""Standard streams that are closed or cannot be written to."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO


@contextlib.contextmanager
def safe_streams() -> Iterator[None]:
    """Context manager in which standard streams that were closed discard their output, and standard error never fails.

    Progress bars and messages are less important than the results, so a full disk or a closed pipe behind standard
    error ends no training. Standard output that cannot be written to raises an ``OSError``.
    """
    _reopen()
    stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 - open until the process ends
    if isinstance(stdout, io.TextIOWrapper):
        stdout.reconfigure(errors="backslashreplace")  # file names may contain bytes that are not UTF-8
    stderr: Any = _Lenient(sys.stderr or open(os.devnull, "w"))  # noqa: SIM115
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        yield


def flushes(stream: TextIO) -> bool:
    """Write what remains in a stream's buffer, and return whether that was possible."""
    try:
        stream.flush()
    except OSError:
        return False
    return True


def silence(stream: TextIO) -> None:
    """Send what remains in a stream's buffer, which Python writes again when it exits, to the null device."""
    with contextlib.suppress(OSError, ValueError):  # a stream of a test has no descriptor
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def _reopen() -> None:
    """Open closed standard descriptors, so that no file that is opened later becomes standard output."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)


class _Lenient:
    """A text stream that discards what cannot be written."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            silence(self._stream)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            silence(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
