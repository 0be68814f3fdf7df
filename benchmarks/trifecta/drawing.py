"""Figures of the Trifecta's studies: the rows of each, and its panels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from benchmarks.cells import Content, Row, Setting
from benchmarks.pictures import Panel, Seed, by_layer, draw_each, over_epochs, styles
from benchmarks.recorders import StepNorms
from benchmarks.tables import Cells
from benchmarks.trifecta.appendices import OUTLOOK, TAU
from benchmarks.trifecta.parts import DEEP, DENSE, without
from benchmarks.trifecta.tables import TABLE_1
from forwardforward.normalization import BatchNorm, RMSNorm

NORMS: dict[str, tuple[str, nn.Module | None]] = {
    "none": ("no normalization", None),
    "layer": ("layer normalization, reduced form", RMSNorm()),
    "batch": ("batch normalization", BatchNorm(affine=True)),
}


def dense(name: str) -> Row:
    """Return a row of the dense network without overlapping updates, with the gradient norms of single steps."""
    words, norm = NORMS[name]
    recipe = without(DENSE, overlap=True, normalization=norm)
    return Row(f"f-{name}", f"VFF+SymBa/f, {words}", recipe, 100, total_epochs=200, recorders=(StepNorms,))


def curves(line: str, label: str, stages: tuple[int, ...]) -> tuple[Row, ...]:
    """Return rows of the deep network with held-out validation images, after some of its epochs."""
    return tuple(Row(line, label, DEEP, epochs, total_epochs=max(stages), validation=True) for epochs in stages)


DENSE_ROWS = tuple(map(dense, NORMS))
CURVES = curves("tff-d-curves", "TFF/d, validation images held out", (200, 400, 500))
SHORT_CURVES = curves("tff-d-short", "TFF/d, a tenth of the epochs, validation images held out", (20, 40, 50))
LABELS = {row.name: row.label for row in (*DENSE_ROWS, *CURVES, *SHORT_CURVES, *TABLE_1, *TAU)}


# Panels


def label_of(name: str, content: Content) -> str:
    """Return a cell's row for a legend."""
    return LABELS[name]


def epoch_of(name: str, content: Content) -> str:
    """Return a cell's epoch for a legend."""
    return f"epoch {content['epochs']}"


def accuracies(result: Content) -> list[float]:
    """Return the test accuracy of each layer."""
    return [100 - error for error in result["layer_errors"]]


def entry(name: str) -> Callable[[Content], list[float]]:
    """Return a function that returns one entry of the result."""
    return lambda result: result[name]


def some_weights(name: str) -> Panel:
    """Return a panel of some weights of the last layer, clamped to [-0.3, 0.3]."""

    def paint(axis: Any, cells: Seed) -> None:
        if name in cells:
            axis.imshow(cells[name]["result"]["weights"], vmin=-0.3, vmax=0.3, cmap="RdBu")
        axis.set(xlabel="input", ylabel="output", title=LABELS[name])

    return paint


def norms_over_steps(title: str, layers: tuple[int, ...], scale: str = "linear") -> Panel:
    """Return a panel of the gradient norms of single steps, with one line per cell and layer."""

    def paint(axis: Any, cells: Seed) -> None:
        lines = [(name, content, layer) for name, content in cells.items() for layer in layers]
        for (name, content, layer), style in zip(lines, styles(len(lines)), strict=True):
            records = content.get("records", {}).get("step_norms", [])
            label = f"layer {layer}" + (f", {label_of(name, content)}" if len(cells) > 1 else "")
            steps, values = [record[0] for record in records], [record[1 + layer] for record in records]
            axis.plot(steps, values, color=style["color"], linewidth=0.7, label=label)
        axis.set(xlabel="step", title=title, yscale=scale)

    return paint


BY_LAYER = [by_layer("test accuracy, %", accuracies, label_of)]
Figure = tuple[str, tuple[str, ...], list[Panel]]
Draw = Callable[[Path, Mapping[Setting, Cells]], list[Path]]


