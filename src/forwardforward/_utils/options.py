"""What the command lines share: a parser that fails in one line, readers of numbers, errors in one line."""

from __future__ import annotations

import argparse
import contextlib
import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import torch

from forwardforward.training import CheckpointError, TrainingDiverged
from forwardforward.training.arguments import check_device

#: What a user's slip or the world's raises; everything else is a mistake of ours and shows its traceback.
USER_ERRORS = (ValueError, TypeError, OSError, ImportError, MemoryError, CheckpointError, TrainingDiverged)

#: How torch says that memory is short, or that a tensor is too large to be counted.
SHORTAGES = ("memory", "size calculation overflow", "multiplication overflow")


class Parser(argparse.ArgumentParser):
    """A parser that says what was wrong in one line; the usage is what --help is for."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def bounded(kind: type[int] | type[float], lowest: float, highest: float = 2**31 - 1) -> Callable[[str], Any]:
    """Return a reader of numbers within bounds."""

    def read(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = kind(lowest - 1)
        if not (math.isfinite(value) and lowest <= value <= highest):
            whole = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"must be {whole} from {lowest:g} to {highest}, got {text!r}")
        return value

    return read


def widths(text: str) -> tuple[int, ...]:
    """Read the widths of layers."""
    try:
        read = tuple(int(part) for part in text.split(","))
    except ValueError:
        read = ()
    if not read or not 1 <= min(read) <= max(read) < 2**31:
        raise argparse.ArgumentTypeError(f"takes widths such as 1000,1000, got {text!r}")
    return read


def several(read: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    """Return a reader of values with commas between them, each counted once."""
    return lambda text: tuple(dict.fromkeys(read(part) for part in text.split(",")))


def one_line(error: BaseException) -> str:
    """Return an error in one line, in the words of a command line."""
    text = " ".join((str(error) or type(error).__name__).split())
    return text.replace("; pass download=True to download it", "; without --data-dir it is downloaded")


@contextlib.contextmanager
def saying_what_saves_memory(options: str) -> Iterator[None]:
    """Raise a ``MemoryError`` that names the options to make smaller where torch says that memory is short."""
    try:
        yield
    except USER_ERRORS:
        raise
    except RuntimeError as error:
        if not any(words in str(error) for words in SHORTAGES):
            raise
        raise MemoryError(f"out of memory, which smaller {options} may spare: {error}") from error


@contextlib.contextmanager
def ending_in_one_line(parser: argparse.ArgumentParser, options: str) -> Iterator[None]:
    """End a script in one line, with status 2 for what a user's slip or the world raises, 130 when interrupted."""
    try:
        with saying_what_saves_memory(options):
            yield
    except USER_ERRORS as error:
        parser.exit(2, f"{parser.prog}: {one_line(error)}\n")
    except KeyboardInterrupt:
        parser.exit(130, f"{parser.prog}: interrupted\n")


@contextlib.contextmanager
def plain_warnings(program: str) -> Iterator[None]:
    """Show warnings as a sentence, without the place in the code."""
    usual = warnings.formatwarning
    warnings.formatwarning = lambda message, *_, **__: f"{program}: {message}\n"
    try:
        yield
    finally:
        warnings.formatwarning = usual


def chosen_device(name: str | None) -> str:
    """Return the device of that name if it is here; a GPU where there is one unless a name is given."""
    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    check_device(name, "--device")
    return name
