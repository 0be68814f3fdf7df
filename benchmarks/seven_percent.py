"""Why does my Forward-Forward network stop at 7 %?  One fix after another, each measured.

    python -m benchmarks.seven_percent --data-dir DIR

starts from a widely copied program, in large batches, and fixes one thing after another. Errors are measured on MNIST's
validation split; the test set is not read. Each result is written to benchmarks/results/seven_percent.json when it is
finished, and the table in docs/why_7_percent.md is written from that file.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import math
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import forwardforward as ff
from benchmarks.command_line import Parser, bounded, one_line_errors, widths
from benchmarks.pages import ROOT, filled, write
from benchmarks.reproduce.interface import Job, Place

RESULTS = ROOT / "benchmarks" / "results" / "seven_percent.json"
PAGE = ROOT / "docs" / "why_7_percent.md"

WIDTHS, EPOCHS = (500, 500), 5


class UnitLength(nn.Module):
    """The usual program's normalization, to length one, so that a layer's inputs shrink as the width grows."""

    def forward(self, x: Tensor) -> Tensor:
        """Return rows of length one."""
        rows = x.flatten(1)
        return rows / (torch.linalg.vector_norm(rows, dim=1, keepdim=True) + 1e-4)


class PermutedLabels(ff.negatives.LabelNegatives):
    """The batch's labels in another order, of which about one in ten is the true label."""

    def wrong_labels(
        self, labels: Tensor, num_classes: int, scores: Tensor | None, generator: torch.Generator | None
    ) -> Tensor:
        """Return the labels, permuted."""
        return labels[torch.randperm(len(labels), generator=generator, device=labels.device)]


def fixes() -> list[tuple[str, dict[str, Any]]]:
    """Return the description of each fix and the settings that it changes, on top of the earlier ones."""
    return [
        (
            "the usual program: mean of squares, threshold 2, inputs of length one, negatives by permuted labels, "
            "layer by layer, batches of 1000, learning rate 0.03",
            {
                "goodness": ff.goodness.MeanOfSquares(),
                "loss": ff.losses.Threshold(theta=2.0),
                "normalization": UnitLength(),
                "negatives": PermutedLabels(),
                "schedule": ff.update_schedules.Greedy(),
                "batch_size": 1000,
                "lr": 0.03,
            },
        ),
        ("wrong labels that are never the true one", {"negatives": ff.negatives.RandomLabel()}),
        ("all layers in every step", {"schedule": ff.update_schedules.Joint()}),
        (
            "inputs of length sqrt(N), batches of 100, learning rate 0.001",
            {"normalization": ff.normalization.RMSNorm(), "batch_size": 100, "lr": 1e-3},
        ),
        (
            "sum of squares, threshold = width",
            {"goodness": ff.goodness.SumOfSquares(), "loss": ff.losses.Threshold(theta="width")},
        ),
        ("hard wrong labels", {"negatives": ff.negatives.HardLabel()}),
        (
            "Swish-SymBa over the mean of squares in place of the threshold",
            {"goodness": ff.goodness.MeanOfSquares(), "loss": ff.losses.SwishSymBa(4.0)},
        ),
        ("three times the epochs, the learning rate cooled down", {"epochs": 3, "cooldown": True}),
    ]


def measure(settings: dict[str, Any], hidden: Sequence[int], epochs: int, data: ff.data.Splits) -> dict[str, Any]:
    """Train a network and return its validation error."""
    torch.manual_seed(0)
    sizes = itertools.pairwise([math.prod(data.input_shape), *hidden])
    model = ff.FFSequential(
        *(ff.FFLinear(*size) for size in sizes),
        **{name: settings[name] for name in ("goodness", "loss", "normalization", "negatives")},
        label_encoder=ff.label_encoders.Overlay(10),
        classifier=ff.classifiers.SumOverLayers(),
    )
    schedule = ff.lr_schedules.Cooldown(0.5) if settings.get("cooldown") else None
    history = ff.fit(
        model,
        data.train,
        epochs=epochs * settings.get("epochs", 1),
        optimizer=ff.LocalOptimizer(torch.optim.Adam, lr=settings["lr"], lr_schedule=schedule),
        batch_size=settings["batch_size"],
        progress=False,
        schedule=settings["schedule"],
    )
    result = ff.evaluate(model, data.validation)
    return {
        "error": result.error,
        "layer_errors": result.layer_errors,
        "seconds": history.seconds,
        "epochs": len(history),
    }


