"""Activations and weights of Hinton's loss, against backpropagation in the same layers (arXiv 2307.04205).

    python -m benchmarks.activations STUDY [--quick] [--data-dir DIR]

trains the missing cells of a study and writes its table and figure beside the cells, to
benchmarks/results/activations, and to docs/papers/activations.md. STUDY is one of these, which share cells, or `all`:

    activations    five activations, with the width as threshold and with half of it, which bounded ones can reach
    weights        sizes of the weights, under weight decay and against backpropagation's
    robustness     corrupted images, and images of another data set

--quick takes minutes on two cores: narrower layers, part of the training images, few epochs, one seed. It measures
robustness and goodness on the first 2000 test images, and accuracy on all of them.

The network is that of benchmarks/thresholds.py: four dense layers, sum of squares as goodness, random wrong labels,
Adam (with decoupled weight decay, AdamW). Layers count from 0.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn

from benchmarks import inspection, robustness
from benchmarks.bench import Bench
from benchmarks.cells import Content, Row, Setting
from benchmarks.pages import ROOT
from benchmarks.pictures import Panel, Seed, by_layer, dots, draw_each, lowest_seed, styles
from benchmarks.tables import Cells, Study
from benchmarks.thresholds import GANDHI, PAPER_BEST, data_sets
from forwardforward import FFSequential
from forwardforward.baselines import Backpropagation
from forwardforward.losses import Threshold, Uniform
from forwardforward.network import Network
from forwardforward.recipes import Recipe
from forwardforward.recipes.architectures import Dense
from forwardforward.runs import Run

ACTIVATIONS: dict[str, tuple[str, nn.Module | None]] = {
    "relu": ("ReLU", None),
    "leaky": ("leaky ReLU", nn.LeakyReLU(0.01)),
    "gelu": ("GELU", nn.GELU()),
    "tanh": ("tanh", nn.Tanh()),
    "sigmoid": ("sigmoid", nn.Sigmoid()),
}

#: Thresholds as shares of the width. The sum of squares of a bounded activation is less than the width.
SHARES = {"": 1.0, "-half": 0.5}

DECAYS = (0.1, 1.0, 3.0)

#: Data set with other images of the same shape, by data set.
OUTSIDE = {"mnist": "fashion-mnist", "fashion-mnist": "mnist"}

#: Number of test images on which robustness and goodness of a reduced cell are measured.
TEST_IMAGES = 2000

#: The layer in figures of one layer: the first of those that classify.
SHOWN = 1

#: Ratio of the weights to backpropagation's in the paper.
PAPER_RATIO = "10 to 20"

QUICK = Setting(epochs=5, width=0.25, images=20_000)
EPOCHS = GANDHI.epochs
FORWARD = GANDHI.replace(loss=Threshold(Uniform(1.0)))
BACKWARD = GANDHI.replace(**dict.fromkeys(("goodness", "loss", "label_encoder", "negatives")), baseline=Backpropagation)


def activated(name: str, share: str) -> Row:
    """Return a row of an activation and a threshold."""
    label, activation = ACTIVATIONS[name]
    recipe = FORWARD.replace(architecture=Dense(activation), loss=Threshold(Uniform(SHARES[share])))
    text = "θ = width" if SHARES[share] == 1 else f"θ = {SHARES[share]:g} · width"
    paper = {"mnist": PAPER_BEST["mnist"]} if name + share == "relu" else {}
    return Row(name + share, f"{label}, {text}", recipe, EPOCHS, paper=paper)


def compared(line: str, label: str, recipe: Recipe, **changes: Any) -> Row:
    """Return a row of the studies of weights and robustness."""
    return Row(line, label, recipe.replace(**changes), EPOCHS)


def decayed(decay: float) -> Row:
    """Return a row of Forward-Forward with weight decay."""
    options = {**GANDHI.optimizer_options, "weight_decay": decay}
    return compared(
        f"relu-decay{decay:g}",
        f"Forward-Forward, weight decay {decay:g}",
        FORWARD,
        optimizer=torch.optim.AdamW,
        optimizer_options=options,
    )


ROWS = tuple(activated(name, share) for share in SHARES for name in ACTIVATIONS)

FORWARD_ROW = compared("relu", "Forward-Forward", FORWARD, architecture=Dense())
BACKWARD_ROW = compared("bp", "backpropagation, the same layers", BACKWARD)
BOTH = (
    FORWARD_ROW,
    *(decayed(decay) for decay in DECAYS),
    compared("relu-lr0.01", "Forward-Forward, learning rate 0.01", FORWARD, lr=0.01),
    BACKWARD_ROW,
    compared("bp-plain", "backpropagation, not normalized", BACKWARD, normalization=None),
    compared("bp-lr0.01", "backpropagation, learning rate 0.01", BACKWARD, lr=0.01),
)
LABELS = {row.name: row.label for row in (*ROWS, *BOTH)}


def measure(run: Run, model: Network) -> Content:
    """Return sizes of weights, distributions of goodness, and accuracies on corrupted and on other images."""
    test = run.splits().test
    if run.config.train_samples is not None:
        test = test[: min(TEST_IMAGES, len(test))]
    result: Content = {"weights": inspection.weights(model)}
    if isinstance(model, FFSequential):
        result["goodness"] = inspection.goodness(model, test)
    result["corrupted"] = robustness.accuracies(model, test)
    if run.config.data in OUTSIDE:
        outside = run.recipe.splits(OUTSIDE[run.config.data], run.config.data_dir).test
        result["outside"] = robustness.areas(model, test, outside[: len(test)])
    result["measured_images"] = len(test)
    return result


# Columns


def mean_weight(figure: str) -> Callable[[Content], float | None]:
    """Return a function from a cell to the mean over the layers of a figure of the weights."""

    def value(content: Content) -> float | None:
        weights = content["result"].get("weights")
        return None if weights is None else statistics.mean(weights[figure])

    return value


def median_goodness(sign: str) -> Callable[[Content], float | None]:
    """Return a function from a cell to the median goodness of one layer, as a share of the width."""

    def value(content: Content) -> float | None:
        goodness = content["result"].get("goodness")
        middle = inspection.QUANTILES.index(0.5)
        return None if goodness is None else goodness[sign][SHOWN][middle] / goodness["scale"][SHOWN]

    return value


def nested(group: str, name: str) -> Callable[[Content], float | None]:
    """Return a function from a cell to an entry of a group of its result."""
    return lambda content: content["result"].get(group, {}).get(name)


CORRUPTED = [
    f"{name} {strength:g}" for name, (_, strengths) in robustness.CORRUPTIONS.items() for strength in strengths
]
GOODNESS_COLUMNS = {
    f"positive goodness / width, layer {SHOWN}": median_goodness("positive"),
    f"negative goodness / width, layer {SHOWN}": median_goodness("negative"),
    "largest weight": mean_weight("largest"),
}
WEIGHT_COLUMNS = {
    "mean absolute weight": mean_weight("mean"),
    "RMS / initial RMS": mean_weight("growth"),
    "largest weight": mean_weight("largest"),
}
ROBUSTNESS_COLUMNS = {
    "not corrupted": nested("corrupted", "none"),
    **{name: nested("corrupted", name) for name in CORRUPTED},
    "AUROC, softmax": nested("outside", "probability"),
    "AUROC, largest score": nested("outside", "score"),
}


def ratios(cells: Cells) -> str:
    """Return the ratios of Forward-Forward's weights to backpropagation's, by layer."""
    sentences = []
    for forward, backward, condition in PAIRS:
        for data in data_sets(cells):
            contents = lowest_seed(cells, data)
            if {forward, backward} <= set(contents):
                a, b = (contents[name]["result"]["weights"] for name in (forward, backward))
                parts = [
                    f"{', '.join(f'{x / y:.2g}' for x, y in zip(a[figure], b[figure], strict=True))} ({words})"
                    for figure, words in (("mean", "mean"), ("rms", "root mean square"), ("largest", "largest"))
                ]
                sentences.append(f"{condition}: {'; '.join(parts)}.")
    if not sentences:
        return ""
    return (
        "Forward-Forward's absolute weights as multiples of backpropagation's in the same layers, from the first layer "
        f"to the last, for the lowest seed. {' '.join(sentences)} The paper: {PAPER_RATIO}."
    )


PAIRS = (
    (FORWARD_ROW.name, BACKWARD_ROW.name, "Both with learning rate 0.001"),
    (f"relu-lr0.01-{EPOCHS}", f"bp-lr0.01-{EPOCHS}", "Both with 0.01"),
)


def measured_images(cells: Cells) -> str:
    """Return the number of test images on which robustness was measured."""
    counts = {content["result"].get("measured_images") for contents in cells.values() for content in contents} - {None}
    if not counts:
        return ""
    numbers = " or ".join(f"{count:,}" for count in sorted(counts))
    return (
        f"All columns but the first accuracy are measured on the first {numbers} test images, with the same "
        "corruptions for every row. AUROC: how often an image of the data set scores above one of another, MNIST and "
        "Fashion-MNIST; 0.5 is chance."
    )


# Figures


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


ROW_NAMES, BOTH_NAMES = ([row.name for row in rows] for rows in (ROWS, BOTH))
DRAW = {
    "activations": draw_each(
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
    ),
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
}


def study(
    name: str,
    title: str,
    rows: tuple[Row, ...],
    columns: Mapping[str, Callable[[Content], float | None]],
    remark: Callable[[Cells], str] | None = None,
) -> Study:
    """Return a study on MNIST."""
    draw = DRAW[name]
    return Study(name, title, rows, ("mnist",), draw=draw, quick=QUICK, columns=columns, remark=remark)


BENCH = Bench(
    "benchmarks.activations",
    (
        study("activations", "Activations", ROWS, GOODNESS_COLUMNS),
        study("weights", "Weights", BOTH, WEIGHT_COLUMNS, ratios),
        study(
            "robustness",
            "Corrupted images and images of another data set",
            BOTH,
            ROBUSTNESS_COLUMNS,
            measured_images,
        ),
    ),
    measure=measure,
    page=ROOT / "docs" / "papers" / "activations.md",
    about=__doc__ or "",
    paper="2307.04205",
)

if __name__ == "__main__":
    BENCH.main()
