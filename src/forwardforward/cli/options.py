"""The argument parser of all command lines, and types of options for it."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import torch

from forwardforward._utils.checks import check_device
from forwardforward._utils.files import check_replaceable
from forwardforward._utils.suggestions import did_you_mean
from forwardforward.cli.distributed import leave_to_rank_0
from forwardforward.recipes.expressions import canonical
from forwardforward.runs import Run
from forwardforward.runs.folder import FILES
from forwardforward.saving.folder import CONFIG, WEIGHTS


class Parser(argparse.ArgumentParser):
    """An argument parser that reports errors on one line, without the usage, and suggests similar names.

    Attributes:
        source: File whose content is parsed in place of the command line; errors are raised with its name.
    """

    source: str | None = None

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.allow_abbrev = False  # "--data mnist" would be that of --data-dir, and train on the default data set

    def error(self, message: str) -> NoReturn:
        message = " ".join(message.split())
        if self.source is not None:
            raise ValueError(f"{self.source}: {message}")
        leave_to_rank_0()
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse words, and report unknown options by the command that does not take them."""
        values, unknown = super().parse_known_args(args, namespace)
        if unknown and self._subparsers is None:
            option = unknown[0].split("=")[0]
            self.error(
                f"unrecognized arguments: {' '.join(unknown)}{did_you_mean(option, self._option_string_actions)}"
            )
        return values, unknown

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        if "" in arg_strings and action.type is None and action.nargs in (None, "?"):  # such as an unset variable's
            raise argparse.ArgumentError(action, "must not be empty, got ''")
        return super()._get_values(action, arg_strings)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            names = [str(name) for name in action.choices]
            raise argparse.ArgumentError(
                action, f"must be one of {', '.join(names)}, got {value!r}{did_you_mean(str(value), names)}"
            )


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


def check_out(path: str) -> None:
    """Check, before anything is computed, that ``--out`` can and may be written.

    Args:
        path: The option.

    Raises:
        ValueError: If it is a file of a run or of a saved model, or neither a new nor a regular file.
        OSError: If its folder does not exist or cannot be written to.
    """
    file = Path(path)
    if not path or (os.path.lexists(path) and not (file.is_file() and not file.is_symlink())):
        raise ValueError(f"--out must be the name of a new or a regular file, got {path or repr(path)}")
    if file.name in (*FILES, WEIGHTS) and file.with_name(CONFIG).exists():
        raise ValueError(f"--out must not be a file of a run or a saved model, got {path}")
    try:
        check_replaceable(file)
    except OSError as error:
        raise type(error)(
            f"--out must be a file in a folder that can be written to, got {path}: {error.strerror}"
        ) from error


def assignments(words: Sequence[str] | None) -> dict[str, str]:
    """Return the fields and texts of ``FIELD=VALUE``; of several for one field, the last.

    Args:
        words: The words after each ``--set``; None for none.

    Raises:
        ValueError: If a word has no name or no value, or the value cannot be read.
    """
    texts: dict[str, str] = {}
    for word in words or ():
        name, equals, text = word.partition("=")
        if not (name.strip() and equals and text.strip()):
            raise ValueError(f"--set must be FIELD=VALUE, such as lr=0.01, got {word!r}")
        try:
            texts[name.strip().replace("-", "_")] = canonical(text)
        except ValueError as error:
            raise ValueError(f"--set {name.strip()}: {error}") from error
    return texts
