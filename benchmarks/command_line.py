"""Helpers for the command lines of the benchmarks, beside those of the library's own."""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from forwardforward._utils.suggestions import did_you_mean
from forwardforward.cli import options
from forwardforward.cli.errors import USER_ERRORS, memory_errors, user_message
from forwardforward.cli.options import bounded, choose_device, widths

__all__ = [
    "Parser",
    "bounded",
    "check_names",
    "choose_device",
    "folder",
    "one_line_errors",
    "several",
    "shell_command",
    "widths",
]


class Parser(options.Parser):
    """An argument parser that prints its description as written and errors on one line, without the usage."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **arguments)

    def add_data_dir(self) -> None:
        """Add the option ``--data-dir``."""
        self.add_argument(
            "--data-dir", type=_existing_folder, help="folder of the data sets' files (default: downloaded to a cache)"
        )


def several(parse: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    """Return a type for argparse that accepts values separated by commas; duplicates are dropped."""
    return lambda text: tuple(dict.fromkeys(parse(part) for part in text.split(",")))


def folder(text: str) -> Path:
    """Type for argparse: a folder, which need not exist yet."""
    path = Path(text)
    if existing := next((parent for parent in (path, *path.parents) if parent.exists() and not parent.is_dir()), None):
        raise argparse.ArgumentTypeError(f"must be a folder, got {text}: {existing} is a file")
    return path


def _existing_folder(text: str) -> str:
    """Type for argparse: a folder that exists."""
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"must be an existing folder, got {text}")
    return text


def check_names(option: str, names: Iterable[str], known: Iterable[str], shown: Iterable[str] | None = None) -> None:
    """Check names on the command line.

    Args:
        option: The option, as in ``--rows``.
        names: The option's values.
        known: The names that it accepts.
        shown: Those that the message lists; default: all.

    Raises:
        ValueError: If a name is unknown, with the most similar one.
    """
    known = list(known)
    if unknown := [name for name in names if name not in known]:
        listed = ", ".join(known if shown is None else shown)
        got = ", ".join(map(repr, unknown))
        raise ValueError(f"{option} must be of {listed}, got {got}{did_you_mean(unknown[0], known)}")


#: Words in place of folders that differ between machines, by the option that names them.
PLACES = {"--data-dir": "DIR", "--run": "RUN", "--work": "WORK"}


def shell_command(module: str, words: Sequence[str]) -> str:
    """Return the command of a script, with words such as DIR in place of folders that differ between machines.

    Args:
        module: Name of the script's module.
        words: Words after the program's name.
    """
    shown = []
    for before, word in zip(["", *words], words, strict=False):
        option, equals, _ = word.partition("=")
        shown.append(f"{option}={PLACES[option]}" if equals and option in PLACES else PLACES.get(before, word))
    return shlex.join(["python", "-m", module, *shown])


@contextlib.contextmanager
def one_line_errors(program: str, reduce: str = "", resume: str = "") -> Iterator[None]:
    """Context manager that ends a script in one line: status 2 for errors of the user, 130 for an interruption.

    If the reader of the output has closed its end, the script ends with status 1 and without a message.

    Args:
        program: Name in front of the message.
        reduce: Options to reduce when memory is short; default: the sizes of the benchmark.
        resume: Command that resumes the script after an interruption; default: none is shown.
    """
    try:
        with memory_errors(reduce or "the sizes of the benchmark"):
            yield
            sys.stdout.flush()
    except BrokenPipeError:  # the reader has closed its end, as in `... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python writes when it exits
        sys.exit(1)
    except KeyboardInterrupt:
        _exit(130, f"{program}: interrupted" + (f"; resume with: {resume}" if resume else ""))
    except USER_ERRORS as error:
        _exit(2, f"{program}: {user_message(error)}")


def _exit(status: int, message: str) -> NoReturn:
    print(message, file=sys.stderr)
    sys.exit(status)
