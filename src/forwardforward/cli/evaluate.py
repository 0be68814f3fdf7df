"""``forwardforward evaluate``."""

from __future__ import annotations

import argparse
import json

from forwardforward.cli.errors import CommandError, explained
from forwardforward.cli.report import table
from forwardforward.cli.train import build, load_data
from forwardforward.runs import Run
from forwardforward.training import evaluate as measure
from forwardforward.training import load_checkpoint, load_weights


def evaluate(options: argparse.Namespace) -> None:
    """Measure a run's last checkpoint."""
    with explained("argument RUN: "):
        run = Run.open(options.folder)
        recipe = run.config.resolved()
        if not run.checkpoint.exists():
            raise CommandError(
                f"argument RUN: the run in {run.folder} has no checkpoint yet; go on with: {run.resume_command}"
            )
        epoch = load_checkpoint(run.checkpoint)["epoch"]
    if options.validation and not run.config.validation:
        raise CommandError(
            f"argument --validation: the run in {run.folder} trained on the validation split too; "
            "begin one with train --validation"
        )
    splits = load_data(run.config, options.data_dir or run.config.data_dir)
    with explained("argument RUN: "):
        model = load_weights(run.checkpoint, build(run.config, recipe, splits))
    with explained("argument --device: "):
        model.to(options.device or run.config.device)
    with explained():
        found = measure(model, splits.validation if options.validation else splits.test)
    part = "validation" if options.validation else "test"
    figures = {
        "test_error": None if options.validation else found.error,
        "validation_error": found.error if options.validation else None,
        **{name: value for name, value in found.to_dict().items() if name != "error"},
        "epochs": epoch,
    }
    if options.json:
        print(json.dumps(figures))
        return
    print(table(figures))
    print(f"{found.samples} {part} images of {run.config.data_name}, after epoch {epoch} of {run.config.epochs}")
