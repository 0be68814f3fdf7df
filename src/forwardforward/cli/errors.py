"""Errors and warnings on one line of standard error."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator

from forwardforward._utils.plugins import one_line
from forwardforward.training import CheckpointError, TrainingDiverged

#: Errors caused by the user or the environment; all others are reported as errors of the library.
USER_ERRORS = (ValueError, TypeError, OSError, ImportError, MemoryError, CheckpointError, TrainingDiverged)

#: Parts of torch's messages for lack of memory and for tensors of more elements than an integer can count.
OUT_OF_MEMORY = ("memory", "size calculation overflow", "multiplication overflow")


def user_message(error: BaseException) -> str:
    """Return an error's message on one line, with options of the command line in place of arguments."""
    return one_line(error).replace("; pass download=True to download it", "; without --data-dir it is downloaded")


@contextlib.contextmanager
def memory_errors(options: str) -> Iterator[None]:
    """Context manager that raises torch's errors for lack of memory as a ``MemoryError``.

    Args:
        options: Options to reduce, named in the message.
    """
    try:
        yield
    except USER_ERRORS:
        raise
    except RuntimeError as error:
        if not any(words in str(error) for words in OUT_OF_MEMORY):
            raise
        raise MemoryError(f"out of memory; reduce {options}: {error}") from error


@contextlib.contextmanager
def short_warnings(program: str) -> Iterator[None]:
    """Context manager that shows warnings without their position in the code.

    Args:
        program: Name in front of each warning.
    """
    original = warnings.formatwarning
    warnings.formatwarning = lambda message, *_, **__: f"{program}: {message}\n"
    try:
        yield
    finally:
        warnings.formatwarning = original
