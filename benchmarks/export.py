"""What the form of stored weights costs: test errors and sizes in single precision, half precision and 8 bits.

    python -m benchmarks.export                        train three networks on MNIST, measure, write and render
    python -m benchmarks.export --render               write the table of docs/export.md again

A pair, a class and a convolutional network are trained for a few epochs with fixed settings. The test set is read once
for each form, after the training; nothing is chosen by it. Programs of ``torch.export`` and ONNX files are compared
with the network on batches of 1, 7 and 64 test images. The results are written to benchmarks/results/export.json.
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
from torch import Tensor

import forwardforward as ff
from benchmarks.command_line import Parser, bounded, one_line_errors, shell_command
from benchmarks.machine import describe_machine
from benchmarks.markdown import table
from benchmarks.pages import ROOT, filled, write
from forwardforward import export

RESULTS = ROOT / "benchmarks" / "results" / "export.json"
PAGE = ROOT / "docs" / "export.md"
BATCHES = (1, 7, 64)


@dataclass(frozen=True)
class Setting:
    """A network and its training.

    Attributes:
        recipe: Name of the recipe.
        widths: Widths of the layers.
        epochs: Passes over the training data.
    """

    recipe: str
    widths: tuple[int, ...]
    epochs: int


SETTINGS = {
    "pair": Setting("symba", (300, 300), 3),
    "class": Setting("mono", (300, 300), 3),
    "convolutional": Setting("mono-conv", (20, 40, 80), 2),
}


def measure(setting: Setting, data: ff.data.Splits, data_name: str) -> dict[str, Any]:
    """Train a network, and return errors, sizes and differences.

    Args:
        setting: The network.
        data: The data set.
        data_name: Its name.
    """
    recipe = ff.recipes.get(setting.recipe).for_dataset(data_name)
    recipe = recipe.replace(widths=setting.widths, epochs=setting.epochs)
    torch.manual_seed(0)
    model = recipe.model(data.input_shape, data.num_classes)
    recipe.fit(model, data.train, progress=False)
    small = export.quantize(model.eval())
    images = data.test.inputs[: max(BATCHES)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model.save_pretrained(folder / "single")
        model.save_pretrained(folder / "half", dtype=torch.float16)
        errors = {
            "float32": ff.evaluate(model, data.test).error,
            "float16": ff.evaluate(ff.load(folder / "half"), data.test).error,
            "int8": ff.evaluate(small, data.test).error,
        }
        program = export.to_program(model, inputs=images[:2])
        torch.export.save(program, folder / "single.pt2")
        torch.export.save(export.to_program(small, inputs=images[:2]), folder / "int8.pt2")
        sizes = {form: (folder / form / "model.safetensors").stat().st_size for form in ("single", "half")}
        sizes |= {f"{form}.pt2": (folder / f"{form}.pt2").stat().st_size for form in ("single", "int8")}
        differences = {"torch.export": _difference(model, images, program.module())}
        differences |= {"onnxruntime": _onnx_difference(model, images, folder / "model.onnx")}
    return {
        "recipe": setting.recipe,
        "widths": list(setting.widths),
        "epochs": setting.epochs,
        "parameters": sum(p.numel() for p in model.parameters()),
        "test_errors": {form: round(error, 4) for form, error in errors.items()},
        "bytes": sizes,
        "largest_difference": differences,
    }


def _difference(model: Any, images: Tensor, function: Any) -> float:
    """Return the largest difference of a probability, over all batches."""
    return max(float((function(images[:n]) - model.predict_proba(images[:n])).abs().max()) for n in BATCHES)


def _onnx_difference(model: Any, images: Tensor, path: Path) -> float | None:
    try:
        import onnxruntime
    except ImportError:
        return None
    export.to_onnx(model, path, inputs=images[:2])
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return _difference(model, images, lambda x: torch.from_numpy(session.run(None, {"inputs": x.numpy()})[0]))


def render(content: dict[str, Any]) -> None:
    """Write the table of the page."""
    header = ["network", "parameters", "error, float32, %", "float16, %", "int8, %", "safetensors, kB", "float16, kB",
              "program, kB", "int8, kB", "largest difference, torch.export", "onnxruntime"]  # fmt: skip
    rows = []
    for name, entry in content["networks"].items():
        errors, sizes = entry["test_errors"], entry["bytes"]
        differences = ("" if d is None else f"{d:.0e}" for d in entry["largest_difference"].values())
        rows.append([
            f"{name} ({entry['recipe']}, {'-'.join(map(str, entry['widths']))})", f"{entry['parameters']:,}",
            *(f"{errors[form]:.2f}" for form in ("float32", "float16", "int8")),
            *(f"{sizes[form] / 1000:,.0f}" for form in ("single", "half", "single.pt2", "int8.pt2")),
            *differences,
        ])  # fmt: skip
    text = f"{table(header, rows)}\n\nMNIST, by `{content['command']}`, torch {content['machine']['torch']}."
    write(PAGE, filled(PAGE, "export", text))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every network, print, and write the results.

    Args:
        arguments: Words after the program's name; default: those of the process.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = Parser(prog="python -m benchmarks.export", description=__doc__)
    parser.add_argument("--data", default="mnist", help="name of the data set (default: mnist)")
    parser.add_data_dir()
    parser.add_argument("--epochs", type=bounded(int, 1), help="epochs in place of the settings'")
    parser.add_argument("--out", type=Path, help="file of the results; the page is not written then")
    parser.add_argument("--render", action="store_true", help="write the page's table from the results")
    options = parser.parse_args(words)
    with one_line_errors(parser.prog, "--data"):
        if not options.render:
            _measure(options, words)
        if options.out is None:
            render(json.loads(RESULTS.read_text(encoding="utf-8")))


def _measure(options: argparse.Namespace, words: Sequence[str]) -> None:
    data = ff.data.load(options.data, options.data_dir)
    networks = {}
    for name, setting in SETTINGS.items():
        epochs = options.epochs or setting.epochs
        networks[name] = measure(Setting(setting.recipe, setting.widths, epochs), data, options.data)
        print(f"{name}: {networks[name]}", flush=True)
    content = {
        "command": shell_command("benchmarks.export", words),
        "data": options.data,
        "machine": describe_machine("cpu"),
        "networks": networks,
    }
    write(options.out or RESULTS, json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
