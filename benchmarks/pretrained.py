"""Train a network and write it as a saved model, such as those of ``ff.pretrained``.

    python -m benchmarks.pretrained mnist-small                    into the package
    python -m benchmarks.pretrained cifar10-small
    python -m benchmarks.pretrained cifar10-small --run RUN        of a finished run in place of a training
    python -m benchmarks.pretrained cifar10 --recipe mono-conv-wide --out FOLDER

Weights are stored in half precision. The test set is read once, after the training, by the network with the stored
weights, which is compared with the one in single precision. A network of the package has at most 500,000 parameters and
a file below 1 MB. The errors, the size and the command are written to benchmarks/results/pretrained.json and to the
network's model card.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import forwardforward as ff
from benchmarks.command_line import (
    Parser,
    bounded,
    choose_device,
    one_line_errors,
    shell_command,
    widths,
)
from benchmarks.machine import describe_machine
from benchmarks.pages import ROOT, write
from forwardforward.runs import Run, RunConfig

RESULTS = ROOT / "benchmarks" / "results" / "pretrained.json"
PACKAGE = ROOT / "src" / "forwardforward" / "zoo" / "networks"

#: Bounds of a network that is part of the package.
MOST_PARAMETERS, MOST_BYTES = 500_000, 1_000_000


@dataclass(frozen=True)
class Network:
    """A network of the package.

    Attributes:
        data: Name of the data set.
        recipe: Name of the recipe.
        changes: Fields of the recipe with other values.
    """

    data: str
    recipe: str
    changes: tuple[tuple[str, Any], ...] = ()


NETWORKS = {
    "mnist-small": Network("mnist", "mono-conv"),
    "cifar10-small": Network("cifar10", "whitened-small"),
}


def trained(options: argparse.Namespace, folder: Path, command_line: str) -> Run:
    """Return a finished run: that of ``--run``, or a new one in a folder."""
    if options.run is not None:
        run = Run.open(options.run)
        if run.epochs_done < run.config.epochs or not (run.folder / "summary.json").exists():
            raise ValueError(f"run must be finished, got {run.epochs_done} of {run.config.epochs} epochs")
        return run
    network = NETWORKS.get(options.name, Network(options.name, options.recipe or "mono-conv"))
    recipe = ff.recipes.get(options.recipe or network.recipe).for_dataset(network.data)
    changes = {name: getattr(options, name) for name in ("widths", "epochs") if getattr(options, name) is not None}
    recipe = recipe.replace(**{**dict(network.changes), **changes})
    settings = {"seed": options.seed, "device": choose_device(options.device), "precision": options.precision}
    config = RunConfig.from_recipe(recipe, network.data, data_dir=options.data_dir, command=command_line, **settings)
    run = Run.create(folder / "run", config, recipe=recipe)
    run.train(progress=not options.quiet)
    return run


def save(run: Run, folder: Path, name: str, data_dir: str | None, bundled: bool) -> dict[str, Any]:
    """Write the network of a run, and return its errors and sizes.

    Args:
        run: The finished run.
        folder: Folder of the saved model.
        name: Name on the card.
        data_dir: Folder of the data set's files.
        bundled: Whether it becomes part of the package, which bounds its size.

    Raises:
        ValueError: If it is too large for the package.
    """
    model = run.load().for_prediction()
    parameters = sum(p.numel() for p in model.parameters())
    if bundled and parameters > MOST_PARAMETERS:
        raise ValueError(f"network must have at most {MOST_PARAMETERS:,} parameters, got {parameters:,}")
    model.card["name"] = name
    with tempfile.TemporaryDirectory() as part:
        model.save_pretrained(part, dtype=torch.float16)
        size = (Path(part) / "model.safetensors").stat().st_size
        if bundled and size >= MOST_BYTES:
            raise ValueError(f"network must have a file below {MOST_BYTES:,} bytes, got {size:,}")
        loaded = ff.load(part)
    test = run.splits(data_dir).test
    errors = {"float32": ff.evaluate(model, test).error, "float16": ff.evaluate(loaded, test).error}
    model.card["test error, %"] = round(errors["float16"], 4)
    model.save_pretrained(folder, dtype=torch.float16)
    return {"parameters": parameters, "bytes": size, "test_errors": {key: round(e, 4) for key, e in errors.items()}}


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, write the network, and record its errors.

    Args:
        arguments: Words after the program's name; default: those of the process.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = Parser(prog="python -m benchmarks.pretrained", description=__doc__)
    parser.add_argument("name", help=f"{', '.join(NETWORKS)}, or the name of a data set with --out")
    parser.add_argument("--run", type=Path, help="folder of a finished run in place of a training")
    parser.add_argument("--recipe", help="name of the recipe (default: the network's)")
    parser.add_argument("--widths", type=widths, metavar="W,W,...", help="widths in place of the recipe's")
    parser.add_argument("--epochs", type=bounded(int, 1), help="epochs in place of the recipe's")
    parser.add_argument("--seed", type=bounded(int, 0), default=0)
    parser.add_argument("--precision", choices=("float32", "bf16"), default="float32", help="compute precision")
    parser.add_argument("--device", help="cpu, cuda, ... (default: a GPU if available)")
    parser.add_data_dir()
    parser.add_argument("--out", type=Path, help="folder of the saved model (default: the package)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file of the errors")
    parser.add_argument("--quiet", action="store_true", help="do not show the progress")
    options = parser.parse_args(words)
    if options.name not in NETWORKS and options.out is None:
        parser.error(f"name must be one of {', '.join(NETWORKS)} without --out, got {options.name}")
    with one_line_errors(parser.prog, "--widths"), tempfile.TemporaryDirectory() as folder:
        written_by = shell_command("benchmarks.pretrained", words)
        run = trained(options, Path(folder), written_by)
        target = options.out or PACKAGE / options.name
        result = save(run, target, options.name, options.data_dir, bundled=options.out is None)
        content = json.loads(options.results.read_text(encoding="utf-8")) if options.results.exists() else {}
        entry = {"command": run.config.command, "written_by": written_by, "recipe": run.config.recipe}
        content[options.name] = {**entry, "epochs": run.epochs_done, **result, "machine": describe_machine("cpu")}
        write(options.results, json.dumps(content, indent=2) + "\n")
        errors = result["test_errors"]
        print(
            f"{target}: {result['parameters']:,} parameters, {result['bytes']:,} bytes, test error "
            f"{errors['float32']:.2f} % in float32, {errors['float16']:.2f} % in float16"
        )


if __name__ == "__main__":
    main()
