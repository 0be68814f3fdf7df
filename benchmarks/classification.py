"""How long classification by goodness takes, against its arithmetic.

    python benchmarks/classification.py              784-4x2000, and a small stack of convolutions

A pair-objective network tries every label. Its arithmetic is one forward pass of the first layer, whose product with
the images serves all labels, and one a label of the layers behind it; these passes, over plain rows, are what the
time is compared with, turn by turn. Writes benchmarks/results/classification.json unless told otherwise.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import forwardforward as ff
from forwardforward.models import Convolutions

CLASSES = 10
BOUND = 1.15


def dense() -> tuple[ff.FFSequential, torch.Tensor]:
    """784-4x2000, RMS-normalized, and its images."""
    widths = [784, 2000, 2000, 2000, 2000]
    model = ff.FFSequential(
        *[ff.FFLinear(*sizes) for sizes in itertools.pairwise(widths)],
        goodness=ff.goodness.SumOfSquares(),
        loss=ff.losses.Threshold(theta="width"),
        normalization=ff.normalization.RMSNorm(),
        labels=ff.labels.Overlay(CLASSES),
    )
    return model, torch.rand(200, 784)


def convolutions() -> tuple[ff.FFSequential, torch.Tensor]:
    """Four convolutions, batch-normalized, and their images."""
    model = ff.FFSequential(
        *Convolutions(pools=(1, 2))((4, 32, 32), (32, 64, 64, 64), CLASSES),
        goodness=ff.goodness.MeanOfSquares(),
        loss=ff.losses.SymBa(),
        normalization=ff.normalization.BatchNorm(affine=True),
        labels=ff.labels.LearnedChannel(CLASSES, 32),
    )
    return model, torch.rand(20, 3, 32, 32)


def passes(model: ff.FFSequential, images: torch.Tensor) -> Callable[[], None]:
    """Return the arithmetic, over plain rows: ten passes, of which one makes the first layer's product for all."""
    assert model.labels is not None
    rows = model.labels.neutral(images).joined().detach()
    first, *others = model.stack

    @torch.no_grad()
    def run() -> None:
        with ff.modes.evaluating(model):
            once = first.pre_activations(rows)
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


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "classification.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    networks = {"784-4x2000": dense(), "convolutions 32-64-64-64": convolutions()}
    found = {}
    for name, (model, images) in networks.items():
        found[name] = row = compare(model, images, options.rounds)
        low, high = row["ratio_quartiles"]
        print(
            f"{name:<26}{row['images']} images over {CLASSES} labels: {row['milliseconds']:.0f} ms, "
            f"{row['ratio']:.2f} times the arithmetic (quartiles {low:.2f} to {high:.2f}), at most {BOUND}"
        )
    setting = {"rounds": options.rounds, "threads": options.threads, "cores": os.cpu_count()}
    content = {"command": "python benchmarks/classification.py", **setting, "torch": torch.__version__}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({**content, "bound": BOUND, "networks": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
