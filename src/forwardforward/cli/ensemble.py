"""``forwardforward ensemble``: evaluate the average of several runs."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

from forwardforward._utils.files import replacing
from forwardforward.cli.evaluate import warn_unfinished
from forwardforward.cli.options import bounded, check_out, choose_device
from forwardforward.runs import Ensemble, Run

#: The value of ``--weights`` that fits them.
FIT = "fit"


def add_command(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "ensemble",
        help="evaluate the average of several runs",
        description="Average the log-probabilities of several runs on one data set, and print the errors of each run "
        "and of the average. The runs may have different recipes.",
    )
    parser.set_defaults(action=_ensemble, reduce="--batch-size")
    parser.add_argument("folders", metavar="RUN", nargs="+", help="run folder")
    parser.add_argument(
        "--validation",
        action="store_true",
        help="evaluate on the validation split, which all runs must have held out, instead of the test set",
    )
    parser.add_argument(
        "--weights",
        type=_weights,
        metavar="W,W,...",
        help="weight of each run, or 'fit' to fit them to the validation split, which all runs must have held out "
        "(default: equal weights)",
    )
    parser.add_argument("--data-dir", help="folder of the data set's files (default: each run's)")
    parser.add_argument("--out", metavar="FILE", help="JSON file to write the errors to")
    parser.add_argument("--device", help="cpu, cuda, ... (default: a GPU if available)")
    parser.add_argument("--batch-size", type=bounded(int, 1), default=1000, help="samples per batch (default: 1000)")
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output")


def _weights(text: str) -> tuple[float, ...] | str:
    """Read the weights of runs, separated by commas."""
    if text == FIT:
        return FIT
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if not values or not all(math.isfinite(value) and value >= 0 for value in values):
        raise argparse.ArgumentTypeError(f"must be numbers of at least 0 such as 0.7,0.3, or {FIT!r}, got {text!r}")
    return values


def _ensemble(options: argparse.Namespace) -> None:
    if options.out is not None:
        check_out(options.out)
    runs = [Run.open(folder) for folder in options.folders]
    fits = options.weights == FIT
    weights = None if fits else options.weights
    if weights is not None and len(weights) != len(runs):
        raise ValueError(f"--weights must be one per run, {len(runs)}, got {len(weights)}")
    ensemble = Ensemble(runs, weights=weights, device=choose_device(options.device))
    for run in runs:
        warn_unfinished(run.epochs_done, run.config.epochs, str(run.folder))
    if fits:
        ensemble.fit_weights(options.data_dir, options.batch_size)
    result = ensemble.evaluate(options.validation, options.data_dir, options.batch_size)
    summary = {**ensemble.summary(result), "command": _command(options)}
    if options.out is not None:
        with replacing(Path(options.out)) as file:
            file.write(json.dumps(summary, indent=2) + "\n")
    if options.json:
        print(json.dumps(summary))
        return
    print(f"{Path(runs[0].config.data).name}: {result.measured_on} {result.metric}")
    names = [run.config.recipe for run in runs]
    width = max(14, *(len(name) + 1 for name in names))
    for name, weight, error, run in zip(names, ensemble.weights, result.members, runs, strict=True):
        print(f"  {name:<{width}}{error:6.2f} {result.unit}  weight {weight:.4g}  {run.folder}")
    print(f"  {'ensemble':<{width}}{result.error:6.2f} {result.unit}")


def _command(options: argparse.Namespace) -> str:
    """Return the command, without folders, which are specific to the user."""
    words = ["python -m forwardforward ensemble", *["RUN"] * len(options.folders)]
    words += ["--validation"] if options.validation else []
    if options.weights is not None:
        words += ["--weights", FIT if options.weights == FIT else ",".join(map(str, options.weights))]
    return " ".join(words)
