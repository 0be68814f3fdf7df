"""How long classification by goodness takes, against its arithmetic.

    python benchmarks/classification.py                   a dense network and two of convolutions
    python benchmarks/classification.py --images 10000    each of them on so many images

A pair-objective network tries every label. Its arithmetic is one forward pass of the first layer, whose product with
the images serves all labels, and one per label of the layers behind it; these passes, over plain rows, are what the
time is compared with, turn by turn. Writes benchmarks/results/classification.json unless told otherwise.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

import forwardforward as ff
from forwardforward._utils.options import Parser, bounded, ending_in_one_line
from forwardforward.recipes import get
from forwardforward.recipes.architectures import Convolutions

CLASSES = 10
BOUND = 1.15


def dense() -> ff.FFSequential:
    """784-4x2000, RMS-normalized."""
    widths = [784, 2000, 2000, 2000, 2000]
    return ff.FFSequential(
        *[ff.FFLinear(*sizes) for sizes in itertools.pairwise(widths)],
        goodness=ff.goodness.SumOfSquares(),
        loss=ff.losses.Threshold(theta="width"),
        normalization=ff.normalization.RMSNorm(),
        label_encoder=ff.label_encoders.Overlay(CLASSES),
    )


def convolutions() -> ff.FFSequential:
    """Four convolutions, batch-normalized."""
    return ff.FFSequential(
        *Convolutions(pools=(1, 2))((4, 32, 32), (32, 64, 64, 64), CLASSES),
        goodness=ff.goodness.MeanOfSquares(),
        loss=ff.losses.SymBa(),
        normalization=ff.normalization.BatchNorm(affine=True),
        label_encoder=ff.label_encoders.LearnedChannel(CLASSES, 32),
    )


def trifecta() -> ff.FFSequential:
    """The Trifecta's shallow network of six convolutions, a quarter as wide."""
    recipe = get("trifecta-s")
    model = recipe.replace(widths=tuple(width // 4 for width in recipe.widths)).model((3, 32, 32), CLASSES)
    assert isinstance(model, ff.FFSequential)
    return model


#: What makes each network, the shape of an image, and how many images unless told otherwise.
NETWORKS: dict[str, tuple[Callable[[], ff.FFSequential], tuple[int, ...], int]] = {
    "784-4x2000": (dense, (784,), 200),
    "convolutions 32-64-64-64": (convolutions, (3, 32, 32), 20),
    "trifecta-s, a quarter of the width": (trifecta, (3, 32, 32), 20),
}


def passes(model: ff.FFSequential, images: torch.Tensor) -> Callable[[], None]:
    """Return the arithmetic, over plain rows: ten passes, of which one makes the first layer's product for all.

    Rows are as many at once as in classification, for which the network's ``chunk`` is the bound.
    """
    assert model.labels is not None
    rows = model.labels.neutral(images).joined().detach()
    first, *others = model.stack
    at_once = model.rows_at_once(images)

    @torch.no_grad()
    def run() -> None:
        with ff.modes.eval_mode(model):
            for some in rows.split(at_once):
                once = first.pre_activations(some)
                for _ in range(CLASSES):
                    x = first.activation(once if first.pool is None else first.pool(once))  # a max-pool may come first
                    for layer in others:
                        x = layer(x)

    return run


def compare(model: ff.FFSequential, images: torch.Tensor, rounds: int) -> dict[str, Any]:
    """Return the times of classification and of its arithmetic, and their ratio."""
    kinds: list[Callable[[], Any]] = [lambda: model.predict(images), passes(model, images)]
    seconds: list[list[float]] = [[], []]
    for turn in range(rounds + 2):
        for kind, times in zip(kinds, seconds, strict=True):
            began = time.perf_counter()
            kind()
            if turn >= 2:  # the first two warm up
                times.append(time.perf_counter() - began)
    ratios = sorted(ours / floor for ours, floor in zip(*seconds, strict=True))
    quarter = len(ratios) // 4
    return {
        "images": len(images),
        "milliseconds": 1000 * statistics.median(seconds[0]),
        "arithmetic_milliseconds": 1000 * statistics.median(seconds[1]),
        "ratio": statistics.median(ratios),
        "ratio_quartiles": [ratios[quarter], ratios[-1 - quarter]],
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    usual = ", ".join(str(number) for _, _, number in NETWORKS.values())
    parser.add_argument("--images", type=bounded(int, 1), help=f"for every network (default: {usual})")
    parser.add_argument("--rounds", type=bounded(int, 1), default=11)
    parser.add_argument("--threads", type=bounded(int, 1, 4096), default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "classification.json")
    options = parser.parse_args(arguments)
    with ending_in_one_line(parser, "--images"):
        measure(options)


def measure(options: argparse.Namespace) -> None:
    """Measure every network, print and write."""
    torch.set_num_threads(options.threads)
    found = {}
    for name, (made, shape, usual) in NETWORKS.items():
        torch.manual_seed(0)
        model, images = made(), torch.rand(options.images or usual, *shape)
        found[name] = row = compare(model, images, options.rounds)
        low, high = row["ratio_quartiles"]
        print(
            f"{name:<36}{row['images']:,} images over {CLASSES} labels: {row['milliseconds']:.0f} ms, "
            f"{row['ratio']:.2f} times the arithmetic (quartiles {low:.2f} to {high:.2f}), at most {BOUND}",
            flush=True,
        )
    command = "python benchmarks/classification.py" + (f" --images {options.images}" if options.images else "")
    setting = {"rounds": options.rounds, "threads": options.threads, "cores": os.cpu_count()}
    content = {"command": command, **setting, "torch": torch.__version__}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({**content, "bound": BOUND, "networks": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
