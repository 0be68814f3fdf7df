"""What each ingredient of a recipe is worth: trainings that differ in one field, measured on the validation split.

    python -m benchmarks.ablation --epochs 6                    every variant that has no result yet
    python -m benchmarks.ablation --epochs 6 --only "no contrast" "heads on 2x2"
    python -m benchmarks.ablation --epochs 6 --table            train nothing, print the table

Each variant is a run in a folder, so that an interrupted one resumes. A result is written to
benchmarks/results/ablation/DATA-EPOCHS-NAME.json when its run ends, and the table to docs/backpropagation.md; the test
set is not read.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.command_line import Parser, one_line_errors
from benchmarks.pages import ROOT, filled, write
from forwardforward.classifiers import SumOverLayers
from forwardforward.cli.options import bounded
from forwardforward.data import Compose, Cutout, RandomCrop, RandomFlip
from forwardforward.recipes import PooledContrast, get
from forwardforward.runs import Run, RunConfig
from forwardforward.views import Mirror

FOLDER = ROOT / "benchmarks" / "results" / "ablation"
PAGE = ROOT / "docs" / "backpropagation.md"

#: The fields of `whitened` that a variant changes. Those of MEASURED_TOGETHER need no training of their own.
VARIANTS: dict[str, dict[str, Any]] = {
    "whitened": {},
    "no contrast": {"objective": PooledContrast(contrast=0.0)},
    "heads on 2x2": {"objective": PooledContrast(pool=2)},
    "no label smoothing": {"objective": PooledContrast(label_smoothing=0.0)},
    "similarity beside": {"objective": PooledContrast(similarity=5.0)},
    "similarity in place of contrast": {"objective": PooledContrast(contrast=0.0, similarity=10.0)},
    "no whitening": {"preprocessing": None, "standardize": True},
    "half the width": {"widths": (48, 48, 128, 128, 192, 192)},
    "cutout": {"augment": Compose(RandomCrop(2, fill="reflect"), RandomFlip(), Cutout(8))},
    "no augmentation": {"augment": None},
}

#: What changes after the training only, measured on the same weights as `whitened`.
AFTERWARDS: dict[str, dict[str, Any]] = {
    "no test-time averaging": {"views": None},
    "six views": {"views": Mirror(shift=1)},
    "last layer": {"classifier": SumOverLayers(slice(-1, None))},
    "last three layers": {"classifier": SumOverLayers(slice(-3, None))},
    "all layers": {"classifier": SumOverLayers()},
}


def measure(name: str, epochs: int, data: str, data_dir: str | None, folder: Path) -> dict[str, Any]:
    """Train a variant, and return its result.

    Args:
        name: Name of the variant.
        epochs: Passes over the training split.
        data: Name of the data set.
        data_dir: Folder of the data set's files.
        folder: Folder of the runs.
    """
    recipe = get("whitened").for_dataset(data).replace(**VARIANTS[name], epochs=epochs)
    config = RunConfig.from_recipe(recipe, data, data_dir=data_dir, precision="bf16", validation=True)
    run = Run(folder / f"{data}-{epochs}-{name.replace(' ', '-')}", config, recipe=recipe)
    run.begin(resume=True)
    summary = run.train(progress=False)
    result = {
        "variant": name,
        "validation_error": summary["validation_error"],
        **{key: summary[key] for key in ("layer_errors", "seconds", "parameters", "epochs", "data", "torch", "cores")},
    }
    if name == "whitened":
        result["afterwards"] = _afterwards(run)
    return result


def _afterwards(run: Run) -> dict[str, float]:
    """Return the errors of the trained weights with other views and classifiers."""
    from forwardforward import evaluate

    errors = {}
    for name, changes in AFTERWARDS.items():
        model = run.load()
        for attribute, value in changes.items():
            setattr(model, attribute, value)
        errors[name] = evaluate(model, run.splits().validation).error
    return errors


def render(results: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of results as Markdown.

    Args:
        results: As :func:`measure` returns them.
    """
    lines = ["| variant | validation error, % | layers | minutes |", "| --- | --- | --- | --- |"]
    for result in results:
        layers = ", ".join(f"{error:.1f}" for error in result["layer_errors"] or [])
        minutes = result["seconds"] / 60
        lines.append(f"| {result['variant']} | {result['validation_error']:.2f} | {layers} | {minutes:.1f} |")
        for name, error in result.get("afterwards", {}).items():
            lines.append(f"| {result['variant']}, {name} | {error:.2f} |  |  |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure variants or print the table, and return the exit status."""
    parser = Parser(prog="python -m benchmarks.ablation", description=__doc__)
    parser.add_argument("--epochs", type=bounded(int, 1), default=6, help="passes over the training split (default: 6)")
    parser.add_argument("--data", default="cifar10", help="data set (default: cifar10)")
    parser.add_data_dir()
    parser.add_argument("--only", nargs="+", choices=sorted(VARIANTS), metavar="NAME", help="variants to measure")
    parser.add_argument(
        "--runs", type=Path, default=Path(tempfile.gettempdir()) / "ablation", help="folder of the runs"
    )
    parser.add_argument("--results", type=Path, default=FOLDER, help="folder of the results")
    parser.add_argument("--table", action="store_true", help="train nothing, print the table of the results")
    options = parser.parse_args(arguments)
    with one_line_errors(parser.prog):
        options.results.mkdir(parents=True, exist_ok=True)
        paths = {
            name: options.results / f"{options.data}-{options.epochs}-{name.replace(' ', '-')}.json"
            for name in options.only or VARIANTS
        }
        for name, path in paths.items():
            if not options.table and not path.exists():
                result = measure(name, options.epochs, options.data, options.data_dir, options.runs)
                path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        table = render([json.loads(path.read_text(encoding="utf-8")) for path in paths.values() if path.exists()])
        print(table)
        if options.results == FOLDER and not options.only:
            write(PAGE, filled(PAGE, "ablation", table))
    return 0


if __name__ == "__main__":
    sys.exit(main())
