"""Helpers for the command lines of the benchmarks: types of options, and errors on one line."""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import torch

from forwardforward.training import CheckpointError, TrainingDiverged

__all__ = ["Parser", "bounded", "choose_device", "one_line_errors", "several", "widths"]

#: Errors caused by the user or the environment; all others are bugs and show their traceback.
USER_ERRORS = (ValueError, TypeError, OSError, ImportError, MemoryError, CheckpointError, TrainingDiverged)

#: Parts of torch's messages for lack of memory and for tensors of more elements than an integer can count.
OUT_OF_MEMORY = ("memory", "size calculation overflow", "multiplication overflow")


class Parser(argparse.ArgumentParser):
    """An argument parser that prints its description as written and errors on one line, without the usage."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def error(self, message: str) -> NoReturn:
        """Exit with status 2."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def bounded(kind: type[int] | type[float], lowest: float, highest: float = 2**31 - 1) -> Callable[[str], Any]:
    """Return a type for argparse that accepts numbers from ``lowest`` to ``highest``."""

    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = kind(lowest - 1)
        if not (math.isfinite(value) and lowest <= value <= highest):
            noun = "an integer" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"must be {noun} from {lowest} to {highest}, got {text!r}")
        return value

    return parse


def several(parse: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    """Return a type for argparse that accepts values separated by commas; duplicates are dropped."""
    return lambda text: tuple(dict.fromkeys(parse(part) for part in text.split(",")))


def widths(text: str) -> tuple[int, ...]:
    """Parse the widths of layers, separated by commas."""
    try:
        values = tuple(int(part) for part in text.split(","))
    except ValueError:
        values = ()
    if not values or not 1 <= min(values) <= max(values) < 2**31:
        raise argparse.ArgumentTypeError(f"must be widths such as 1000,1000, got {text!r}")
    return values


def choose_device(name: str | None) -> str:
    """Return a device after checking that it is available; default: a GPU if available, else the CPU."""
    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"--device {name!r} is not available: {str(error).splitlines()[0]}") from error
    return name


@contextlib.contextmanager
def one_line_errors(program: str, reduce: str = "", resume: str = "") -> Iterator[None]:
    """Context manager that ends a script in one line: status 2 for :data:`USER_ERRORS`, 130 for an interruption.

    Args:
        program: Name in front of the message.
        reduce: Options to reduce when memory is short; default: none are named.
        resume: Command that resumes the script after an interruption; default: none is shown.
    """
    try:
        yield
    except KeyboardInterrupt:
        _exit(130, f"{program}: interrupted" + (f"; resume with: {resume}" if resume else ""))
    except USER_ERRORS as error:
        _exit(2, f"{program}: {error or type(error).__name__}")
    except RuntimeError as error:
        if not any(words in str(error) for words in OUT_OF_MEMORY):
            raise
        _exit(2, f"{program}: out of memory{f'; reduce {reduce}' if reduce else ''}: {error}")


def _exit(status: int, message: str) -> NoReturn:
    print(" ".join(message.split()), file=sys.stderr)
    sys.exit(status)
