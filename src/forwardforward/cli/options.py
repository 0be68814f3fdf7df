"""The argument parser of all command lines, and types of options for it."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any, NoReturn

import torch

from forwardforward._utils.checks import check_device
from forwardforward.runs import Run


class Parser(argparse.ArgumentParser):
    """An argument parser that reports errors on one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {' '.join(message.split())}; see {self.prog} --help\n")


def bounded(kind: type[int] | type[float], lowest: float, highest: float = 2**31 - 1) -> Callable[[str], Any]:
    """Return a type for argparse that accepts numbers from ``lowest`` to ``highest``."""

    def read(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = kind(lowest - 1)
        if not (math.isfinite(value) and lowest <= value <= highest):
            noun = "an integer" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"must be {noun} from {lowest} to {highest}, got {text!r}")
        return value

    return read


def widths(text: str) -> tuple[int, ...]:
    """Read the widths of layers, separated by commas."""
    try:
        values = tuple(int(part) for part in text.split(","))
    except ValueError:
        values = ()
    if not values or not 1 <= min(values) <= max(values) < 2**31:
        raise argparse.ArgumentTypeError(f"must be widths such as 1000,1000, got {text!r}")
    return values


def choose_device(name: str | None, run: Run | None = None) -> str:
    """Return a device after checking that it is available.

    Args:
        name: The option.
        run: The run whose device is the default; without one, a GPU if available, else the CPU.
    """
    if name is not None:
        check_device(name, "--device")
        return name
    if run is not None:
        check_device(run.config.device, f"--device, by default that of {run.folder / 'config.json'},")
        return run.config.device
    return "cuda" if torch.cuda.is_available() else "cpu"
