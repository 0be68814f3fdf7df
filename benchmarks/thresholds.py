"""Thresholds of Hinton's loss: uniform, growing with depth, one per layer, learned, scheduled (arXiv 2307.04205).

    python -m benchmarks.thresholds thresholds [--quick] [--data-dir DIR]

runs what is missing of the study and writes its table and its figure beside the cells, into
benchmarks/results/thresholds, and onto docs/papers/thresholds.md. --quick is a study of minutes on two cores: narrower
layers, a part of the images, few epochs, one seed.

The network is that of Extending the Forward Forward Algorithm: four dense layers of 2000 ReLUs, the sum of squares as
goodness, random wrong labels, Adam; on MNIST with the label over the first pixels, on IMDb with the label behind a
review's mean word vector. Only the thresholds differ between rows, and the learning rate in the last two.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.bench import Bench
from benchmarks.cells import Content, Row, Setting, Trained
from benchmarks.pages import ROOT
from benchmarks.pictures import Cells, Panel, dots, picture, save, styles
from benchmarks.tables import DATA, Found, Study
from forwardforward.label_encoders import Concatenation, Overlay
from forwardforward.losses import Pyramidal, Threshold, Uniform
from forwardforward.lr_schedules import Ramp
from forwardforward.recipes import Recipe, get

#: The paper's network: as `imdb-threshold` has it, without its one-pass head, and with MNIST beside IMDb.
GANDHI = get("imdb-threshold").replace(
    name="gandhi",
    head=None,
    label_encoder=Overlay,
    representation=None,
    standardize=False,
    epochs=60,
    data_settings={
        "imdb": {name: getattr(get("imdb-threshold"), name) for name in ("labels", "representation", "standardize")},
        "digits": {"labels": Concatenation},
    },
)
DEPTH = len(GANDHI.widths)

#: The slopes of the paper, and some around them.
UNIFORM = (0.03, 0.1, 0.3, 1.0, 3.0)
PYRAMIDAL = (0.03, 0.1, 0.3, 0.4, 0.5, 1.0)

#: Points of test error between good and bad thresholds, at most, and the best accuracies that the paper reports.
PAPER_SPREAD = 8
PAPER_BEST = {"mnist": "98.63", "imdb": "84.86"}

QUICK = Setting(epochs=5, width=0.25, images=16_000)


def row(line: str, label: str, loss: Threshold, **changes: Any) -> Row:
    """Return a row of a threshold: 60 epochs on MNIST, the paper's 6 on IMDb."""
    recipe: Recipe = GANDHI.replace(loss=loss, **changes)
    return Row(line, label, recipe, GANDHI.epochs, epochs_on={"imdb": 6})


#: Rows by kind of threshold.
KINDS: dict[str, tuple[Row, ...]] = {
    "uniform": tuple(row(f"uniform{k:g}", f"uniform, k = {k:g}", Threshold(Uniform(k))) for k in UNIFORM),
    "pyramidal": tuple(row(f"pyramidal{k:g}", f"pyramidal, k = {k:g}", Threshold(Pyramidal(k))) for k in PYRAMIDAL),
    "one per layer": (
        row(
            "reversed0.4",
            "falling with depth, k = 0.4",
            Threshold(tuple(Uniform(round(0.4 * (DEPTH - layer), 6)) for layer in range(DEPTH))),
        ),
    ),
    "learned": (
        row("learned-uniform1", "learned, from uniform, k = 1", Threshold(Uniform(1.0), learned=True)),
        row("learned-pyramidal0.4", "learned, from pyramidal, k = 0.4", Threshold(Pyramidal(0.4), learned=True)),
    ),
    "scheduled": (
        row("rising1", "uniform, k from 0.1 to 1", Threshold(Uniform(1.0), theta_schedule=Ramp(0.1, 1.0))),
        row("sinking1", "uniform, k from 1 to 0.1", Threshold(Uniform(1.0), theta_schedule=Ramp(1.0, 0.1))),
    ),
    "the paper's learning rate": (
        row("uniform1-lr0.01", "uniform, k = 1, learning rate 0.01", Threshold(Uniform(1.0)), lr=0.01),
        row("pyramidal0.4-lr0.01", "pyramidal, k = 0.4, learning rate 0.01", Threshold(Pyramidal(0.4)), lr=0.01),
    ),
}
ROWS = (
    *(one for rows in KINDS.values() for one in rows),
    Row("paper", "the paper's best, in a setting that it describes in part", paper=PAPER_BEST),
)

