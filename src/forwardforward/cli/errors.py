"""From exceptions to the one line that a user of the command line reads."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from forwardforward.training import CheckpointError, TrainingDiverged


class CommandError(Exception):
    """What ends the program with one line and no traceback.

    Args:
        message: The line.
        code: The exit code.
    """

    def __init__(self, message: str, code: int = 2) -> None:
        super().__init__(" ".join(message.split()))
        self.code = code


@contextlib.contextmanager
def explained(prefix: str = "", suffix: str = "") -> Iterator[None]:
    """Turn the errors that the library raises for bad input into a :class:`CommandError`."""
    try:
        yield
    except (ValueError, TypeError, ImportError, OSError, CheckpointError, TrainingDiverged, MemoryError) as error:
        raise CommandError(prefix + describe(error) + suffix) from error
    except RuntimeError as error:
        if "memory" not in str(error):  # all else is a bug, and a bug wants its traceback
            raise
        raise CommandError(
            f"out of memory: a smaller --batch-size or --hidden may help ({str(error).splitlines()[0]})"
        ) from error


def describe(error: BaseException) -> str:
    """Return an error's message; for those of the system with the file and without the number."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__
