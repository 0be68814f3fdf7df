"""``forwardforward evaluate``: evaluate a run on its test set."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from forwardforward.cli.options import bounded, choose_device
from forwardforward.cli.report import headline, print_errors
from forwardforward.runs import Run


def add_command(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("evaluate", help="evaluate a run on its test set")
    parser.set_defaults(action=_evaluate, reduce="--batch-size")
    parser.add_argument("folder", metavar="RUN", help="run folder")
    parser.add_argument("--data-dir", help="folder of the data set's files (default: the run's)")
    parser.add_argument("--device", help="cpu, cuda, ... (default: the run's)")
    parser.add_argument("--batch-size", type=bounded(int, 1), default=1000, help="samples per batch (default: 1000)")
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output")


def _evaluate(options: argparse.Namespace) -> None:
    run = Run.open(options.folder)
    config = run.config
    result = run.evaluate(choose_device(options.device, run), options.data_dir, options.batch_size)
    done = run.epochs_done
    figures: dict[str, Any] = {
        "data": config.data,
        "recipe": config.recipe,
        "finished": done >= config.epochs,
        "epochs_done": done,
        "epochs": config.epochs,
        "trained_on": "training split" if run.holds_out else "all training images",
        "measured_on": "test",
        "test_error": result.error,
    }
    figures |= {name: value for name, value in result.to_dict().items() if name != "error"}
    warn_unfinished(done, config.epochs)
    if options.json:
        print(json.dumps(figures))
    else:
        print_errors(figures, headline(config, done))


def warn_unfinished(done: int, epochs: int, name: str = "") -> None:
    """Print the number of completed epochs of an unfinished run on standard error.

    Args:
        done: Number of completed epochs.
        epochs: Number of epochs of the whole training.
        name: Name of the run, of several.
    """
    if done < epochs:
        print(f"{name and f'{name} is '}unfinished: {done} of {epochs} epochs", file=sys.stderr)
