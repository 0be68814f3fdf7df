"""What the command lines share: a parser that fails in one line, readers of numbers, the device where none is named."""

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
USER_ERRORS = (ValueError, TypeError, OSError, ImportError, CheckpointError, TrainingDiverged)


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


def said(error: BaseException) -> str:
    """Return an error in one line, in the words of a command line."""
    text = " ".join((str(error) or type(error).__name__).split())
    return text.replace("; pass download=True to download it", "; without --data-dir it is downloaded")


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
