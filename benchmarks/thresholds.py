"""Thresholds of Hinton's loss: uniform, growing with depth, one per layer, learned, scheduled (arXiv 2307.04205).

    python -m benchmarks.thresholds thresholds [--quick] [--data-dir DIR]

trains the missing cells of the study and writes its table and figure beside the cells, to
benchmarks/results/thresholds, and to docs/papers/thresholds.md. --quick takes minutes on two cores: narrower layers,
part of the training data, few epochs, one seed.

The network is that of Extending the Forward Forward Algorithm: four dense layers of 2000 ReLUs, sum of squares as
goodness, random wrong labels, Adam; on MNIST with the label over the first pixels, on IMDb with the label after a
review's mean word vector. Only the thresholds differ between rows, and the learning rate in the last two.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.bench import Bench
from benchmarks.cells import Content, Row, Setting
from benchmarks.pages import ROOT
from benchmarks.pictures import Panel, Seed, dots, picture, save, styles
from benchmarks.tables import DATA, Cells, Study
from forwardforward.label_encoders import Concatenation, Overlay
from forwardforward.losses import Pyramidal, Threshold, Uniform
from forwardforward.lr_schedules import Ramp
from forwardforward.network import Network
from forwardforward.recipes import get
from forwardforward.runs import Run

IMDB = get("imdb-threshold")

#: The paper's network, for MNIST and IMDb: that of `imdb-threshold` without its one-pass head. `replace` makes a new
#: recipe, whose own settings per data set have priority over the fields given here.
GANDHI = replace(
    IMDB,
    name="gandhi",
    head=None,
    label_encoder=Overlay,
    representation=None,
    standardize=False,
    epochs=60,
    data_settings={
        "imdb": {name: getattr(IMDB, name) for name in ("label_encoder", "representation", "standardize")},
        "digits": {"label_encoder": Concatenation},
    },
)
DEPTH = len(GANDHI.widths)

#: The slopes of the paper, and others around them.
UNIFORM = (0.03, 0.1, 0.3, 1.0, 3.0)
PYRAMIDAL = (0.03, 0.1, 0.3, 0.4, 0.5, 1.0)

#: The largest difference between good and bad thresholds in points of test error, and the best accuracies in the paper.
PAPER_SPREAD = 8
PAPER_BEST = {"mnist": "98.63", "imdb": "84.86"}

QUICK = Setting(epochs=5, width=0.25, images=16_000)


def row(line: str, label: str, loss: Threshold, **changes: Any) -> Row:
    """Return a row of a threshold: 60 epochs on MNIST, the paper's 6 on IMDb."""
    return Row(line, label, GANDHI.replace(loss=loss, **changes), GANDHI.epochs, epochs_by_data={"imdb": 6})


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
    *(row for rows in KINDS.values() for row in rows),
    Row("paper", "the paper's best, in a setting that it describes in part", paper=PAPER_BEST),
)

#: Rows that differ in their threshold only, by name.
COMPARED = {row.name for kind, rows in KINDS.items() if kind != "the paper's learning rate" for row in rows}


@torch.no_grad()
def measure(run: Run, model: Network) -> Content:
    """Return each layer's threshold at the end, as a share of the goodness's scale."""
    layers: list[Any] = list(model.layers)
    scales = [layer.objective.goodness.scale(layer.block.out_features) for layer in layers]
    thresholds = [float(layer.objective.loss.threshold) for layer in layers]
    return {"threshold_shares": [round(theta / scale, 4) for theta, scale in zip(thresholds, scales, strict=True)]}


def accuracies(cells: Cells, data: str) -> dict[str, list[float]]:
    """Return the accuracies of each row's seeds on a data set, without seeds that diverged."""
    values = {
        name: [content["result"]["accuracy"] for content in contents if "accuracy" in content["result"]]
        for (name, other), contents in cells.items()
        if other == data
    }
    return {name: row for name, row in values.items() if row}


def data_sets(cells: Cells) -> list[str]:
    """Return the data sets of cells, in order."""
    return list(dict.fromkeys(data for _, data in cells))


def remark(cells: Cells) -> str:
    """Return the difference between the best and the worst threshold."""
    parts = []
    for data in data_sets(cells):
        means = {name: statistics.mean(row) for name, row in accuracies(cells, data).items() if name in COMPARED}
        if len(means) > 1:
            best, worst = max(means, key=means.__getitem__), min(means, key=means.__getitem__)
            difference = f"{means[best] - means[worst]:.1f} points ({LABELS[best]}, against {LABELS[worst]})"
            parts.append(f"{difference} on {DATA.get(data, data)}")
    if not parts:
        return ""
    return f"Between the best threshold and the worst: {'; '.join(parts)}. The paper: up to {PAPER_SPREAD} points."


LABELS = {row.name: row.label for row in ROWS}


def sweep(data: str, cells: Cells) -> Panel:
    """Return a panel of accuracy against k, uniform and pyramidal."""

    def paint(axis: Any, _: Seed) -> None:
        means = {name: statistics.mean(row) for name, row in accuracies(cells, data).items()}
        formulas = {"uniform": "uniform, θ = k · width", "pyramidal": "pyramidal, θ = k · width · (layer + 1)"}
        for number, (kind, ks) in enumerate((("uniform", UNIFORM), ("pyramidal", PYRAMIDAL))):
            points = [(k, means[row.name]) for k, row in zip(ks, KINDS[kind], strict=True) if row.name in means]
            if points:
                axis.plot(*zip(*points, strict=True), label=formulas[kind], **styles(2)[number])
        axis.set(xscale="log", xlabel="k", ylabel="test accuracy, %", title=f"{DATA.get(data, data)}: sweep of k")
        ticks = sorted({*UNIFORM, *PYRAMIDAL} - {0.4})  # too close to its neighbors for a label
        axis.set_xticks(ticks, [f"{k:g}" for k in ticks])
        axis.minorticks_off()
        axis.grid(alpha=0.3)

    return paint


def every_threshold(data: str, cells: Cells) -> Panel:
    """Return a panel of every row's accuracy, with one dot per seed, and the paper's best and its spread."""

    def paint(axis: Any, _: Seed) -> None:
        values = accuracies(cells, data)
        shown = [
            (number, row.label, values[row.name])
            for number, rows in enumerate(KINDS.values())
            for row in rows
            if row.name in values
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


def draw(folder: Path, settings: Mapping[Setting, Cells]) -> list[Path]:
    """Draw one figure per setting."""
    paths = []
    for setting, cells in settings.items():
        data = [name for name in data_sets(cells) if accuracies(cells, name)]
        if data:
            panels = [panel(name, cells) for name in data for panel in (sweep, every_threshold)]
            title = f"Thresholds, {setting.description() or 'full setting'}"
            paths.append(save(picture(title, panels, {}, columns=2), folder, setting, "thresholds"))
    return paths


BENCH = Bench(
    "benchmarks.thresholds",
    (Study("thresholds", "Thresholds", ROWS, ("mnist", "imdb"), draw=draw, quick=QUICK, remark=remark),),
    measure=measure,
    page=ROOT / "docs" / "papers" / "thresholds.md",
    about=__doc__ or "",
    paper="2307.04205",
)

if __name__ == "__main__":
    BENCH.main()
