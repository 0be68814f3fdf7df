"""Thresholds of Hinton's loss: uniform, growing with depth, one per layer, learned, scheduled (arXiv 2307.04205).

    python -m benchmarks.thresholds STUDY [--quick] [--reduced] [--data-dir DIR]

trains the missing cells of a study and writes its table and figure beside the cells, to
benchmarks/results/thresholds, and to docs/papers/thresholds.md. STUDY is one of these, or `all`:

    thresholds     thresholds of the paper's network
    sizes          two thresholds in networks of other depths and widths

--quick takes minutes on two cores: narrower layers, part of the training data, few epochs, one seed. --reduced takes
hours: the paper's network on all images, with fewer epochs.

The network is that of Extending the Forward Forward Algorithm: four dense layers of 2000 ReLUs, sum of squares as
goodness, random wrong labels, Adam; on MNIST with the label over the first pixels, on IMDb with the label after a
review's mean word vector. Only the thresholds differ between rows, and the learning rate and the normalization in the
last ones.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks import claims
from benchmarks.bench import Bench
from benchmarks.cells import Content, Row, Setting
from benchmarks.pages import ROOT
from benchmarks.pictures import Panel, Seed, dots, picture, save, styles
from benchmarks.tables import DATA, Cells, Study
from forwardforward.losses import Pyramidal, Threshold, Uniform
from forwardforward.lr_schedules import Cooldown, Ramp
from forwardforward.network import Network
from forwardforward.normalization import RMSNorm
from forwardforward.recipes import get
from forwardforward.runs import Run

#: The paper's network, for MNIST and IMDb, with inputs of length sqrt(N) and a learning rate that suits them.
GANDHI = get("gandhi").replace(
    widths=(2000,) * 4, normalization=RMSNorm(), lr=1e-3, lr_schedule=Cooldown(0.5), batch_size=100
)

#: The paper's own setting.
OWN = get("gandhi").replace(widths=(2000,) * 4, batch_size=100)
DEPTH, EPOCHS = len(GANDHI.widths), 60

#: The slopes of the paper, and others around them.
UNIFORM = (0.03, 0.1, 0.3, 1.0, 3.0)
PYRAMIDAL = (0.03, *(round(0.1 * step, 1) for step in range(1, 11)))

#: Depths at the paper's width, and widths at its depth.
DEPTHS, WIDTHS = (2, 3, 4, 6, 8), (500, 1000, 2000, 4000)

#: The largest difference between good and bad thresholds in points of test error, and the best accuracies in the paper.
PAPER_SPREAD = 8
PAPER_BEST = {"mnist": "98.63", "imdb": "84.86"}

QUICK = Setting(epochs=5, width=0.25, images=16_000)

#: The paper's network and all images, for fewer epochs.
REDUCED = Setting(epochs=20, precision="bf16")


def row(line: str, label: str, loss: Threshold, **changes: Any) -> Row:
    """Return a row of a threshold: 60 epochs on MNIST, the paper's 6 on IMDb."""
    return Row(line, label, GANDHI.replace(loss=loss, **changes), EPOCHS, epochs_by_data={"imdb": 6})


def own(line: str, label: str, loss: Threshold) -> Row:
    """Return a row of the paper's own setting with a threshold."""
    return Row(line, label, OWN.replace(loss=loss), EPOCHS, epochs_by_data={"imdb": 6})


OWN_LOSS = Threshold(Pyramidal(0.4))

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
        own("own-uniform1", "uniform, k = 1, learning rate 0.01, inputs of length 1", Threshold(Uniform(1.0))),
        own("own-pyramidal0.4", "pyramidal, k = 0.4, learning rate 0.01, inputs of length 1", OWN_LOSS),
    ),
}
ROWS = (
    *(row for rows in KINDS.values() for row in rows),
    Row("paper", "the paper's best, in a setting that it describes in part", paper=PAPER_BEST),
)

#: Thresholds of the networks of other sizes: the best uniform one of the quick setting, and the paper's pyramid.
SHAPES = {
    "uniform0.3": ("uniform, k = 0.3", Threshold(Uniform(0.3))),
    "pyramidal0.4": ("pyramidal, k = 0.4", Threshold(Pyramidal(0.4))),
}


