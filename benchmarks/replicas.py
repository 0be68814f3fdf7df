"""Networks trained per minute, by width and depth: one after the other, compiled one after the other, and together.

    python -m benchmarks.replicas                    30 seeds, widths 100 to 1000, depths 2 to 16, 784 inputs
    python -m benchmarks.replicas --widths 100 --depths 4 --seeds 30

All three kinds take training steps in turn in one process, on the same random data: pair objective, batch size 128,
SGD with momentum, float32. "separate" is the step of one network, layer by layer, "compiled" the same with a compiled
whole step, "replicas" one compiled step of all networks. A training has --epochs epochs of --samples samples. The
seconds of the first step, which compiles, are given apart. The results are written to benchmarks/results/replicas.json
by default, after each cell, and the table of docs/replicas.md after the last one.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

import forwardforward as ff
from benchmarks.command_line import Parser, bounded, one_line_errors, several
from benchmarks.machine import describe_machine, machine_words
from benchmarks.markdown import table
from benchmarks.pages import ROOT, filled, write
from benchmarks.timing import compare
from forwardforward.step import WholeStep

RESULTS = ROOT / "benchmarks" / "results" / "replicas.json"
PAGE = ROOT / "docs" / "replicas.md"

INPUTS = 784
CLASSES = 10

#: Steps of all networks per round; the first after another kind of step waits for memory.
TOGETHER = 3


def network(width: int, depth: int) -> ff.FFSequential:
    """Return one network."""
    return ff.FFSequential(
        *(ff.FFLinear(*size) for size in itertools.pairwise([INPUTS, *[width] * depth])),
        goodness=ff.goodness.SumOfSquares(),
        loss=ff.losses.Threshold(theta="width"),
        normalization=ff.normalization.RMSNorm(),
        label_encoder=ff.label_encoders.Overlay(CLASSES),
    )


def optimizer() -> ff.LocalOptimizer:
    """Return the local optimizers of a network."""
    return ff.LocalOptimizer(torch.optim.SGD, lr=1e-4, momentum=0.9)


def measure_cell(width: int, depth: int, options: argparse.Namespace) -> dict[str, Any]:
    """Return the durations of a step by kind, per network, and the networks trained per minute.

    Args:
        width: Units per layer.
        depth: Number of layers.
        options: Options of the command line.
    """
    count, batch_size = options.seeds, options.batch_size
    torch.manual_seed(0)
    images = torch.rand(count, batch_size, INPUTS)
    labels = torch.randint(CLASSES, (count, batch_size))
    replicas = ff.replicate(lambda: network(width, depth), range(count)).train()
    generators = [torch.Generator().manual_seed(seed) for seed in range(count)]
    optimizers = [optimizer() for _ in range(3)]
    singles = [network(width, depth) for _ in range(2)]
    whole_steps = WholeStep(compile=True), WholeStep(compile=True)
    turn = itertools.count()

    def separate() -> None:
        index = next(turn) % count  # other images in each step, as in a training
        singles[0].step((images[index], labels[index]), optimizers[0], generator=generators[0], validate=False)

    def compiled() -> None:
        batch = images[next(turn) % count], labels[0]
        singles[1].step(batch, optimizers[1], generator=generators[0], whole_step=whole_steps[0], validate=False)

    def together() -> None:
        replicas.step((images, labels), optimizers[2], generator=generators, whole_step=whole_steps[1], validate=False)

    seconds = {"compiled": duration(compiled), "replicas": duration(together)}
    functions: dict[str, Callable[[], Any]] = {
        "separate": lambda: [separate() for _ in range(options.repeats)],
        "compiled": lambda: [compiled() for _ in range(options.repeats)],
        "replicas": lambda: [together() for _ in range(TOGETHER)],
    }
    figures = compare(functions, "replicas", options.rounds)
    steps = options.epochs * -(-options.samples // batch_size)
    networks_per_call = {"separate": options.repeats, "compiled": options.repeats, "replicas": TOGETHER * count}
    kinds = {}
    for name, row in figures.items():
        milliseconds = row["milliseconds"] / networks_per_call[name]
        scale = networks_per_call["replicas"] / networks_per_call[name]
        kinds[name] = {
            "milliseconds_per_network": milliseconds,
            "networks_per_minute": 60_000 / (steps * milliseconds),
            "times_replicas": row["ratio"] * scale,
            "times_replicas_quartiles": [ratio * scale for ratio in row["ratio_quartiles"]],
            "first_step_seconds": seconds.get(name),
        }
    return {"width": width, "depth": depth, "kinds": kinds}


def duration(function: Callable[[], Any]) -> float:
    """Return the seconds of a call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = Parser(prog="python -m benchmarks.replicas", description=__doc__)
    parser.add_argument("--widths", type=several(bounded(int, 1)), default=(100, 200, 400, 1000), metavar="W,W,...")
    parser.add_argument("--depths", type=several(bounded(int, 1)), default=(2, 4, 8, 16), metavar="D,D,...")
    parser.add_argument("--seeds", type=bounded(int, 1), default=30, help="networks trained together")
    parser.add_argument("--batch-size", type=bounded(int, 1), default=128)
    parser.add_argument("--samples", type=bounded(int, 1), default=60_000, help="samples of an epoch")
    parser.add_argument("--epochs", type=bounded(int, 1), default=10, help="epochs of a training")
    parser.add_argument("--rounds", type=bounded(int, 1), default=15)
    parser.add_argument("--repeats", type=bounded(int, 1), default=10, help="steps per round of the single networks")
    parser.add_argument("--threads", type=bounded(int, 1, 4096), default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--render", action="store_true", help="measure nothing, write the page's table")
    options = parser.parse_args(arguments)
    with one_line_errors(parser.prog, "--widths, --depths or --seeds"):
        if not options.render:
            measure(options)
        if options.out == RESULTS:
            write(PAGE, filled(PAGE, "replicas", render(json.loads(RESULTS.read_text(encoding="utf-8")))))


def measure(options: argparse.Namespace) -> None:
    """Measure every cell, and print and write the results."""
    torch.set_num_threads(options.threads)
    names = {name: vars(options)[name] for name in ("seeds", "batch_size", "samples", "epochs", "rounds", "threads")}
    cells: list[dict[str, Any]] = []
    for depth, width in itertools.product(options.depths, options.widths):
        cell = measure_cell(width, depth, options)
        cells.append(cell)
        rows = cell["kinds"]
        print(
            f"{INPUTS}-{depth}x{width}: networks per minute "
            + ", ".join(f"{name} {row['networks_per_minute']:.3g}" for name, row in rows.items())
            + f"; separate takes {rows['separate']['times_replicas']:.2f} times as long as replicas, "
            + f"compiled {rows['compiled']['times_replicas']:.2f} times",
            flush=True,
        )
        content = {
            "command": "python -m benchmarks.replicas "
            f"--widths {','.join(map(str, options.widths))} --depths {','.join(map(str, options.depths))} "
            f"--seeds {options.seeds}",
            **names,
            "inputs": INPUTS,
            "machine": describe_machine("cpu"),
            "cells": cells,
        }
        write(options.out, json.dumps(content, indent=2) + "\n")
        torch.compiler.reset()


def render(content: Mapping[str, Any]) -> str:
    """Return the page's table: networks trained per minute, and step times over those of replicas.

    Args:
        content: What :func:`measure` wrote.
    """
    rows = []
    for cell in content["cells"]:
        kinds: Mapping[str, Mapping[str, Any]] = cell["kinds"]
        name = f"{content['inputs']}-{cell['depth']}x{cell['width']}"
        rates = (f"{kinds[kind]['networks_per_minute']:.3g}" for kind in ("separate", "compiled", "replicas"))
        ratios = (f"{kinds[kind]['times_replicas']:.2f}" for kind in ("separate", "compiled"))
        rows.append([name, *rates, *ratios, f"{kinds['replicas']['first_step_seconds']:.0f}"])
    setting = (
        f"{content['seeds']} seeds, {content['epochs']} epochs of {content['samples']:,} samples, "
        f"{machine_words(content['machine'])}; `{content['command']}`"
    )
    columns = [
        "network",
        *(f"{kind}, per minute" for kind in ("separate", "compiled", "replicas")),
        "separate over replicas, step time",
        "compiled over replicas, step time",
        "first step of replicas, s",
    ]
    return f"{setting}\n\n{table(columns, rows)}"


if __name__ == "__main__":
    main()
