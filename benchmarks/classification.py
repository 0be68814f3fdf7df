"""Duration of classification by goodness, relative to its arithmetic.

    python -m benchmarks.classification                   a dense network and two convolutional ones
    python -m benchmarks.classification --images 10000    each of them on 10,000 images

A network with a pair objective tries every label. Its arithmetic is one forward pass of the first layer, whose product
with the images serves all labels, and one forward pass of the later layers per label. The duration of these passes over
plain rows is the reference, measured in turn. The results are written to benchmarks/results/classification.json by
default.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import forwardforward as ff
from benchmarks.command_line import Parser, bounded, one_line_errors
from benchmarks.pages import ROOT, write
from benchmarks.timing import compare
from forwardforward.recipes import get
from forwardforward.recipes.architectures import Convolutions

CLASSES = 10
BOUND = 1.15


def dense() -> ff.FFSequential:
    """Return 784-4x2000, RMS-normalized."""
    widths = [784, 2000, 2000, 2000, 2000]
    return ff.FFSequential(
        *[ff.FFLinear(*sizes) for sizes in itertools.pairwise(widths)],
        goodness=ff.goodness.SumOfSquares(),
        loss=ff.losses.Threshold(theta="width"),
        normalization=ff.normalization.RMSNorm(),
        label_encoder=ff.label_encoders.Overlay(CLASSES),
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


#: A function that makes each network, the shape of an image, and the default number of images.
NETWORKS: dict[str, tuple[Callable[[], ff.FFSequential], tuple[int, ...], int]] = {
    "784-4x2000": (dense, (784,), 200),
    "convolutions 32-64-64-64": (convolutions, (3, 32, 32), 20),
    "trifecta-s, a quarter of the width": (trifecta, (3, 32, 32), 20),
}


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


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = Parser(prog="python -m benchmarks.classification", description=__doc__)
    numbers = ", ".join(str(number) for _, _, number in NETWORKS.values())
    parser.add_argument("--images", type=bounded(int, 1), help=f"for every network (default: {numbers})")
    parser.add_argument("--rounds", type=bounded(int, 1), default=11)
    parser.add_argument("--threads", type=bounded(int, 1, 4096), default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "classification.json")
    options = parser.parse_args(arguments)
    with one_line_errors(parser.prog, "--images"):
        measure(options)


def measure(options: argparse.Namespace) -> None:
    """Measure every network, and print and write the results."""
    torch.set_num_threads(options.threads)
    networks = {}
    for name, (make_network, shape, number) in NETWORKS.items():
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
        networks[name] = row
        low, high = row["ratio_quartiles"]
        print(
            f"{name:<36}{row['images']:,} images with {CLASSES} labels: {row['milliseconds']:.0f} ms, "
            f"{row['ratio']:.2f} times the arithmetic (quartiles {low:.2f} to {high:.2f}; bound {BOUND})",
            flush=True,
        )
    content = {
        "command": "python -m benchmarks.classification" + (f" --images {options.images}" if options.images else ""),
        "rounds": options.rounds,
        "threads": options.threads,
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "bound": BOUND,
        "networks": networks,
    }
    write(options.out, json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