#: Rows that differ in their threshold alone, by name.
COMPARED = {one.name for kind, rows in KINDS.items() if kind != "the paper's learning rate" for one in rows}


@torch.no_grad()
def readings(trained: Trained) -> Content:
    """Return each layer's threshold at the end, as a share of the goodness's scale."""
    shares = []
    for layer in trained.model.stack:
        scale = layer.objective.goodness.scale(layer.features)
        shares.append(round(float(layer.objective.loss.threshold(scale)) / scale, 4))
    return {"threshold_shares": shares}


def accuracies(found: Found, data: str) -> dict[str, list[float]]:
    """Return the accuracies of each row's seeds on a data set, without those that diverged."""
    return {
        name: values
        for (name, one), cells in found.items()
        if one == data and (values := [cell["result"]["accuracy"] for cell in cells if "accuracy" in cell["result"]])
    }


def remark(found: Found) -> str:
    """Return how far the best and the worst threshold are apart."""
    parts = []
    for data in dict.fromkeys(data for _, data in found):
        means = {name: statistics.mean(some) for name, some in accuracies(found, data).items() if name in COMPARED}
        if len(means) > 1:
            best, worst = max(means, key=means.__getitem__), min(means, key=means.__getitem__)
            apart = f"{means[best] - means[worst]:.1f} points ({LABELS[best]}, against {LABELS[worst]})"
            parts.append(f"{apart} on {DATA.get(data, data)}")
    if not parts:
        return ""
    return f"Between the best threshold and the worst: {'; '.join(parts)}. The paper: up to {PAPER_SPREAD} points."


LABELS = {one.name: one.label for one in ROWS}


def sweep(data: str, found: Found) -> Panel:
    """Return a panel of accuracy against k, uniform and pyramidal."""

    def paint(axis: Any, cells: Cells) -> None:
        means = {name: statistics.mean(some) for name, some in accuracies(found, data).items()}
        formulas = {"uniform": "uniform, θ = k · width", "pyramidal": "pyramidal, θ = k · width · l"}
        for number, (kind, ks) in enumerate((("uniform", UNIFORM), ("pyramidal", PYRAMIDAL))):
            points = [(k, means[one.name]) for k, one in zip(ks, KINDS[kind], strict=True) if one.name in means]
            if points:
                axis.plot(*zip(*points, strict=True), label=formulas[kind], **styles(2)[number])
        axis.set(xscale="log", xlabel="k", ylabel="test accuracy, %", title=f"{DATA.get(data, data)}: sweep of k")
        ticks = sorted({k for k in (*UNIFORM, *PYRAMIDAL) if k not in (0.4,)})
        axis.set_xticks(ticks, [f"{k:g}" for k in ticks])
        axis.minorticks_off()
        axis.grid(alpha=0.3)

    return paint


def every(data: str, found: Found) -> Panel:
    """Return a panel of every row's accuracy, a dot a seed, beside the paper's best and its spread."""

    def paint(axis: Any, cells: Cells) -> None:
        values = accuracies(found, data)
        shown = [
            (number, one.label, values[one.name])
            for number, rows in enumerate(KINDS.values())
            for one in rows
            if one.name in values
        ]
        dots("test accuracy, %", shown)(axis, {})
        if data in PAPER_BEST:
            best = float(PAPER_BEST[data])
            axis.axvline(best, color="black", linestyle="--", linewidth=1, label="the paper's best")
            axis.axvspan(
                best - PAPER_SPREAD, best, color="black", alpha=0.08, label="the paper's spread, up to 8 points"
            )
        axis.set(title=f"{DATA.get(data, data)}: every threshold")

    return paint


def draw(folder: Path, found: Mapping[Setting, Found]) -> list[Path]:
    """Draw one figure per setting."""
    paths = []
    for setting, some in found.items():
        data = [one for one in dict.fromkeys(one for _, one in some) if accuracies(some, one)]
        if data:
            panels = tuple(panel(one, some) for one in data for panel in (sweep, every))
            title = f"Thresholds, {setting.words() or 'the whole setting'}"
            paths.append(save(picture(title, panels, {}, columns=2), folder, setting, "thresholds"))
    return paths


BENCH = Bench(
    "benchmarks.thresholds",
    (
        Study(
            "thresholds",
            "Thresholds",
            ROWS,
            ("mnist", "imdb"),
            draw=draw,
            quick=QUICK,
            remark=remark,
        ),
    ),
    readings=readings,
    page=ROOT / "docs" / "papers" / "thresholds.md",
    about=__doc__ or "",
)

if __name__ == "__main__":
    sys.exit(BENCH.main())
