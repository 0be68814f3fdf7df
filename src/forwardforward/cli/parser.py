"""The options, and what values they take."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import torch

from forwardforward import __version__, data, recipes
from forwardforward.cli.errors import CommandError
from forwardforward.cli.evaluate import evaluate
from forwardforward.cli.recipes import list_recipes
from forwardforward.cli.train import train


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """End with the message alone; usage is what --help is for."""
        raise CommandError(f"{message} ({self.prog} --help lists the options)")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = Parser(
        "forwardforward", description="Train networks with the Forward-Forward algorithm.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"forwardforward {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="{train,evaluate,recipes}")
    _add_train(commands)
    _add_evaluate(commands)
    listing = commands.add_parser("recipes", help="list the recipes", allow_abbrev=False)
    listing.add_argument("--json", action="store_true", help="print them whole, as one JSON object")
    listing.set_defaults(run=list_recipes)
    return parser


def _add_train(commands: Any) -> None:
    parser = commands.add_parser(
        "train",
        help="train a model and show what happened",
        description="Train on all training images and measure the test set once, at the end.",
        allow_abbrev=False,
        # What was not given is absent, so that --resume can tell a wish from a default.
        argument_default=argparse.SUPPRESS,
    )
    names = ", ".join(data.available())
    add = parser.add_argument
    add("data", nargs="?", type=data_name, metavar="DATA", help=f"{names} or the path of an .npz file (digits)")
    add("--recipe", type=recipe_name, help="one of those that `forwardforward recipes` lists (hinton)")
    add("--epochs", type=whole_number(1), help="passes over the training images (the recipe's)")
    add("--batch-size", type=whole_number(1), help="images a step (the recipe's)")
    add("--hidden", type=widths, metavar="N,N,...", help="widths of the layers (the recipe's)")
    add("--seed", type=whole_number(0, 2**63 - 1), help="decides weights, order and draws (0)")
    add("--validation", action="store_true",
        help="hold out the validation split, show its error after each epoch, and leave the test set alone")
    add("--data-dir", metavar="DIR", help="folder of the data sets; unless given, they are downloaded to a cache")
    add("--out", metavar="RUN", help="the run's folder (runs/DATA-RECIPE-SEED)")
    add("--resume", metavar="RUN", help="go on with the run in this folder, under its own configuration")
    add("--device", type=device_name, help="cpu, cuda, cuda:1, ... (cuda where there is one)")
    add("--precision", choices=("float32", "bf16"), help="of the products (float32)")
    add("--threads", type=whole_number(1, 4096), help="CPU threads (torch's choice)")
    add("--json", action="store_true", default=False, help="print the summary as one JSON object, and nothing else")
    add("--no-progress", action="store_true", default=False, help="show no progress bar")
    parser.set_defaults(run=train)


def _add_evaluate(commands: Any) -> None:
    parser = commands.add_parser("evaluate", help="measure a run's model on the test set", allow_abbrev=False)
    add = parser.add_argument
    add("folder", metavar="RUN", help="the run's folder")
    add("--validation", action="store_true", help="measure on the validation split that the run held out")
    add("--data-dir", metavar="DIR", help="folder of the data sets (the run's)")
    add("--device", type=device_name, help="cpu, cuda, cuda:1, ... (the run's)")
    add("--json", action="store_true", help="print the figures as one JSON object, and nothing else")
    parser.set_defaults(run=evaluate)


def data_name(text: str) -> str:
    """Return a data set's name, or an ``.npz`` file's full path."""
    if text in data.available():
        return text
    if not text.endswith(".npz"):
        names = ", ".join(data.available())
        raise argparse.ArgumentTypeError(f"must be one of {names} or the path of an .npz file, got {text!r}")
    return str(Path(text).expanduser().absolute())


def recipe_name(text: str) -> str:
    """Return a recipe's name."""
    try:
        return recipes.get(text).name
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def whole_number(lowest: int, highest: int = 2**31 - 1) -> Callable[[str], int]:
    """Return a reader of whole numbers within bounds."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be a whole number, got {text!r}") from None
        if not lowest <= number <= highest:
            raise argparse.ArgumentTypeError(f"must be a whole number from {lowest} to {highest}, got {text}")
        return number

    return read


def widths(text: str) -> tuple[int, ...]:
    """Return the widths of layers, given with commas between them."""
    read = whole_number(1)
    try:
        return tuple(read(part) for part in text.split(","))
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"must be whole numbers from 1 up with commas between them, such as 1000,1000,1000, got {text!r}"
        ) from None


def device_name(text: str) -> str:
    """Return the name of a device that is there."""
    try:
        torch.zeros(1, device=text)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = " ".join(str(error).split()).partition(". ")[0]
        raise argparse.ArgumentTypeError(f"{text!r} is not a device of this machine: {reason}") from None
    return text
