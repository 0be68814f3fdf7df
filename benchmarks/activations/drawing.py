"""Figures of the studies of activations and weights."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import robustness
from benchmarks.activations.rows import ACTIVATIONS, BOTH, CONVOLUTIONAL, EPOCHS, LABELS, ROWS, SHARES, SHOWN
from benchmarks.cells import Content, Row, Setting
from benchmarks.pictures import Panel, Seed, by_layer, dots, draw_each, styles
from benchmarks.tables import Cells


def label_of(name: str, content: Content) -> str:
    """Return a cell's row for a legend."""
    return LABELS[name]


def goodness_over_epochs(share: str) -> Panel:
    """Return a panel of one layer's mean goodness over the epochs, positive and negative, for each activation."""

    def paint(axis: Any, cells: Seed) -> None:
        for (name, (label, _)), style in zip(ACTIVATIONS.items(), styles(len(ACTIVATIONS)), strict=True):
            content = cells.get(f"{name}{share}-{EPOCHS}")
            if content is None or "goodness" not in content["result"]:
                continue
            width = content["result"]["goodness"]["scale"][SHOWN]
            for sign, line in (("positive", "-"), ("negative", ":")):
                values = [layers[SHOWN] / width for layers in content["history"][sign]]
                text = label if sign == "positive" else None
                axis.plot(content["history"]["epoch"], values, linestyle=line, markersize=4, label=text, **style)
        axis.axhline(SHARES[share], color="black", linestyle="--", linewidth=1, label="θ / width")
        title = f"goodness / width, layer {SHOWN}, θ = {SHARES[share]:g} · width\n(dotted: negatives)"
        axis.set(xlabel="epoch", title=title, yscale="log")

    return paint


def largest_over_epochs(axis: Any, cells: Seed) -> None:
    """Draw one layer's largest weight over the epochs for each activation and threshold."""
    for share, line in zip(SHARES, ("-", ":"), strict=True):
        for (name, (label, _)), style in zip(ACTIVATIONS.items(), styles(len(ACTIVATIONS)), strict=True):
            content = cells.get(f"{name}{share}-{EPOCHS}")
            if content is not None:
                values = [layers[SHOWN] for layers in content["history"]["largest_weight"]]
                text = label if not share else None
                axis.plot(content["history"]["epoch"], values, linestyle=line, markersize=4, label=text, **style)
    axis.set(xlabel="epoch", title=f"largest weight, layer {SHOWN}\n(dotted: θ = 0.5 · width)", yscale="log")


def spread(
    title: str, distributions_of: Callable[[Content], Iterable[tuple[str, list[float]]]], rows: Iterable[Row]
) -> Panel:
    """Return a panel of distributions, each a bar from the 5 to the 95 % quantile and a dot at the median.

    Args:
        title: Title of the panel.
        distributions_of: Returns names of distributions and their quantiles; may be empty.
        rows: The rows, from top to bottom.
    """

    def paint(axis: Any, cells: Seed) -> None:
        shown = [row for row in rows if row.name in cells]
        known: dict[str, dict[str, str]] = {}
        for height, row in enumerate(shown):
            distributions = list(distributions_of(cells[row.name]))
            for number, (name, quantiles) in enumerate(distributions):
                label = None if name in known else name
                style = known.setdefault(name, styles(number + 1)[number])
                y = height + 0.7 * (number - (len(distributions) - 1) / 2) / len(distributions)
                axis.plot([quantiles[0], quantiles[-1]], [y, y], color=style["color"], linewidth=2)
                axis.plot([quantiles[2]], [y], linestyle="", markersize=5, label=label, **style)
        axis.set_yticks(range(len(shown)), [row.label for row in shown], fontsize=7)
        axis.invert_yaxis()
        axis.grid(axis="x", alpha=0.3)
        axis.set(title=title, xscale="log")

    return paint


def goodness_quantiles(content: Content) -> list[tuple[str, list[float]]]:
    """Return one layer's goodness of true and of wrong labels, divided by its threshold."""
    goodness = content["result"].get("goodness")
    if goodness is None:
        return []
    theta = goodness["threshold"][SHOWN]
    return [(f"{sign}s", [value / theta for value in goodness[sign][SHOWN]]) for sign in ("positive", "negative")]


def weight_quantiles(content: Content) -> list[tuple[str, list[float]]]:
    """Return the absolute weights of each layer."""
    layers = content["result"]["weights"]["quantiles"]
    return [(f"layer {layer}", quantiles) for layer, quantiles in enumerate(layers)]


def accuracy_against(corruption: str) -> Panel:
    """Return a panel of accuracy against a corruption's strength, with one line per row."""

    def paint(axis: Any, cells: Seed) -> None:
        strengths = robustness.CORRUPTIONS[corruption][1]
        for (name, content), style in zip(cells.items(), styles(len(cells)), strict=True):
            corrupted = content["result"]["corrupted"]
            values = [corrupted["none"], *(corrupted[f"{corruption} {strength:g}"] for strength in strengths)]
            axis.plot((0.0, *strengths), values, markersize=4, label=LABELS[name], **style)
        axis.set(xlabel=UNITS[corruption], ylabel="accuracy, %", title=corruption)
        axis.grid(alpha=0.3)

    return paint


UNITS = {
    "noise": "standard deviation",
    "occlusion": "side of the square / side of the image",
    "blur": "standard deviation, pixels",
    "rotation": "degrees",
}


