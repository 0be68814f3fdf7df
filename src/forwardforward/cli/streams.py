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
    stdout, stderr = (stream or open(os.devnull, "w") for stream in (sys.stdout, sys.stderr))  # noqa: SIM115
    if isinstance(stdout, io.TextIOWrapper):
        stdout.reconfigure(errors="backslashreplace")  # file names may contain bytes that are not UTF-8
    output: Any = _Stream(stdout, "standard output")
    errors: Any = _Stream(stderr)
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # after another error, or of argparse's --help
                output.flush()
            errors.flush()


def _reopen() -> None:
    """Open closed standard descriptors, so that no file that is opened later becomes standard output."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)


class _Stream:
    """A text stream that fails once at most.

    Args:
        stream: The stream.
        name: Its name in the error; default: no error, what cannot be written is discarded.
    """

    def __init__(self, stream: TextIO, name: str | None = None) -> None:
        self._stream = stream
        self._name = name

    def write(self, text: str) -> int:
        with self._failure():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._failure():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextlib.contextmanager
    def _failure(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            with contextlib.suppress(OSError, ValueError):  # a stream of a test has no descriptor
                # Python writes what remains in the buffer again when it exits: send it to the null device.
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, self._stream.fileno())
                os.close(null)
            if isinstance(error, BrokenPipeError) and self._name is not None:
                raise
            if self._name is not None:
                raise OSError(f"{self._name} cannot be written to: {error}") from error
