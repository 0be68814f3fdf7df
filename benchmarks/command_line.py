"""Helpers for the command lines of the benchmarks, beside those of the library's own."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from forwardforward.cli import options
from forwardforward.cli.errors import USER_ERRORS, memory_errors, one_line
from forwardforward.cli.options import bounded, choose_device, widths

__all__ = ["Parser", "bounded", "choose_device", "one_line_errors", "several", "shell_command", "widths"]


class Parser(options.Parser):
    """An argument parser that prints its description as written and errors on one line, without the usage."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **arguments)


def several(parse: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    """Return a type for argparse that accepts values separated by commas; duplicates are dropped."""
    return lambda text: tuple(dict.fromkeys(parse(part) for part in text.split(",")))


#: Words in place of folders that differ between machines, by the option that names them.
PLACES = {"--data-dir": "DIR", "--run": "RUN"}


def shell_command(module: str, words: Sequence[str]) -> str:
    """Return the command of a script, with DIR in place of the folder of the data and RUN in place of that of a run.

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

    Args:
        program: Name in front of the message.
        reduce: Options to reduce when memory is short; default: the sizes of the benchmark.
        resume: Command that resumes the script after an interruption; default: none is shown.
    """
    try:
        with memory_errors(reduce or "the sizes of the benchmark"):
            yield
    except KeyboardInterrupt:
        _exit(130, f"{program}: interrupted" + (f"; resume with: {resume}" if resume else ""))
    except USER_ERRORS as error:
        _exit(2, f"{program}: {one_line(error)}")


def _exit(status: int, message: str) -> NoReturn:
    print(message, file=sys.stderr)
    sys.exit(status)
