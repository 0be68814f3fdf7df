"""Why does my Forward-Forward network stop at 7 %?  One mend after another, each measured.

    python -m benchmarks.seven_percent --data-dir DIR

starts from the program that everybody copies, in large batches, and mends one thing after another. Errors are those of
MNIST's validation split; the test set is not read. Each cell is kept in benchmarks/results/seven_percent.json as soon
as it is done, and the table in docs/why_7_percent.md is written from that file.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import forwardforward as ff
from benchmarks.pages import ROOT, filled
from forwardforward._utils.files import replacing
from forwardforward._utils.options import Parser, bounded, ending_in_one_line, widths

RESULTS = ROOT / "benchmarks" / "results" / "seven_percent.json"
PAGE = ROOT / "docs" / "why_7_percent.md"


class UnitLength(nn.Module):
    """What the usual program divides by: the length itself, so that a layer's inputs shrink with its width."""

    def forward(self, x: Tensor) -> Tensor:
        """Return rows of length one."""
        rows = x.flatten(1)
        return rows / (rows.norm(dim=1, keepdim=True) + 1e-4)


class PermutedLabels(ff.negatives.LabelNegatives):
    """The batch's own labels in another order: about one in ten is the true one."""

    def wrong_labels(
        self, labels: Tensor, num_classes: int, scores: Tensor | None, generator: torch.Generator | None
    ) -> Tensor:
        """Return the labels, permuted."""
        return labels[torch.randperm(len(labels), generator=generator, device=labels.device)]


def cells() -> list[tuple[str, dict[str, Any]]]:
    """Each cell's name and what it changes; changes add up."""
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
    """Train one cell and return its validation error."""
    torch.manual_seed(0)
    sizes = zip([784, *hidden], hidden, strict=False)
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


def render(kept: dict[str, Any]) -> str:
    """Return the Markdown table."""
    lines = ["| change, on top of those above | epochs | validation error, % |", "|---|---|---|"]
    done = [(name, kept["cells"][name]) for name, _ in cells() if name in kept["cells"]]
    lines += [f"| {name} | {cell['epochs']} | {cell['error']:.2f} |" for name, cell in done]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing, then write the page's table."""
    parser = Parser(
        prog="python -m benchmarks.seven_percent",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data-dir")
    parser.add_argument("--epochs", type=bounded(int, 1), default=5)
    parser.add_argument("--widths", type=widths, default=(500, 500), metavar="W,W,...")
    parser.add_argument("--out", type=Path, default=RESULTS, help="file of the cells; the page shows the default one's")
    options = parser.parse_args(arguments)
    with ending_in_one_line(parser, "--widths"):
        fill_in(options)


def fill_in(options: argparse.Namespace) -> None:
    """Measure what is missing, keep it and write the page's table.

    Raises:
        ValueError: If the file holds cells of another setting.
    """
    out: Path = options.out
    setting = {"widths": list(options.widths), "epochs": options.epochs}
    kept: dict[str, Any] = {"command": "python -m benchmarks.seven_percent", "setting": setting, "cells": {}}
    if out.exists():
        kept = json.loads(out.read_text(encoding="utf-8"))
        if kept["setting"] != setting:
            raise ValueError(f"--out {out} holds cells of another setting, {kept['setting']}; give another --out")
    data = ff.data.load("mnist", options.data_dir)
    settings: dict[str, Any] = {}
    for name, change in cells():
        settings |= change
        if name not in kept["cells"]:
            kept["cells"][name] = measure(settings, setting["widths"], setting["epochs"], data)
            with replacing(out) as file:
                file.write(json.dumps(kept, indent=2) + "\n")
        print(f"{kept['cells'][name]['error']:6.2f} %  {name}", flush=True)
    if out == RESULTS:
        PAGE.write_text(filled(PAGE, "table", render(kept)), encoding="utf-8")


if __name__ == "__main__":
    main()
