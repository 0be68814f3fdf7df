"""Seconds of training to a given test accuracy, 98.5 % on MNIST by default.

    python -m benchmarks.time_to_accuracy pair               a pair objective
    python -m benchmarks.time_to_accuracy class              a class objective
    python -m benchmarks.time_to_accuracy pair --validation --epochs 20 --lr 0.002

The number of epochs is fixed beforehand: the clock runs from the first step of ``fit`` to its end, with compilation and
without reading the data, making the model and evaluation; the test set is read once, after the training. Every seed
compiles anew. What the compiler does once per machine, such as finding out the processor's instructions, is timed
apart. With ``--validation``, for choosing the settings, the model is trained on the training split and
evaluated on the validation split after each epoch, and nothing is written unless ``--out`` is given. The results are
written to benchmarks/results/time_to_accuracy.json by default, one entry per data set, objective and device.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import forwardforward as ff
from benchmarks.command_line import (
    Parser,
    bounded,
    choose_device,
    one_line_errors,
    several,
    shell_command,
    widths,
)
from benchmarks.machine import describe_machine, empty_compiler_cache, start_compiler
from benchmarks.pages import ROOT, write
from forwardforward.recipes import Recipe, get

RESULTS = ROOT / "benchmarks" / "results" / "time_to_accuracy.json"

#: The recipe of each objective.
RECIPES = {"pair": "best-mlp", "class": "mono"}

NEGATIVES = {"random": ff.negatives.RandomLabel, "hard": ff.negatives.HardLabel}

#: Target accuracies in percent.
TARGETS = {"mnist": 98.5, "cifar10": 90.0}


def recipe_of(options: argparse.Namespace) -> Recipe:
    """Return the recipe with the settings of the command line."""
    recipe = get(options.recipe or RECIPES[options.objective]).for_dataset(options.data)
    changes: dict[str, Any] = {
        name: getattr(options, name)
        for name in ("widths", "epochs", "batch_size", "lr")
        if getattr(options, name) is not None
    }
    if options.cooldown is not None:
        changes["lr_schedule"] = ff.lr_schedules.Cooldown(options.cooldown) if options.cooldown < 1 else None
    if options.negatives is not None:
        changes["negatives"] = NEGATIVES[options.negatives]()
        if options.negatives == "random" and recipe.head is None:  # the head that scores labels is not needed
            changes["overrides"] = {name: values for name, values in recipe.overrides.items() if name != "head"}
    if options.fused:
        changes["optimizer_options"] = {**recipe.optimizer_options, "fused": True}
    return recipe.replace(**changes)


def train(recipe: Recipe, data: ff.data.Splits, seed: int, device: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train one model, and return its accuracy in percent and the seconds of its training.

    Args:
        recipe: The recipe.
        data: The data set.
        seed: Random seed.
        device: Device.
        options: ``precision``, ``no_compile`` and ``validation``.
    """
    torch.manual_seed(seed)
    model = recipe.model(data.input_shape, data.num_classes).to(device)
    training_data = (data.train if options.validation else data.train_and_validation).to(device)
    settings: dict[str, Any] = {"seed": seed, "precision": options.precision, "compile": not options.no_compile}
    if options.validation:
        settings["validation"] = data.validation
    with contextlib.nullcontext() if options.no_compile else empty_compiler_cache():
        compiler_start = 0.0 if options.no_compile else start_compiler(device)
        _wait(device)
        start = time.perf_counter()
        history = recipe.fit(model, training_data, progress=False, **settings)
        _wait(device)
        seconds = time.perf_counter() - start
    result: dict[str, Any] = {"seed": seed, "compiler_start_seconds": round(compiler_start, 2)}
    if options.validation:
        result["epoch_seconds"] = [round(record["seconds"], 2) for record in history]
        result["epoch_accuracies"] = [round(100 - record["validation"]["error"], 2) for record in history]
        seconds = sum(result["epoch_seconds"])  # with compilation, without the evaluations
    error = ff.evaluate(model, data.validation if options.validation else data.test).error
    return {**result, "seconds": round(seconds, 2), "accuracy": round(100 - error, 2)}


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train every seed, print, and write the results.

    Args:
        arguments: Words after the program's name; default: those of the process.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = _parser()
    options = parser.parse_args(words)
    with one_line_errors(parser.prog, "--batch-size or --widths"):
        if options.threads:
            torch.set_num_threads(options.threads)
        _measure(options, shell_command("benchmarks.time_to_accuracy", words))


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m benchmarks.time_to_accuracy", description=__doc__)
    parser.add_argument("objective", choices=RECIPES, help="kind of objective")
    parser.add_argument("--data", default="mnist", help="name of the data set (default: mnist)")
    parser.add_data_dir()
    parser.add_argument("--seeds", type=several(bounded(int, 0)), default=(0, 1, 2), help="seeds (default: 0,1,2)")
    parser.add_argument("--validation", action="store_true", help="evaluate on the validation split after each epoch")
    recipe = parser.add_argument_group("settings that replace the recipe's")
    recipe.add_argument("--recipe", help=f"name of the recipe (default: {RECIPES})")
    recipe.add_argument("--widths", type=widths, metavar="W,W,...")
    recipe.add_argument("--epochs", type=bounded(int, 1))
    recipe.add_argument("--batch-size", type=bounded(int, 1))
    recipe.add_argument("--lr", type=bounded(float, 0), help="learning rate")
    recipe.add_argument("--cooldown", type=bounded(float, 0, 1), help="progress from which the learning rate falls to "
                        "zero; 1 for a constant rate")  # fmt: skip
    recipe.add_argument("--negatives", choices=NEGATIVES, help="wrong labels, for pair objectives")
    recipe.add_argument("--fused", action="store_true", help="use torch's fused optimizer")
    parser.add_argument("--precision", choices=("float32", "bf16"), default="float32", help="compute precision")
    parser.add_argument("--no-compile", action="store_true", help="do not compile the step")
    parser.add_argument("--device", help="cpu, cuda, ... (default: a GPU if available)")
    parser.add_argument("--threads", type=bounded(int, 1, 4096), help="CPU threads (default: torch's number)")
    parser.add_argument("--out", type=Path, help="file of the results")
    return parser