def sized(shape: str, depth: int, width: int) -> Row:
    """Return a row of a network of another size."""
    label, loss = SHAPES[shape]
    line = shape if (depth, width) == (DEPTH, GANDHI.widths[0]) else f"{shape}-{depth}x{width}"
    return row(line, f"{label}, {depth} layers of {width}", loss, widths=(width,) * depth)


#: Every depth and width once per threshold.
SIZES = tuple(dict.fromkeys([*((depth, 2000) for depth in DEPTHS), *((DEPTH, width) for width in WIDTHS)]))
SIZED = {(shape, *size): sized(shape, *size) for shape in SHAPES for size in SIZES}

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


def claim(text: str, line: str, other: str) -> claims.Claim:
    """Return the claim that one row is better than another."""
    return claims.Claim(text, f"{line}-{EPOCHS}", f"{other}-{EPOCHS}")


CLAIMS = (
    claim("growing with depth is better than uniform with the same mean", "pyramidal0.4", "uniform1"),
    claim("growing with depth is better than falling with the same mean", "pyramidal0.4", "reversed0.4"),
    claim("pyramidal is better than uniform, both with k = 0.3", "pyramidal0.3", "uniform0.3"),
    claim("pyramidal: k = 0.4 is better than 0.1", "pyramidal0.4", "pyramidal0.1"),
    claim("pyramidal: k = 0.4 is better than 0.9", "pyramidal0.4", "pyramidal0.9"),
    claim("with learning rate 0.01, inputs of length 1 train better", "own-pyramidal0.4", "pyramidal0.4-lr0.01"),
    claim("with inputs of length 1, k = 0.4 is better than uniform k = 1", "own-pyramidal0.4", "own-uniform1"),
)


def against_size(title: str, sizes: tuple[tuple[int, int], ...], data: str, cells: Cells) -> Panel:
    """Return a panel of accuracy against depth or width, with one line per threshold."""

    def paint(axis: Any, _: Seed) -> None:
        means = {name: statistics.mean(values) for name, values in accuracies(cells, data).items()}
        place = 0 if title == "depth" else 1
        for number, (shape, (label, _loss)) in enumerate(SHAPES.items()):
            points = [(size[place], means.get(SIZED[(shape, *size)].name)) for size in sizes]
            known = [(size, value) for size, value in points if value is not None]
            if known:
                axis.plot(*zip(*known, strict=True), label=label, **styles(len(SHAPES))[number])
        axis.set(xlabel=title, ylabel="test accuracy, %", title=f"{DATA.get(data, data)}: accuracy by {title}")
        axis.grid(alpha=0.3)

    return paint


def draw_sizes(folder: Path, settings: Mapping[Setting, Cells]) -> list[Path]:
    """Draw one figure per setting: accuracy against depth and against width."""
    paths = []
    for setting, cells in settings.items():
        for data in data_sets(cells):
            if len({row.name for row in SIZED.values()} & set(accuracies(cells, data))) <= len(SHAPES):
                continue  # only the networks that the study of thresholds trains
            panels = [
                against_size("depth", SIZES[: len(DEPTHS)], data, cells),
                against_size("width", tuple((DEPTH, width) for width in WIDTHS), data, cells),
            ]
            title = f"Depth and width, {setting.description() or 'full setting'}"
            paths.append(save(picture(title, panels, {}), folder, setting, f"sizes_{data}"))
    return paths


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
        ticks = sorted({*UNIFORM})  # the others are too close to each other for labels
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
    (
        Study(
            "thresholds",
            "Thresholds",
            ROWS,
            ("mnist", "imdb"),
            draw=draw,
            quick=QUICK,
            reduced=REDUCED,
            remark=claims.remark(CLAIMS, remark),
        ),
        Study(
            "sizes",
            "Depth and width",
            tuple(SIZED.values()),
            ("mnist",),
            draw=draw_sizes,
            quick=QUICK,
            reduced=REDUCED,
        ),
    ),
    measure=measure,
    page=ROOT / "docs" / "papers" / "thresholds.md",
    about=__doc__ or "",
    paper="2307.04205",
)

if __name__ == "__main__":
    BENCH.main()
