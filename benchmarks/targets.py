"""Mixup, several labels per sample and regression: local objectives beside backpropagation on the same network.

    python -m benchmarks.targets

trains the recipes mono-mixup, multi-label and ordinal, and the same layers with an output layer by backpropagation, on
data that come with scikit-learn. Learning rates, and the loss of backpropagation where there are two, are chosen by the
mean error of all seeds on the validation split; of each method, the test set is read once, for the chosen setting. The
results are written to benchmarks/results/targets.json, and the table in docs/targets.md from that file. It takes about
20 minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import forwardforward as ff
from benchmarks.command_line import Parser, bounded, check_names, one_line_errors, several
from benchmarks.machine import describe_machine
from benchmarks.pages import ROOT, filled, write
from forwardforward.data import Splits, load
from forwardforward.data.splits import stratified
from forwardforward.losses import BinaryCrossEntropy, ClassLoss, CrossEntropy, OrdinalCrossEntropy, SquaredError
from forwardforward.network import Network
from forwardforward.recipes import Recipe, get

RESULTS = ROOT / "benchmarks" / "results" / "targets.json"
PAGE = ROOT / "docs" / "targets.md"
RATES = (1e-3, 3e-3, 1e-2, 2e-2)
SEEDS = (0, 1, 2)


def friedman() -> Splits:
    """Return 2,000 samples of Friedman's first function: five of ten inputs count, noise of standard deviation 1."""
    from sklearn.datasets import make_friedman1

    inputs, targets = make_friedman1(2000, n_features=10, noise=1.0, random_state=0)
    return stratified("friedman1", ff.TensorData(inputs, targets), (1200, 400, 400), seed=0)


@dataclass(frozen=True)
class Task:
    """A comparison.

    Attributes:
        title: Description of targets and data.
        recipe: Name of the recipe.
        data: Loads the data.
        losses: Losses of the outputs for backpropagation, each with its number of outputs; None for that of the data.
        changes: Fields of the recipe that differ.
    """

    title: str
    recipe: str
    data: Callable[[], Splits]
    losses: tuple[tuple[ClassLoss, int | None], ...]
    changes: dict[str, Any]

    def settings(self, epochs: int | None) -> Recipe:
        """Return the recipe.

        Args:
            epochs: Number of epochs; default: the task's.
        """
        recipe = get(self.recipe).replace(**self.changes)
        return recipe if epochs is None else recipe.replace(epochs=epochs)


REGRESSION: tuple[tuple[ClassLoss, int | None], ...] = ((SquaredError(), 1), (OrdinalCrossEntropy(), 30))
TASKS = {
    "mixup": Task(
        "mixup, digits",
        "mono-mixup",
        lambda: load("digits"),
        ((CrossEntropy(), None),),
        {"widths": (200, 200, 200), "epochs": 15, "batch_size": 50},
    ),
    "multi-label": Task(
        "several labels, pairs of digits",
        "multi-label",
        lambda: load("digit-pairs"),
        ((BinaryCrossEntropy(), None),),
        {"widths": (200, 200, 200)},
    ),
    "diabetes": Task("regression, diabetes", "ordinal", lambda: load("diabetes"), REGRESSION, {"epochs": 20}),
    "friedman": Task("regression, Friedman's function", "ordinal", friedman, REGRESSION, {"epochs": 15}),
}


def local_network(recipe: Recipe, data: Splits) -> Network:
    """Return the recipe's network."""
    return recipe.model(data.input_shape, data.num_classes)


def backpropagation(recipe: Recipe, data: Splits, loss: ClassLoss, outputs: int | None) -> Network:
    """Return the recipe's layers with an output layer.

    Args:
        recipe: The recipe.
        data: The data.
        loss: The loss of the outputs.
        outputs: Number of outputs; default: the data's number of classes.
    """
    count = data.num_classes if outputs is None else outputs
    assert count is not None
    layers = recipe.layers(data.input_shape, data.num_classes)
    for layer in layers:
        layer.objective = None  # of a recipe with an objective of its own: its parameters are not used
    return ff.baselines.Backpropagation(
        *layers,
        num_classes=count,
        loss=loss,
        normalization=recipe.normalization,
        preprocessing=ff.preprocessing.Preprocessing(standardize=recipe.standardize),
        input_shape=data.input_shape,
    )


def trained(make: Callable[[], Network], recipe: Recipe, data: Splits, rate: float, seed: int) -> Network:
    """Return a trained network.

    Args:
        make: Makes the network.
        recipe: The recipe.
        data: The data, of which the training split is used.
        rate: Learning rate.
        seed: Random seed.
    """
    torch.manual_seed(seed)
    model = make()
    recipe.replace(lr=rate).fit(model, data.train, seed=seed, progress=False)
    return model


