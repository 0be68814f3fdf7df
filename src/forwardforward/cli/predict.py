"""``forwardforward predict``: predict the classes, labels or values of inputs with a run or a saved model."""

from __future__ import annotations

import argparse
import contextlib
import csv
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from forwardforward._utils.files import replacing
from forwardforward.cli.evaluate import warn_unfinished
from forwardforward.cli.inputs import IMAGE_SUFFIXES, Inputs, image_inputs, text_inputs
from forwardforward.cli.options import bounded, check_out, choose_device
from forwardforward.network import Network
from forwardforward.runs import Run
from forwardforward.saving.folder import is_model_folder
from forwardforward.targets import MultiLabel


def add_command(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "predict",
        help="classify images, arrays or texts with a run or a saved model",
        description="Classify inputs with a trained run or a saved model. Writes CSV: input, label, probability of the "
        "label, and the probability of each class; of several labels per input the labels and the probability of each; "
        "of real values the value.",
    )
    parser.set_defaults(action=_predict, reduce="--batch-size")
    parser.add_argument("folder", metavar="RUN", help="run folder, or a folder that save_pretrained wrote")
    parser.add_argument(
        "inputs",
        metavar="INPUT",
        nargs="+",
        help="image file, folder of images (searched recursively), .npz file with an array x or x_test, or .npy file; "
        "for runs on texts: a text, a .txt file with one text, or a folder of .txt files",
    )
    parser.add_argument("--out", metavar="FILE", help="CSV file to write (default: standard output)")
    parser.add_argument("--resize", action="store_true", help="resize images to the size of the model's images")
    parser.add_argument("--batch-size", type=bounded(int, 1), default=1000, help="samples per batch (default: 1000)")
    parser.add_argument("--device", help="cpu, cuda, ... (default: a GPU if available)")


def _predict(options: argparse.Namespace) -> None:
    if options.out is not None:
        check_out(options.out)
        _check_not_input(options)
    device = choose_device(options.device)
    if is_model_folder(Path(options.folder)):
        model = Network.from_pretrained(options.folder, device=device)
        inputs = _inputs_of_saved(model, options)
    else:
        run = Run.open(options.folder)
        model = run.load(device)
        inputs = _inputs_of_run(run, options)
    names = model.class_names or tuple(map(str, range(model.num_classes or 0)))
    with _output(options.out) as file:
        writer = csv.writer(file, lineterminator="\n")
        if model.target_kind.has_one_class:
            header, rows = ["input", "label", "probability", *names], _rows
        elif isinstance(model.target_kind, MultiLabel):
            header, rows = ["input", "labels", *names], _rows_of_labels
        else:
            header, rows = ["input", "value"], _rows_of_values
        writer.writerow(header)
        for source in inputs:
            writer.writerows(rows(model, source, names, options.batch_size))


def _check_not_input(options: argparse.Namespace) -> None:
    """Refuse a file that would be replaced although it is read, or is not a table."""
    out = Path(options.out).resolve()
    inputs = [Path(name).resolve() for name in options.inputs if os.path.exists(name)]  # an input may be a text
    is_read = out.suffix.lower() in (*IMAGE_SUFFIXES, ".txt")  # of a folder
    if out.exists() and (out in inputs or (is_read and any(folder in out.parents for folder in inputs))):
        raise ValueError(f"--out must not be an input, got {options.out}")


def _inputs_of_run(run: Run, options: argparse.Namespace) -> list[Inputs]:
    """Return the inputs for a run's model, after notes on the run on standard error."""
    warn_unfinished(run.epochs_done, run.config.epochs)
    if run.config.validation:
        print("trained with --validation, without the validation split", file=sys.stderr)
    if run.reads_text:
        return text_inputs(options.inputs, run.text_encoder())
    shape = run.config.input_shape
    assert shape is not None  # set when the run began
    return image_inputs(options.inputs, shape, options.resize)


def _inputs_of_saved(model: Network, options: argparse.Namespace) -> list[Inputs]:
    """Return the inputs for a saved model."""
    if model.num_embeddings is not None:
        raise ValueError(
            "RUN must be a run folder for a network of texts, whose text encoder is part of the run, got the saved "
            f"model {options.folder}"
        )
    if model.input_shape is None:
        raise ValueError(f"the shape of one input must be part of a saved model, got none in {options.folder}")
    return image_inputs(options.inputs, model.input_shape, options.resize)


def _rows_of_labels(model: Network, inputs: Inputs, names: tuple[str, ...], batch_size: int) -> Iterator[list[str]]:
    """Yield the labels that apply, separated by semicolons, and the probability of each label, for one input each."""
    for start in range(0, len(inputs.names), batch_size):
        part = slice(start, start + batch_size)
        probabilities = model.predict_proba(inputs.read(part), batch_size).tolist()
        for name, values in zip(inputs.names[part], probabilities, strict=True):
            chosen = [label for label, value in zip(names, values, strict=True) if value > 0.5]
            yield [name, ";".join(chosen), *(f"{value:.6g}" for value in values)]


def _rows_of_values(model: Network, inputs: Inputs, names: tuple[str, ...], batch_size: int) -> Iterator[list[str]]:
    """Yield the predicted value, for one input each."""
    for start in range(0, len(inputs.names), batch_size):
        part = slice(start, start + batch_size)
        values = model.predict(inputs.read(part), batch_size).tolist()
        yield from ([name, f"{value:.6g}"] for name, value in zip(inputs.names[part], values, strict=True))


def _rows(model: Network, inputs: Inputs, names: tuple[str, ...], batch_size: int) -> Iterator[list[str]]:
    """Yield the rows of the table, one per input."""
    for start in range(0, len(inputs.names), batch_size):
        part = slice(start, start + batch_size)
        probabilities = model.predict_proba(inputs.read(part), batch_size).tolist()
        for name, values in zip(inputs.names[part], probabilities, strict=True):
            largest = max(values)
            yield [name, names[values.index(largest)], *(f"{value:.6g}" for value in (largest, *values))]


@contextlib.contextmanager
def _output(path: str | None) -> Iterator[IO[str]]:
    """Context manager for standard output, or for a file that is replaced when the block ends without an error."""
    if path is None:
        yield sys.stdout
    else:
        with replacing(path) as file:
            yield file
