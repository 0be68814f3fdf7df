"""Duration of classification relative to one compiled forward pass, and what candidate lists cost in accuracy.

    python -m benchmarks.classification                    durations; convolutions against their arithmetic
    python -m benchmarks.classification --data-dir DIR     with the accuracy on MNIST after a short training

A network with a pair objective tries every label. The reference is one compiled forward pass of the same layers over
the same images at the same precision, without labels; a class objective and the one-pass head classify in about one.
Candidate lists let the first layer choose the labels that the later layers compute. With MNIST, the dense networks are
trained for a few epochs from a fixed seed. The curve of accuracy against cost is measured on validation data, the last
10,000 training images; the cheapest list that loses nothing there is chosen, and the test set is read once, with it and
without a list.

Where fflib is installed, its classification is measured beside that of a network of the same widths.

Convolutions are compared with their arithmetic: one pass of the first layer, whose product with the images serves all
labels, and one pass of the later layers per label. The results are written to benchmarks/results/classification.json by
default, and the tables of docs/speed.md from there.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import forwardforward as ff
from benchmarks.command_line import Parser, bounded, check_names, one_line_errors, several, shell_command
from benchmarks.machine import describe_machine, machine_words
from benchmarks.markdown import table
from benchmarks.pages import ROOT, filled, write
from benchmarks.speed import fflib
from benchmarks.speed.stacks import FFLIB, parse
from benchmarks.timing import compare
from forwardforward.classifiers import Candidates, SumOverLayers
from forwardforward.recipes import get
from forwardforward.recipes.architectures import Convolutions

RESULTS = ROOT / "benchmarks" / "results" / "classification.json"
PAGE = ROOT / "docs" / "speed.md"

CLASSES = 10
BOUND = 1.15
EPS = 1e-8  # of RMSNorm

#: Hidden widths of the dense networks, by name, and the bounds on all labels and on candidates in forward passes.
DENSE: dict[str, tuple[tuple[int, ...], float, float]] = {
    "784-500-500": ((500, 500), 5.0, 2.5),
    "784-4x2000": ((2000,) * 4, 9.2, 3.2),
    "784-2000-2000": ((2000, 2000), 9.2, 3.2),
}

#: The network whose layers are as wide as those of fflib's example, which is measured beside it where it is installed.
BESIDE_FFLIB = "784-2000-2000"

PRECISIONS = {"float32": torch.float32, "bf16": torch.bfloat16}

#: Numbers of candidates on the curve.
LENGTHS = (2, 3, 4, CLASSES)

#: Shares of the validation images that a margin lets out of the batch after the first layer.
SHARES = (0.25, 0.5, 0.75, 0.9)

#: Samples per batch of predictions, as in ``predict``.
BATCH_SIZE = 1000

#: Training images, before those of validation.
TRAINING = 50_000


def dense(widths: Sequence[int], objective: str = "pair") -> ff.FFSequential:
    """Return a dense network, RMS-normalized, with a one-pass head if the objective is a pair objective."""
    layers = [ff.FFLinear(*sizes) for sizes in itertools.pairwise((784, *widths))]
    if objective == "class":
        return ff.FFSequential(
            *layers,
            goodness=ff.goodness.LearnedProjection(CLASSES),
            loss=ff.losses.CrossEntropy(),
            normalization=ff.normalization.RMSNorm(),
        )
    return ff.FFSequential(
        *layers,
        goodness=ff.goodness.MeanOfSquares(),
        loss=ff.losses.SwishSymBa(alpha=4.0),
        normalization=ff.normalization.RMSNorm(),
        label_encoder=ff.label_encoders.Overlay(CLASSES),
        negatives=ff.negatives.HardLabel(),
        head=ff.heads.LinearHead(CLASSES),
    )


def convolutions() -> ff.FFSequential:
    """Return four convolutions, batch-normalized."""
    return ff.FFSequential(
        *Convolutions(pools=(0, 1))((4, 32, 32), (32, 64, 64, 64), CLASSES),
        goodness=ff.goodness.MeanOfSquares(),
        loss=ff.losses.SymBa(),
        normalization=ff.normalization.BatchNorm(affine=True),
        label_encoder=ff.label_encoders.LearnedChannel(CLASSES, 32),
        input_shape=(3, 32, 32),
    )


def trifecta() -> ff.FFSequential:
    """Return the Trifecta's shallow network of six convolutions, a quarter as wide."""
    recipe = get("trifecta-s")
    model = recipe.replace(widths=tuple(width // 4 for width in recipe.widths)).model((3, 32, 32), CLASSES)
    assert isinstance(model, ff.FFSequential)
    return model


#: A function that makes each convolutional network, the shape of an image, and the default number of images.
NETWORKS: dict[str, tuple[Callable[[], ff.FFSequential], tuple[int, ...], int]] = {
    "convolutions 32-64-64-64": (convolutions, (3, 32, 32), 20),
    "trifecta-s, a quarter of the width": (trifecta, (3, 32, 32), 20),
}


# Durations


def forward_pass(model: ff.FFSequential) -> Callable[[Tensor], Tensor]:
    """Return a function of one compiled forward pass over plain rows, in PyTorch's own operations."""
    blocks: list[Any] = [layer.block for layer in model]

    def forward(x: Tensor) -> Tensor:
        for block in blocks:
            x = block(x * (x.square().mean(1, keepdim=True) + EPS).rsqrt()).relu()
        return x

    compiled: Callable[[Tensor], Tensor] = torch.compile(forward, fullgraph=True)
    return compiled


def passes(model: ff.FFSequential, images: Tensor) -> Callable[[], None]:
    """Return the arithmetic over plain rows: ten passes, with one product of the first layer for all.

    Rows are processed in chunks of the same size as in classification.
    """
    assert model.label_encoder is not None
    model.eval()
    rows = model.label_encoder.neutral(images).joined().detach()
    layers: list[Any] = list(model)
    first, *others = layers
    chunk_size = rows_per_chunk(model, images)

    @torch.no_grad()
    def run() -> None:
        for chunk in rows.split(chunk_size):
            product = first.block(first.normalization(chunk))
            for _ in range(CLASSES):
                x = first.activation(product if first.pool is None else first.pool(product))  # equal before a ReLU
                for layer in others:
                    x = layer(x)

    return run


def rows_per_chunk(model: ff.FFSequential, images: Tensor) -> int:
    """Return the number of rows in each chunk of a classification, see ``chunk_size`` of ``FFSequential``."""
    return max(1, model.chunk_size // max(images[0].numel(), *(layer.largest_size for layer in model)))


def classifiers(pair: ff.FFSequential, lists: dict[str, Candidates], images: Tensor) -> dict[str, Callable[[], Tensor]]:
    """Return functions that classify images by all labels and by each candidate list.

    Args:
        pair: Network with a pair objective.
        lists: Candidate lists by name.
        images: Raw images.
    """

    def predict(classifier: Any) -> Tensor:
        pair.classifier = classifier
        return pair.predict(images, batch_size=BATCH_SIZE)

    lists_and_all = {"all labels": SumOverLayers(slice(1, None)), **lists}
    return {name: partial(predict, classifier) for name, classifier in lists_and_all.items()}


def durations(
    pair: ff.FFSequential, classes: ff.FFSequential, lists: dict[str, Candidates], images: Tensor, rounds: int
) -> dict[str, dict[str, Any]]:
    """Return the duration of each kind of classification, relative to one forward pass, at the caller's precision.

    Args:
        pair: Network with a pair objective and a head.
        classes: Network of the same layers with a class objective.
        lists: Candidate lists by name.
        images: Raw images.
        rounds: Number of calls that are measured.
    """
    prepared, forward = pair.prepare(images).flatten(1), forward_pass(pair)
    for model in (pair, classes):
        model.compile_scoring()
    kinds: dict[str, Callable[[], Any]] = {
        "forward pass": lambda: [forward(batch) for batch in prepared.split(BATCH_SIZE)],
        **classifiers(pair, {**lists, "one-pass head": "head"}, images),
        "class objective": partial(classes.predict, images, batch_size=BATCH_SIZE),
    }
    with torch.no_grad():
        return compare(kinds, "forward pass", rounds)


def beside_fflib(
    pair: ff.FFSequential, lists: dict[str, Candidates], images: Tensor, rounds: int
) -> dict[str, dict[str, Any]]:
    """Return the duration of each kind of classification, relative to fflib's, at the caller's precision.

    Fflib computes in float32 and evaluates every label; its time does not depend on its weights.

    Args:
        pair: Network with a pair objective, with compiled scoring.
        lists: Candidate lists by name.
        images: Raw images.
        rounds: Number of calls that are measured.
    """
    classify = fflib.classification(parse(FFLIB), images.flatten(1).float())

    def in_float32() -> Tensor:
        with torch.autocast("cpu", enabled=False):
            return classify()

    kinds: dict[str, Callable[[], Any]] = {
        "fflib": in_float32,
        **classifiers(pair, lists, images),
    }
    with torch.no_grad():
        return compare(kinds, "fflib", rounds)


# Accuracy


def accuracy(scores: Tensor, labels: Tensor) -> float:
    """Return the accuracy in percent."""
    return 100 * float((scores.argmax(1) == labels).double().mean())


def curve(goodness: Tensor, labels: Tensor, widths: Sequence[int]) -> list[dict[str, Any]]:
    """Return validation accuracy and cost of candidate lists, in multiply-adds relative to a forward pass.

    Args:
        goodness: Goodness of validation images, ``(batch, layers, classes)``.
        labels: Their classes, ``(batch,)``.
        widths: Widths of the layers.
    """
    products = [a * b for a, b in itertools.pairwise((784, *widths))]
    rows = []
    for after, k in itertools.product(range(1, min(len(widths), 3)), LENGTHS):
        best = goodness[:, :after].sum(1).topk(2).values
        margins = [math.inf, *(float(gap) for gap in (best[:, 0] - best[:, 1]).quantile(1 - torch.tensor(SHARES)))]
        for margin in margins:
            candidates = Candidates(k, after, margin)
            scores = candidates(goodness)
            remaining = (scores > -math.inf).sum(1)
            labels_per_image = float(remaining.where(remaining > 1, 0).double().mean())
            cost = products[0] + CLASSES * sum(products[1:after]) + labels_per_image * sum(products[after:])
            rows.append(
                {
                    "k": k,
                    "after": after,
                    "margin": None if margin == math.inf else margin,
                    "labels_per_image": labels_per_image,
                    "cost": cost / sum(products),
                    "validation_accuracy": accuracy(scores, labels),
                }
            )
    return rows


def chosen(points: Sequence[dict[str, Any]], full: float, exits: bool) -> dict[str, Any]:
    """Return the cheapest point of a curve that loses nothing, else the most accurate one.

    Args:
        points: The curve.
        full: Validation accuracy of all labels.
        exits: Whether to choose among lists with a margin or among those without.
    """
    points = [point for point in points if (point["margin"] is not None) == exits]
    lossless = [point for point in points if point["validation_accuracy"] >= full]
    if lossless:
        return min(lossless, key=lambda point: float(point["cost"]))
    return max(points, key=lambda point: float(point["validation_accuracy"]))


def candidates_of(point: dict[str, Any]) -> Candidates:
    """Return the candidate list of a point of the curve."""
    return Candidates(point["k"], point["after"], math.inf if point["margin"] is None else point["margin"])


def trained_on_mnist(
    pair: ff.FFSequential, widths: Sequence[int], options: argparse.Namespace
) -> tuple[dict[str, Candidates], dict[str, Any]]:
    """Train on MNIST, and return candidate lists chosen on validation data, and figures."""
    data = ff.data.load("mnist", options.data_dir).train_and_validation
    assert data.targets is not None
    train, validation = data[:TRAINING], data[TRAINING:]
    ff.fit(
        pair,
        train,
        epochs=options.epochs,
        batch_size=options.batch_size,
        precision=options.training_precision,
        compile=True,
        progress=not options.no_progress,
    )
    goodness = torch.cat([pair.layer_goodness(images) for images in validation.inputs.split(BATCH_SIZE)])
    labels = data.targets[TRAINING:]
    full = accuracy(SumOverLayers(slice(1, None))(goodness), labels)
    points = curve(goodness, labels, widths)
    choices = {name: chosen(points, full, exits) for name, exits in (("candidates", False), ("early exit", True))}
    lists = {name: candidates_of(point) for name, point in choices.items()}
    figures = {"epochs": options.epochs, "validation_accuracy": full, "curve": points, "chosen": choices}
    return lists, figures


def test_accuracies(pair: ff.FFSequential, lists: dict[str, Candidates], data_dir: Path) -> dict[str, float]:
    """Return the test accuracy of all labels and of each list, from one pass over the test set."""
    test = ff.data.load("mnist", data_dir).test
    assert test.targets is not None
    goodness = torch.cat([pair.layer_goodness(images) for images in test.inputs.split(BATCH_SIZE)])
    kinds: dict[str, Any] = {"all labels": SumOverLayers(slice(1, None)), **lists}
    return {name: accuracy(classifier(goodness), test.targets) for name, classifier in kinds.items()}


# Command line


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = Parser(prog="python -m benchmarks.classification", description=__doc__)
    numbers = ", ".join(str(number) for _, _, number in NETWORKS.values())
    parser.add_argument("--images", type=bounded(int, 1), help=f"of convolutions (default: {numbers})")
    parser.add_argument("--dense-images", type=bounded(int, 1), default=BATCH_SIZE)
    parser.add_argument("--rounds", type=bounded(int, 1), default=11)
    parser.add_argument("--threads", type=bounded(int, 1, 4096), default=torch.get_num_threads())
    parser.add_argument("--dense", type=several(str), default=tuple(DENSE), metavar="NAME,...", help="or none")
    parser.add_argument("--precisions", type=several(str), default=tuple(PRECISIONS), metavar="NAME,...")
    parser.add_argument("--data-dir", type=Path, help="folder of MNIST; default: no training")
    parser.add_argument("--epochs", type=bounded(int, 1), default=5)
    parser.add_argument("--batch-size", type=bounded(int, 2), default=100, help="of the training")
    parser.add_argument("--training-precision", choices=tuple(PRECISIONS), default="float32")
    parser.add_argument("--no-progress", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--render", action="store_true", help="measure nothing, write the page's tables")
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = parser.parse_args(words)
    with one_line_errors(parser.prog, "--images or --dense-images"):
        check_names("--dense", options.dense, [*DENSE, "none"])
        check_names("--precisions", options.precisions, PRECISIONS)
        if not options.render:
            measure(options, shell_command("benchmarks.classification", words))
        if options.out == RESULTS:
            content = json.loads(RESULTS.read_text(encoding="utf-8"))
            for name, render in RENDERERS.items():
                write(PAGE, filled(PAGE, name, render(content)))


def measure(options: argparse.Namespace, command: str) -> None:
    """Measure every network, and print and write the results.

    Args:
        options: Options of the command line.
        command: The command, for the file of results.
    """
    torch.set_num_threads(options.threads)
    convolutional = {name: measure_convolutions(name, options) for name in NETWORKS}
    dense = {name: measure_dense(name, options) for name in options.dense if name != "none"}
    content = {
        "command": command,
        "rounds": options.rounds,
        "machine": describe_machine("cpu"),
        "bound": BOUND,
        "networks": convolutional,
        "dense": dense,
    }
    write(options.out, json.dumps(content, indent=2) + "\n")


def measure_convolutions(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Measure one convolutional network against its arithmetic, and print the result."""
    make_network, shape, number = NETWORKS[name]
    torch.manual_seed(0)
    model, images = make_network(), torch.rand(options.images or number, *shape)
    model.preprocessing.fit(images)
    kinds: dict[str, Callable[[], Any]] = {
        "classification": partial(model.predict, images),
        "arithmetic": passes(model, images),
    }
    figures = compare(kinds, "arithmetic", options.rounds)
    floor = figures["arithmetic"]["milliseconds"]
    row = {"images": len(images), **figures["classification"], "arithmetic_milliseconds": floor}
    low, high = row["ratio_quartiles"]
    print(
        f"{name:<36}{row['images']:,} images with {CLASSES} labels: {row['milliseconds']:.0f} ms, "
        f"{row['ratio']:.2f} times the arithmetic (quartiles {low:.2f} to {high:.2f}; bound {BOUND})",
        flush=True,
    )
    return row


def measure_dense(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Measure one dense network at every precision, and print the results."""
    widths, all_bound, list_bound = DENSE[name]
    torch.manual_seed(0)
    pair, classes = dense(widths), dense(widths, "class")
    lists: dict[str, Candidates] = {"candidates": Candidates(3)}
    row: dict[str, Any] = {
        "images": options.dense_images,
        "bounds": {"all labels": all_bound, "candidates": list_bound, "one pass": BOUND},
    }
    images = torch.rand(options.dense_images, 784)
    if options.data_dir is not None:
        lists, row["mnist"] = trained_on_mnist(pair, widths, options)
        row["mnist"]["test_accuracy"] = test_accuracies(pair, lists, options.data_dir)
        images = ff.data.load("mnist", options.data_dir).test.inputs[: options.dense_images].flatten(1)
        print(f"{name}: test accuracy " + ", ".join(f"{k} {v:.2f}" for k, v in row["mnist"]["test_accuracy"].items()))
    row["lists"] = {key: repr(candidates) for key, candidates in lists.items()}
    for precision in options.precisions:
        autocast = torch.autocast("cpu", dtype=PRECISIONS[precision], enabled=precision != "float32")
        with autocast if precision != "float32" else contextlib.nullcontext():
            row[precision] = durations(pair, classes, lists, images, options.rounds)
            if name == BESIDE_FFLIB and fflib.version() is not None:
                row.setdefault("fflib", {})[precision] = beside_fflib(pair, lists, images, options.rounds)
        print(f"{name}, {len(images):,} images, {precision}, in compiled forward passes:")
        for kind, figures in row[precision].items():
            low, high = figures["ratio_quartiles"]
            print(f"  {kind:<18}{figures['milliseconds']:8.1f} ms  {figures['ratio']:.2f} ({low:.2f} to {high:.2f})")
    return row


# Tables


def render_durations(content: Mapping[str, Any]) -> str:
    """Return the table of durations in forward passes.

    Args:
        content: What :func:`measure` wrote.
    """
    kinds = ["all labels", "candidates", "early exit", "one-pass head", "class objective"]
    rows = []
    for name, network in content["dense"].items():
        for precision in filter(network.__contains__, PRECISIONS):
            figures = network[precision]
            cells = (_spread(figures[kind]) if kind in figures else "" for kind in kinds)
            rows.append([name, precision, f"{figures['forward pass']['milliseconds']:.1f}", *cells])
    machine = content["machine"]
    setting = f"{machine_words(machine)}, torch {machine['torch']}; `{content['command']}`"
    return f"{setting}\n\n{table(['network', 'precision', 'forward pass, ms', *kinds], rows)}"


def _spread(figures: Mapping[str, Any]) -> str:
    """Return a ratio with its quartiles."""
    low, high = figures["ratio_quartiles"]
    return f"{figures['ratio']:.2f} ({low:.2f}–{high:.2f})"


def render_fflib(content: Mapping[str, Any]) -> str:
    """Return the table of fflib's duration over this library's.

    Args:
        content: What :func:`measure` wrote.
    """
    network = content["dense"].get(BESIDE_FFLIB, {})
    kinds = ["all labels", "candidates", "early exit"]
    rows = []
    for precision, figures in network.get("fflib", {}).items():
        cells = []
        for kind in kinds:
            if kind not in figures:
                cells.append("")
                continue
            low, high = figures[kind]["ratio_quartiles"]
            cells.append(f"{1 / figures[kind]['ratio']:.2f} ({1 / high:.2f}–{1 / low:.2f})")
        rows.append([precision, str(network["images"]), f"{figures['fflib']['milliseconds']:.0f}", *cells])
    return table(["precision", "images", "fflib, ms", *kinds], rows) if rows else "Not measured yet."


def render_curves(content: Mapping[str, Any]) -> str:
    """Return the table of accuracy on MNIST: all labels, and the candidate lists that were chosen on validation data.

    Args:
        content: What :func:`measure` wrote.
    """
    rows = []
    for name, network in content["dense"].items():
        if "mnist" not in network:
            continue
        mnist = network["mnist"]
        tests = mnist["test_accuracy"]
        rows.append([name, "all labels", "", f"{mnist['validation_accuracy']:.2f}", f"{tests['all labels']:.2f}"])
        for kind, point in mnist["chosen"].items():
            words = f"{kind}, `{network['lists'][kind]}`"
            validation = f"{point['validation_accuracy']:.2f}"
            rows.append([name, words, f"{point['cost']:.2f}", validation, f"{tests[kind]:.2f}"])
    columns = ["network", "labels", "cost, forward passes", "validation accuracy, %", "test accuracy, %"]
    return table(columns, rows) if rows else "Not measured yet."


#: The functions of the tables on the page, by name.
RENDERERS = {"classification": render_durations, "candidates": render_curves, "classification-fflib": render_fflib}


if __name__ == "__main__":
    main()