def render(cells: dict[str, Any]) -> str:
    """Return the Markdown table of the finished cells."""
    lines = ["| change, on top of those above | epochs | validation error, % |", "|---|---|---|"]
    finished = [(name, cells[name]) for name, _ in fixes() if name in cells]
    lines += [f"| {name} | {cell['epochs']} | {cell['error']:.2f} |" for name, cell in finished]
    return "\n".join(lines)


def settings_until(number: int) -> dict[str, Any]:
    """Return the settings with all fixes up to one."""
    settings: dict[str, Any] = {}
    for _, changes in fixes()[: number + 1]:
        settings |= changes
    return settings


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the missing cells, then write the page's table."""
    parser = Parser(prog="python -m benchmarks.seven_percent", description=__doc__)
    parser.add_data_dir()
    parser.add_argument("--epochs", type=bounded(int, 1), default=EPOCHS)
    parser.add_argument("--widths", type=widths, default=WIDTHS, metavar="W,W,...")
    parser.add_argument("--out", type=Path, default=RESULTS, help="file of the results; the page shows the default one")
    options = parser.parse_args(arguments)
    with one_line_errors(parser.prog, "--widths"):
        train(options)


def train(options: argparse.Namespace) -> None:
    """Train the missing cells, and write the results and the page's table.

    Raises:
        ValueError: If the file contains cells with other settings.
    """
    out: Path = options.out
    content = read(out, options.widths, options.epochs)
    data = None
    for number, (name, _) in enumerate(fixes()):
        if name not in content["cells"]:
            data = data or ff.data.load("mnist", options.data_dir)
            train_cell(out, content, number, data)
        print(f"{content['cells'][name]['error']:6.2f} %  {name}", flush=True)
    if out == RESULTS:
        write(PAGE, filled(PAGE, "table", render(content["cells"])))


def read(out: Path, hidden: Sequence[int], epochs: int) -> dict[str, Any]:
    """Return the content of the file of results, without cells if it does not exist.

    Raises:
        ValueError: If the file contains cells with other settings.
    """
    setting = {"widths": list(hidden), "epochs": epochs}
    if not out.exists():
        return {"command": "python -m benchmarks.seven_percent", "setting": setting, "cells": {}}
    content: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    if content["setting"] != setting:
        raise ValueError(f"--out {out} contains cells of other settings, {content['setting']}; give another --out")
    return content


def train_cell(out: Path, content: dict[str, Any], number: int, data: ff.data.Splits) -> None:
    """Train one cell and write the file with it."""
    setting, (name, _) = content["setting"], fixes()[number]
    content["cells"][name] = measure(settings_until(number), setting["widths"], setting["epochs"], data)
    write(out, json.dumps(content, indent=2) + "\n")


class Fixes:
    """The study for the runner. Its cells take minutes and have one file together."""

    name = "seven_percent"
    paper = "2212.13345"
    titles = types.MappingProxyType({"fixes": "Why networks stop at 7 %"})

    def jobs(self, place: Place) -> list[Job]:
        """Return one job per fix."""
        content = self._read(place)
        hidden, epochs = content["setting"].values()
        inputs, images = (64, 1077) if place.tiny else (784, 50_000)
        multiply_adds = sum(a * b for a, b in itertools.pairwise([inputs, *hidden]))
        jobs = []
        for number, (name, _) in enumerate(fixes()):
            settings = settings_until(number)
            passes = epochs * settings.get("epochs", 1) * images
            cell = content["cells"].get(name)
            jobs.append(
                Job(
                    name=f"fix{number}",
                    studies=tuple(self.titles),
                    goal=name,
                    data="digits" if place.tiny else "mnist",
                    work=2.0 * passes * multiply_adds,
                    steps=passes / settings["batch_size"],
                    is_finished=cell is not None,
                    seconds=None if cell is None else cell["seconds"],
                    key=number,
                )
            )
        return jobs

    def run(self, job: Job, place: Place) -> bool:
        """Train a cell, which is not interrupted at the deadline."""
        train_cell(place.results / RESULTS.name, self._read(place), job.key, _load(job.data, place.data_dir))
        return True

    def render(self, place: Place) -> None:
        """Write the page's table."""
        page = place.page(PAGE)
        write(page, filled(page, "table", render(self._read(place)["cells"])))

    def _read(self, place: Place) -> dict[str, Any]:
        return read(place.results / RESULTS.name, *(((8, 8), 2) if place.tiny else (WIDTHS, EPOCHS)))


@functools.lru_cache(maxsize=1)
def _load(data: str, data_dir: str | None) -> ff.data.Splits:
    return ff.data.load(data, data_dir)


STUDIES = Fixes()

if __name__ == "__main__":
    main()