def areas(axis: Any, cells: Seed) -> None:
    """Draw how well images of another data set are detected."""
    results = {name: content["result"]["outside"] for name, content in cells.items() if "outside" in content["result"]}
    if not results:
        axis.set_axis_off()
        return
    measures = (("probability", "largest softmax"), ("score", "largest score"))
    for (measure, label), style in zip(measures, styles(2), strict=True):
        values = [result[measure] for result in results.values()]
        axis.plot(values, range(len(results)), linestyle="", label=label, **style)
    axis.set_yticks(range(len(results)), [LABELS[name] for name in results], fontsize=7)
    axis.invert_yaxis()
    axis.axvline(0.5, color="black", linestyle="--", linewidth=1)
    axis.grid(axis="x", alpha=0.3)
    axis.set(xlabel="AUROC", title="images of another data set")


def accuracy_against_weights(axis: Any, cells: Seed) -> None:
    """Draw accuracy against the size of the weights."""
    for (name, content), style in zip(cells.items(), styles(len(cells)), strict=True):
        growth = statistics.mean(content["result"]["weights"]["growth"])
        axis.plot([growth], [content["result"]["accuracy"]], linestyle="", label=LABELS[name], **style)
    axis.set(xlabel="RMS / initial RMS, mean over layers", ylabel="test accuracy, %", xscale="log")
    axis.set(title="accuracy against weights")
    axis.grid(alpha=0.3)


def accuracy_dots(axis: Any, cells: Seed) -> None:
    """Draw the accuracies of the activations."""
    shown = [
        (number % len(ACTIVATIONS), row.label, [cells[row.name]["result"]["accuracy"]])
        for number, row in enumerate(ROWS)
        if row.name in cells
    ]
    dots("test accuracy, %", shown)(axis, cells)


def weights_entry(figure: str) -> Callable[[Content], list[float]]:
    """Return a function from a result to a figure of the weights, by layer."""
    return lambda result: result["weights"][figure]


def histograms(name: str, kind: str) -> Panel:
    """Return a panel of one row's histograms of the weights or the activations of one layer, one line per epoch."""

    def paint(axis: Any, cells: Seed) -> None:
        records = cells[name].get("records", {}).get("histograms", []) if name in cells else []
        if not records:  # a cell that was finished before histograms were recorded
            axis.set_axis_off()
            return
        for record, style in zip(records, styles(len(records)), strict=True):
            entry = record[kind][SHOWN]
            low, high = entry["range"]
            width = (high - low) / len(entry["shares"])
            centers = [low + width * (number + 0.5) for number in range(len(entry["shares"]))]
            density = [share / width if width else share for share in entry["shares"]]
            axis.plot(centers, density, color=style["color"], label=f"epoch {record['epoch']}")
        axis.set(xlabel=kind, title=f"{LABELS[name]}\n{kind} of layer {SHOWN}", yscale="log")

    return paint


#: Rows of the figure of histograms.
HISTOGRAM_ROWS = [
    f"{line}-{EPOCHS}"
    for line in ("relu", "tanh", "tanh-half", "tanh-scaled", "sigmoid", "sigmoid-half", "sigmoid-centered")
]

ROW_NAMES, BOTH_NAMES = ([row.name for row in rows] for rows in (ROWS, BOTH))

draw_overview = draw_each(
    "activations",
    "Activations",
    ROW_NAMES,
    [
        accuracy_dots,
        goodness_over_epochs(""),
        goodness_over_epochs("-half"),
        largest_over_epochs,
        spread(f"goodness / θ at the end, layer {SHOWN}", goodness_quantiles, ROWS),
        spread("absolute weights at the end", weight_quantiles, ROWS),
    ],
    columns=3,
)
draw_histograms = draw_each(
    "histograms",
    "Weights and activations over the epochs",
    HISTOGRAM_ROWS,
    [histograms(name, kind) for name in HISTOGRAM_ROWS for kind in ("weights", "activations")],
    columns=4,
)


def draw_activations(folder: Path, settings: Mapping[Setting, Cells]) -> list[Path]:
    """Draw the overview, and histograms over the epochs of the cells that have them."""
    recorded = {
        setting: {key: contents for key, contents in cells.items() if any("records" in c for c in contents)}
        for setting, cells in settings.items()
    }
    return [*draw_overview(folder, settings), *draw_histograms(folder, recorded)]


DRAW: dict[str, Callable[[Path, Mapping[Setting, Cells]], list[Path]]] = {
    "activations": draw_activations,
    "weights": draw_each(
        "weights",
        "Weights",
        BOTH_NAMES,
        [
            by_layer("mean absolute weight", weights_entry("mean"), label_of, "log"),
            by_layer("RMS / initial RMS", weights_entry("growth"), label_of, "log"),
            by_layer("largest weight", weights_entry("largest"), label_of, "log"),
            spread("absolute weights at the end", weight_quantiles, BOTH),
            accuracy_against_weights,
        ],
        columns=3,
    ),
    "robustness": draw_each(
        "robustness", "Robustness", BOTH_NAMES, [*map(accuracy_against, robustness.CORRUPTIONS), areas], columns=3
    ),
    "convolutions": draw_each(
        "convolutions",
        "Convolutions",
        [row.name for row in CONVOLUTIONAL],
        [
            by_layer("RMS / initial RMS", weights_entry("growth"), label_of, "log"),
            by_layer("largest weight", weights_entry("largest"), label_of, "log"),
            *map(accuracy_against, robustness.CORRUPTIONS),
        ],
        columns=3,
    ),
}