def drawn(figures: Iterable[Figure]) -> Draw:
    """Return a function that draws the figures whose cells are finished."""
    parts = [draw_each(f"figure{name}", f"Figure {name}", rows, panels) for name, rows, panels in figures]
    return lambda folder, settings: [path for part in parts for path in part(folder, settings)]


def deep_figures(rows: tuple[Row, ...], suffix: str = "") -> list[Figure]:
    """Return figures 3, 5 and 6 of the stages of one training of the deep network."""
    names = tuple(row.name for row in rows)
    evolution = [
        over_epochs("validation error, %", "validation_layer_errors", label_of),
        over_epochs("separation", "separation", label_of),
    ]
    goodness = [over_epochs(f"{sign} goodness", sign, label_of) for sign in ("positive", "negative")]
    largest = [
        by_layer("largest goodness", entry("largest_goodness"), epoch_of),
        by_layer("largest weight", entry("largest_weight"), epoch_of),
    ]
    return [(f"3{suffix}", names[-1:], evolution), (f"5{suffix}", names[-1:], goodness), (f"6{suffix}", names, largest)]


NAMES = tuple(row.name for row in DENSE_ROWS)
FIGURES_DENSE: list[Figure] = [
    ("2", NAMES[1:], [norms_over_steps(f"gradient norm, layer {layer}", (layer,)) for layer in (0, 5)]),
    (
        "7 left",
        NAMES[:1],
        [norms_over_steps("gradient norm, no normalization", tuple(range(len(DENSE.widths))), "log")],
    ),
    ("7 right", NAMES, [norms_over_steps("gradient norm, layer 5", (5,), "log")]),
    ("8", NAMES, [by_layer("test accuracy on frozen features, %", entry("probe_accuracy"), label_of)]),
    (
        "9",
        NAMES,
        [by_layer(f"largest {name}", entry(f"largest_{name}"), label_of) for name in ("weight", "goodness")],
    ),
    ("10", NAMES, [some_weights(name) for name in NAMES]),
]
FIGURES_TABLE1: list[Figure] = [("1", ("symba-100", "symba-bn-100"), BY_LAYER), ("4", ("ftl2-100",), BY_LAYER)]

draw_dense = drawn(FIGURES_DENSE)
draw_deep = drawn(deep_figures(CURVES))
draw_deep_short = drawn(deep_figures(SHORT_CURVES, " short"))
draw_figures_1_and_4 = drawn(FIGURES_TABLE1)
draw_every_row = draw_each("table1", "Test accuracy by layer", tuple(row.name for row in TABLE_1), BY_LAYER)
draw_tau = draw_each("sweep-tau", "Test accuracy by layer", tuple(row.name for row in TAU), BY_LAYER)


def draw_table1(folder: Path, settings: Mapping[Setting, Cells]) -> list[Path]:
    """Draw figures 1 and 4, and every row's accuracy by layer."""
    return [*draw_figures_1_and_4(folder, settings), *draw_every_row(folder, settings)]


def map_panel(name: str, kind: str, image: int, layer: int | None) -> Panel:
    """Return a panel of one image, or of one layer's Grad-CAM of its true or of a wrong label."""

    def paint(axis: Any, cells: Seed) -> None:
        entries = cells[name]["result"]["maps"] if name in cells else None
        axis.set_axis_off()
        if entries is None or image >= len(entries["images"]):
            return
        if layer is None:
            channels = entries["images"][image]
            rows = [list(zip(*lines, strict=True)) for lines in zip(*channels, strict=True)]  # channels come last
            axis.imshow(rows if len(channels) == 3 else channels[0], cmap="gray")
            axis.set(title=f"image {image}, class {entries['labels'][image]}")
        else:
            axis.imshow(entries[kind][layer][image], cmap="viridis")
            axis.set(title=f"layer {layer}, {kind} label")

    return paint


MAPPED = OUTLOOK[0]
draw_maps = draw_each(
    "gradcam",
    "Grad-CAM",
    (MAPPED.name,),
    [
        map_panel(MAPPED.name, kind, image, layer)
        for image in range(2)
        for kind in ("true", "wrong")
        for layer in (None, *range(6))
    ],
    columns=7,
)