def _measure(options: argparse.Namespace, command: str) -> None:
    device, recipe = choose_device(options.device), recipe_of(options)
    data = recipe.splits(options.data, options.data_dir)
    runs = []
    for seed in options.seeds:
        runs.append(train(recipe, data, seed, device, options))
        for epoch, accuracy in enumerate(runs[-1].get("epoch_accuracies", ())):
            total = sum(runs[-1]["epoch_seconds"][: epoch + 1])
            print(f"  epoch {epoch + 1:3}  {total:7.1f} s  {accuracy:.2f} % of the validation split")
        print(f"seed {seed}: {runs[-1]['accuracy']:.2f} % after {runs[-1]['seconds']:.1f} s", flush=True)
    seconds, accuracies = ([run[name] for run in runs] for name in ("seconds", "accuracy"))
    print(f"mean: {statistics.mean(accuracies):.2f} % after {statistics.mean(seconds):.1f} s")
    out = options.out or (None if options.validation else RESULTS)
    if out is None:
        return
    machine = describe_machine(device)
    entry = {
        "command": command,
        "data": options.data,
        "split": "validation" if options.validation else "test",
        "target": TARGETS.get(options.data),
        "recipe": recipe.name,
        "widths": list(recipe.widths),
        "epochs": recipe.epochs,
        "precision": options.precision,
        "compiled": not options.no_compile,
        "machine": machine,
        "mean_seconds": round(statistics.mean(seconds), 1),
        "mean_accuracy": round(statistics.mean(accuracies), 3),
        "runs": runs,
    }
    content = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    place = machine["cpu"] if machine["device"] == "cpu" else machine["device"]
    content[f"{options.data}, {options.objective}, {place}"] = entry
    write(out, json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
