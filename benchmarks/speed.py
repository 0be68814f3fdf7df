"""Duration of a training step, relative to backpropagation's in the same layers.

    python -m benchmarks.speed                       784-4x2000 with 512 samples per step, float32
    python -m benchmarks.speed --widths 500,500 --batch-size 100

All kinds of steps run in turn in one process, on the same batch; the result is the ratio in each round. The step of the
pair objective processes positive and negative samples, that of the class objective no negatives; all use the same
optimizer. The results are written to benchmarks/results/speed.json by default.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import forwardforward as ff
from benchmarks.command_line import Parser, bounded, one_line_errors, widths
from benchmarks.pages import ROOT, write
from benchmarks.timing import compare
from forwardforward.label_encoders import LabelEncoder

CLASSES = 10


def steps(inputs: int, widths: Sequence[int], images: Tensor, labels: Tensor) -> dict[str, Callable[[], Any]]:
    """Return one training step of each kind, with layers of the same sizes."""
    sizes = list(zip([inputs, *widths], widths, strict=False))
    layers = [[ff.FFLinear(*size) for size in sizes] for _ in range(4)]
    models = {
        "backpropagation": ff.baselines.Backpropagation(*layers[0], num_classes=CLASSES),
        "pair": ff.FFSequential(
            *layers[1],
            goodness=ff.goodness.SumOfSquares(),
            loss=ff.losses.Threshold(theta="width"),
            normalization=ff.normalization.RMSNorm(),
            label_encoder=ff.label_encoders.Overlay(CLASSES),
            negatives=ff.negatives.RandomLabel(),
        ),
        "pair, unshared first layer": ff.FFSequential(
            *layers[2],
            goodness=ff.goodness.SumOfSquares(),
            loss=ff.losses.Threshold(theta="width"),
            normalization=ff.normalization.RMSNorm(),
            negatives=JoinedLabels(),
        ),
        "class": ff.FFSequential(
            *layers[3],
            goodness=ff.goodness.LearnedProjection(CLASSES),
            loss=ff.losses.CrossEntropy(),
            normalization=ff.normalization.RMSNorm(),
        ),
    }
    optimizers = {name: ff.LocalOptimizer(torch.optim.SGD, lr=1e-4, momentum=0.9) for name in models}

    def step(name: str) -> Callable[[], Any]:
        return lambda: models[name].step((images, labels), optimizers[name], validate=False)

    return {name: step(name) for name in models}


class JoinedLabels(ff.negatives.RandomLabel):
    """Joins image and label before the first layer, as most programs do, so their products are not shared."""

    needs_labels = False

    def __call__(
        self,
        images: Tensor,
        labels: Tensor | None,
        label_encoder: LabelEncoder | None,
        scores: Tensor | None,
        generator: torch.Generator | None,
    ) -> ff.Batch:
        """Return plain rows."""
        batch = super().__call__(images, labels, ff.label_encoders.Overlay(CLASSES), scores, generator)
        assert isinstance(batch.inputs, ff.batches.LabeledInput)
        return ff.Batch(batch.inputs.joined(), labels, has_negatives=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = Parser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("--inputs", type=bounded(int, CLASSES), default=784)  # the label is written over CLASSES inputs
    parser.add_argument("--widths", type=widths, default=(2000, 2000, 2000, 2000), metavar="W,W,...")
    parser.add_argument("--batch-size", type=bounded(int, 1), default=512)
    parser.add_argument("--rounds", type=bounded(int, 1), default=15)
    parser.add_argument("--threads", type=bounded(int, 1, 4096), default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "speed.json")
    options = parser.parse_args(arguments)
    with one_line_errors(parser.prog, "--widths or --batch-size"):
        measure(options)


def measure(options: argparse.Namespace) -> None:
    """Measure every kind of step, and print and write the results."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    widths = ",".join(map(str, options.widths))
    images = torch.rand(options.batch_size, options.inputs)
    labels = torch.randint(CLASSES, (options.batch_size,))
    kinds = steps(options.inputs, options.widths, images, labels)
    rows = compare(kinds, "backpropagation", options.rounds)
    print(f"{options.inputs}-{widths}, {options.batch_size} samples per step, float32, {options.threads} threads")
    for name, row in rows.items():
        low, high = row["ratio_quartiles"]
        print(
            f"  {name:<28}{row['milliseconds']:8.1f} ms   {row['ratio']:.2f} times backpropagation "
            f"(quartiles {low:.2f} to {high:.2f})"
        )
    content = {
        "command": f"python -m benchmarks.speed --widths {widths} --batch-size {options.batch_size}",
        "inputs": options.inputs,
        "widths": options.widths,
        "batch_size": options.batch_size,
        "rounds": options.rounds,
        "threads": options.threads,
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "steps": rows,
    }
    write(options.out, json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