def measure(
    makers: dict[str, Callable[[], Network]], recipe: Recipe, data: Splits, seeds: Sequence[int], rates: Sequence[float]
) -> dict[str, Any]:
    """Return the validation error of every setting of a method, and the test errors of the best one.

    Args:
        makers: Make the networks, by the name of their loss.
        recipe: The recipe.
        data: The data.
        seeds: Random seeds.
        rates: Learning rates.
    """
    settings: dict[str, float] = {}
    best: tuple[str, list[Network]] | None = None
    for name, make in makers.items():
        for rate in rates:
            setting = f"{name}, learning rate {rate:g}"
            models = [trained(make, recipe, data, rate, seed) for seed in seeds]
            settings[setting] = statistics.mean(ff.evaluate(model, data.validation).error for model in models)
            if settings[setting] == min(settings.values()):
                best = setting, models
    assert best is not None
    errors = [ff.evaluate(model, data.test).error for model in best[1]]
    return {
        "validation_errors": settings,
        "chosen": best[0],
        "test_errors": errors,
        "test_error": statistics.mean(errors),
        "parameters": sum(p.numel() for p in best[1][0].parameters()),
    }


def compare(task: Task, options: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of a task.

    Args:
        task: The task.
        options: Options of the command line.
    """
    recipe, data, begun = task.settings(options.epochs), task.data(), time.monotonic()
    of_baseline = {
        type(loss).__name__: lambda loss=loss, outputs=outputs: backpropagation(recipe, data, loss, outputs)
        for loss, outputs in task.losses
    }
    of_local = {recipe.name: lambda: local_network(recipe, data)}
    local, baseline = (
        measure(makers, recipe, data, options.seeds, options.rates) for makers in (of_local, of_baseline)
    )
    kind = recipe.target_kind
    return {
        "title": task.title,
        "recipe": task.recipe,
        "data": data.name,
        "samples": [len(data.train), len(data.validation), len(data.test)],
        "widths": list(recipe.widths),
        "epochs": recipe.epochs,
        "metric": kind.metric,
        "unit": kind.unit,
        "local": local,
        "backpropagation": baseline,
        "ratio": local["test_error"] / baseline["test_error"] if baseline["test_error"] else None,
        "seconds": time.monotonic() - begun,
    }


def table(tasks: dict[str, Any]) -> str:
    """Return the Markdown table of the results.

    Args:
        tasks: The figures by task.
    """
    methods = ("local", "backpropagation")
    columns = ("targets and data", "recipe", "error", "local objectives", "backpropagation", "ratio",
               "parameters, local / backpropagation")  # fmt: skip
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    for figures in tasks.values():
        errors = [_spread(figures[method]["test_errors"]) for method in methods]
        ratio = "" if figures["ratio"] is None else f"{figures['ratio']:.2f}"
        metric = ", ".join(filter(None, (figures["metric"], figures["unit"])))
        sizes = " / ".join(f"{figures[method]['parameters']:,}" for method in methods)
        cells = (figures["title"], f"`{figures['recipe']}`", metric, *errors, ratio, sizes)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _spread(errors: Sequence[float]) -> str:
    spread = f" ± {statistics.stdev(errors):.2f}" if len(errors) > 1 else ""
    return f"{statistics.mean(errors):.2f}{spread}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare, and write the results and the page's table."""
    parser = Parser(prog="python -m benchmarks.targets", description=__doc__)
    parser.add_argument(
        "--tasks", type=several(str), default=tuple(TASKS), help=f"of {', '.join(TASKS)}; others are kept"
    )
    parser.add_argument("--seeds", type=several(bounded(int, 0)), default=SEEDS, metavar="S,S,...")
    parser.add_argument("--rates", type=several(bounded(float, 1e-9)), default=RATES, metavar="LR,LR,...")
    parser.add_argument("--epochs", type=bounded(int, 1), help="default: those of each task")
    parser.add_argument("--out", type=Path, default=RESULTS, help="file of the results; the page shows the default one")
    parser.add_argument("--render", action="store_true", help="train nothing, write the page's table")
    options = parser.parse_args(arguments)
    with one_line_errors(parser.prog, "--epochs"):
        check_names("--tasks", options.tasks, TASKS)
        if not options.render:
            torch.set_num_threads(1)
            before = json.loads(options.out.read_text(encoding="utf-8"))["tasks"] if options.out.exists() else {}
            measured = {name: compare(TASKS[name], options) for name in options.tasks}
            tasks = {name: {**before, **measured}[name] for name in TASKS if name in before or name in measured}
            results = {"command": parser.prog, **describe_machine("cpu"), "seeds": list(options.seeds), "tasks": tasks}
            write(options.out, json.dumps(results, indent=1) + "\n")
        tasks = json.loads(options.out.read_text(encoding="utf-8"))["tasks"]
        print(table(tasks))
        if options.out == RESULTS:
            write(PAGE, filled(PAGE, "targets", table(tasks)))


if __name__ == "__main__":
    main()
