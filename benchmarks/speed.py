"""How long a training step takes, against backpropagation's on the same stack.

    python benchmarks/speed.py                       784-4x2000 at batch 512, float32
    python benchmarks/speed.py --widths 500,500 --batch-size 100

In one process, on the same batch, the two take turns; what counts is the ratio, round by round. The step of the pair
objective takes positive and negative samples, that of the class objective no negatives; all use the same optimizer.
Writes benchmarks/results/speed.json unless told otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

import forwardforward as ff
from forwardforward._utils.options import Parser, bounded, ending_in_one_line, widths

CLASSES = 10


def steps(
    inputs: int, widths: Sequence[int], images: torch.Tensor, labels: torch.Tensor
) -> dict[str, Callable[[], Any]]:
    """One training step of each kind, over stacks of the same sizes."""
    sizes = list(zip([inputs, *widths], widths, strict=False))
    stack = [[ff.FFLinear(*size) for size in sizes] for _ in range(4)]
    models = {
        "backpropagation": ff.baselines.Backpropagation(*stack[0], num_classes=CLASSES),
        "pair": ff.FFSequential(
            *stack[1],
            goodness=ff.goodness.SumOfSquares(),
            loss=ff.losses.Threshold(theta="width"),
            normalization=ff.normalization.RMSNorm(),
            label_encoder=ff.label_encoders.Overlay(CLASSES),
            negatives=ff.negatives.RandomLabel(),
        ),
        "pair, unshared first layer": ff.FFSequential(
            *stack[2],
            goodness=ff.goodness.SumOfSquares(),
            loss=ff.losses.Threshold(theta="width"),
            normalization=ff.normalization.RMSNorm(),
            negatives=Joined(),
        ),
        "class": ff.FFSequential(
            *stack[3],
            goodness=ff.goodness.LearnedProjection(CLASSES),
            loss=ff.losses.CrossEntropy(),
            normalization=ff.normalization.RMSNorm(),
        ),
    }
    optimizers = {name: ff.LocalOptimizer(torch.optim.SGD, lr=1e-4, momentum=0.9) for name in models}

    def step(name: str) -> Callable[[], Any]:
        return lambda: models[name].step((images, labels), optimizers[name])

    return {name: step(name) for name in models}


class Joined(ff.negatives.RandomLabel):
    """Joins image and label before the first layer, as programs usually do."""

    encoder = ff.label_encoders.Overlay(CLASSES)
    needs_labels = False

    def __call__(self, images, labels, encoder, scores, generator):  # type: ignore[no-untyped-def]
        """Return plain rows."""
        batch = super().__call__(images, labels, self.encoder, scores, generator)
        return ff.Batch(batch.inputs.joined(), labels, paired=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=bounded(int, CLASSES), default=784)  # the label lies over so many of them
    parser.add_argument("--widths", type=widths, default=(2000, 2000, 2000, 2000), metavar="W,W,...")
    parser.add_argument("--batch-size", type=bounded(int, 1), default=512)
    parser.add_argument("--rounds", type=bounded(int, 1), default=15)
    parser.add_argument("--threads", type=bounded(int, 1, 4096), default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "speed.json")
    options = parser.parse_args(arguments)
    with ending_in_one_line(parser, "--widths or --batch-size"):
        measure(options)


def measure(options: argparse.Namespace) -> None:
    """Measure every kind of step, print and write."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    widths, layers = options.widths, ",".join(map(str, options.widths))
    images = torch.rand(options.batch_size, options.inputs)
    labels = torch.randint(CLASSES, (options.batch_size,))
    kinds = steps(options.inputs, widths, images, labels)
    seconds: dict[str, list[float]] = {name: [] for name in kinds}
    for turn in range(options.rounds + 2):
        for name, step in kinds.items():
            began = time.perf_counter()
            step()
            if turn >= 2:  # the first two warm up
                seconds[name].append(time.perf_counter() - began)
    base = seconds["backpropagation"]
    rows = {}
    print(f"{options.inputs}-{layers} at batch {options.batch_size}, float32, {options.threads} threads")
    for name, times in seconds.items():
        ratios = sorted(t / b for t, b in zip(times, base, strict=True))
        quarter = len(ratios) // 4
        rows[name] = {
            "milliseconds": 1000 * statistics.median(times),
            "ratio": statistics.median(ratios),
            "ratio_quartiles": [ratios[quarter], ratios[-1 - quarter]],
        }
        print(
            f"  {name:<28}{rows[name]['milliseconds']:8.1f} ms   {rows[name]['ratio']:.2f} times backpropagation "
            f"(quartiles {ratios[quarter]:.2f} to {ratios[-1 - quarter]:.2f})"
        )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    setting = {"inputs": options.inputs, "widths": widths, "batch_size": options.batch_size, "rounds": options.rounds}
    setting |= {"threads": options.threads, "cores": os.cpu_count(), "torch": torch.__version__}
    command = f"python benchmarks/speed.py --widths {layers} --batch-size {options.batch_size}"
    options.out.write_text(json.dumps({"command": command, **setting, "steps": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
