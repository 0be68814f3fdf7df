"""Activations and weights of Hinton's loss, against backpropagation on the same stack (arXiv 2307.04205).

    python -m benchmarks.activations STUDY [--quick] [--data-dir DIR]

runs what is missing of a study and writes its table and its figure beside the cells, into
benchmarks/results/activations, and onto docs/papers/activations.md. STUDY is one of these, which share cells, or `all`:

    activations    five activations, with the width as threshold and with half of it, which bounded ones can reach
    weights        sizes of the weights, under weight decay and against backpropagation's
    robustness     corrupted images, and images of another data set

--quick is a study of minutes on two cores: narrower layers, a part of the images, few epochs, one seed. It reads the
first 2000 test images where robustness and goodness are measured; accuracy is always that on all of them.

The network is that of benchmarks/thresholds.py: four dense layers, the sum of squares as goodness, random wrong labels,
Adam (with weight decay apart from the gradient, AdamW).
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks import inspection, robustness
from benchmarks.bench import Bench
from benchmarks.cells import Content, Row, Setting, Trained
from benchmarks.pages import ROOT
from benchmarks.pictures import Cells, Panel, by_layer, dots, one_seed, picture, save, styles
from benchmarks.tables import DATA, Found, Study
from benchmarks.thresholds import GANDHI, PAPER_BEST
from forwardforward.baselines import Backpropagation
from forwardforward.losses import Threshold, Uniform
from forwardforward.recipes import Recipe
from forwardforward.recipes.architectures import Dense

ACTIVATIONS: dict[str, tuple[str, nn.Module | None]] = {
    "relu": ("ReLU", None),
    "leaky": ("leaky ReLU", nn.LeakyReLU(0.01)),
    "gelu": ("GELU", nn.GELU()),
    "tanh": ("tanh", nn.Tanh()),
    "sigmoid": ("sigmoid", nn.Sigmoid()),
}

#: Thresholds as shares of the width. The squares of a bounded activation add up to less than the width.
SHARES = {"": 1.0, "-half": 0.5}

DECAYS = (0.1, 1.0, 3.0)

#: The data set whose images are of another kind, of the same shape.
OUTSIDE = {"mnist": "fashion-mnist", "fashion-mnist": "mnist"}

#: Test images that a reduced cell's robustness and goodness are measured on.
SOME = 2000

#: The layer that pictures of one layer show, from 0: the first of those that classify.
SHOWN = 1

#: How many times larger the paper found the weights to be than backpropagation's.
PAPER_RATIO = "10 to 20"

QUICK = Setting(epochs=5, width=0.25, images=20_000)
EPOCHS = GANDHI.epochs
FORWARD = GANDHI.replace(loss=Threshold(Uniform(1.0)))
BACKWARD = GANDHI.replace(
    **dict.fromkeys(("goodness", "loss", "labels", "negatives")), baseline=Backpropagation, data_settings={}
)


def activated(name: str, share: str) -> Row:
    """Return a row of an activation and a threshold."""
    label, activation = ACTIVATIONS[name]
    recipe = FORWARD.replace(architecture=Dense(activation), loss=Threshold(Uniform(SHARES[share])))
    text = "θ = width" if SHARES[share] == 1 else f"θ = {SHARES[share]:g} · width"
    paper = {"mnist": PAPER_BEST["mnist"]} if name + share == "relu" else {}
    return Row(name + share, f"{label}, {text}", recipe, EPOCHS, paper=paper)


def weighed(line: str, label: str, recipe: Recipe, **changes: Any) -> Row:
    """Return a row of the studies of weights and robustness."""
    return Row(line, label, recipe.replace(**changes), EPOCHS)


def decayed(decay: float) -> Row:
    """Return a row of Forward-Forward with weight decay."""
    options = {**GANDHI.options, "weight_decay": decay}
    return weighed(
        f"relu-decay{decay:g}",
        f"Forward-Forward, weight decay {decay:g}",
        FORWARD,
        rule=torch.optim.AdamW,
        options=options,
    )


ROWS = tuple(activated(name, share) for share in SHARES for name in ACTIVATIONS)

FORWARD_ROW = weighed("relu", "Forward-Forward", FORWARD, architecture=Dense())
BACKWARD_ROW = weighed("bp", "backpropagation, the same stack", BACKWARD)
BOTH = (
    FORWARD_ROW,
    *(decayed(decay) for decay in DECAYS),
    weighed("relu-lr0.01", "Forward-Forward, learning rate 0.01", FORWARD, lr=0.01),
    BACKWARD_ROW,
    weighed("bp-plain", "backpropagation, not normalized", BACKWARD, normalization=None),
    weighed("bp-lr0.01", "backpropagation, learning rate 0.01", BACKWARD, lr=0.01),
)
LABELS = {row.name: row.label for row in (*ROWS, *BOTH)}


def readings(trained: Trained) -> Content:
    """Return sizes of weights, distributions of goodness, accuracies under corruption and on images of another kind."""
    test = trained.splits.test
    some = test[: min(SOME, len(test))] if trained.cell.setting.images else test
    found: Content = {"weights": inspection.weights(trained.model)}
    if hasattr(trained.model, "layer_goodness"):
        found["goodness"] = inspection.goodness(trained.model, some)
    found["corrupted"] = robustness.accuracies(trained.model, some)
    if trained.cell.data in OUTSIDE:
        outside = trained.other(OUTSIDE[trained.cell.data]).test
        found["outside"] = robustness.told_apart(trained.model, some, outside[: len(some)])
    found["images_of_these"] = len(some)
    return found


# Columns


def mean_weight(figure: str) -> Callable[[Content], float | None]:
    """Return what reads the mean over the layers of a figure of the weights."""

    def read(content: Content) -> float | None:
        found = content["result"].get("weights")
        return None if found is None else statistics.mean(found[figure])

    return read


def median_goodness(sign: str) -> Callable[[Content], float | None]:
    """Return what reads the median goodness of one layer, as a share of the width."""

    def read(content: Content) -> float | None:
        found = content["result"].get("goodness")
        middle = inspection.QUANTILES.index(0.5)
        return None if found is None else found[sign][SHOWN][middle] / found["scale"][SHOWN]

    return read


def under(corruption: str) -> Callable[[Content], float | None]:
    """Return what reads an accuracy under a corruption."""
    return lambda content: content["result"].get("corrupted", {}).get(corruption)


def apart(figure: str) -> Callable[[Content], float | None]:
    """Return what reads how well a figure tells images of another kind."""
    return lambda content: content["result"].get("outside", {}).get(figure)


CORRUPTED = [
    f"{name} {strength:g}" for name, (_, strengths) in robustness.CORRUPTIONS.items() for strength in strengths
]
SEEN = {
    f"positive goodness / width, layer {SHOWN + 1}": median_goodness("positive"),
    f"negative goodness / width, layer {SHOWN + 1}": median_goodness("negative"),
    "largest weight": mean_weight("largest"),
}
SIZES = {
    "mean absolute weight": mean_weight("mean"),
    "RMS over the first weights'": mean_weight("growth"),
    "largest weight": mean_weight("largest"),
}
BORNE = {
    "as they are": under("none"),
    **{name: under(name) for name in CORRUPTED},
    "AUROC, softmax": apart("sureness"),
    "AUROC, largest score": apart("strength"),
}


def ratios(found: Found) -> str:
    """Return how many times backpropagation's weights Forward-Forward's are, layer by layer."""
    sentences = []
    for ours, theirs, when in COMPARED:
        for data in dict.fromkeys(data for _, data in found):
            cells = one_seed(found, data)
            if {ours, theirs} <= set(cells):
                a, b = (cells[name]["result"]["weights"] for name in (ours, theirs))
                parts = [
                    f"{', '.join(f'{x / y:.2g}' for x, y in zip(a[figure], b[figure], strict=True))} by {words}"
                    for figure, words in (("mean", "their mean"), ("rms", "root mean square"), ("largest", "largest"))
                ]
                sentences.append(f"{when}: {'; '.join(parts)}.")
    if not sentences:
        return ""
    return (
        "Forward-Forward's absolute weights as multiples of backpropagation's on the same stack, from the first layer "
        f"to the last, for the lowest seed. {' '.join(sentences)} The paper: {PAPER_RATIO}."
    )


COMPARED = (
    (FORWARD_ROW.name, BACKWARD_ROW.name, "Both with learning rate 0.001"),
    (f"relu-lr0.01-{EPOCHS}", f"bp-lr0.01-{EPOCHS}", "Both with 0.01"),
)


def measured_on(found: Found) -> str:
    """Return on how many test images robustness was measured."""
    counts = {cell["result"].get("images_of_these") for cells in found.values() for cell in cells} - {None}
    if not counts:
        return ""
    some = " or ".join(f"{count:,}" for count in sorted(counts))
    return (
        f"All columns but the first accuracy are of the first {some} test images, corrupted alike for every row. "
        "AUROC: how often an image of the data set scores above one of another, MNIST and Fashion-MNIST; 0.5 is chance."
    )


# Pictures


def named(name: str, content: Content) -> str:
    """What a legend calls a cell."""
    return LABELS[name]


def goodness_over_epochs(share: str) -> Panel:
    """Return a panel of one layer's mean goodness over the epochs, positive and negative, for each activation."""

    def paint(axis: Any, cells: Cells) -> None:
        for (name, (label, _)), style in zip(ACTIVATIONS.items(), styles(len(ACTIVATIONS)), strict=True):
            content = cells.get(f"{name}{share}-{EPOCHS}")
            if content is None or "goodness" not in content["result"]:
                continue
            width = content["result"]["goodness"]["scale"][SHOWN]
            for sign, line in (("positive", "-"), ("negative", ":")):
                values = [epoch[SHOWN] / width for epoch in content["history"][sign]]
                text = label if sign == "positive" else None
                axis.plot(content["history"]["epoch"], values, linestyle=line, markersize=4, label=text, **style)
        axis.axhline(SHARES[share], color="black", linestyle="--", linewidth=1, label="θ / width")
        title = f"goodness / width, layer {SHOWN + 1}, θ = {SHARES[share]:g} · width\n(dotted: of negatives)"
        axis.set(xlabel="epoch", title=title, yscale="log")

    return paint


def largest_over_epochs(axis: Any, cells: Cells) -> None:
    """Paint one layer's largest weight over the epochs for each activation and threshold."""
    for share, line in zip(SHARES, ("-", ":"), strict=True):
        for (name, (label, _)), style in zip(ACTIVATIONS.items(), styles(len(ACTIVATIONS)), strict=True):
            content = cells.get(f"{name}{share}-{EPOCHS}")
            if content is not None:
                values = [epoch[SHOWN] for epoch in content["history"]["largest_weight"]]
                text = label if not share else None
                axis.plot(content["history"]["epoch"], values, linestyle=line, markersize=4, label=text, **style)
    axis.set(xlabel="epoch", title=f"largest weight, layer {SHOWN + 1}\n(dotted: θ = 0.5 · width)", yscale="log")


def spread(title: str, read: Callable[[Content], Iterable[tuple[str, list[float]]]], rows: Iterable[Row]) -> Panel:
    """Return a panel of distributions, a bar from the 5 to the 95 % quantile and a dot at the median.

    Args:
        title: What stands above.
        read: Names of distributions and their quantiles; none where a cell has none.
        rows: The rows, from above.
    """

    def paint(axis: Any, cells: Cells) -> None:
        here = [row for row in rows if row.name in cells]
        known: dict[str, dict[str, str]] = {}
        for height, row in enumerate(here):
            distributions = list(read(cells[row.name]))
            for number, (name, quantiles) in enumerate(distributions):
                label = None if name in known else name
                style = known.setdefault(name, styles(number + 1)[number])
                at = height + 0.7 * (number - (len(distributions) - 1) / 2) / len(distributions)
                axis.plot([quantiles[0], quantiles[-1]], [at, at], color=style["color"], linewidth=2)
                axis.plot([quantiles[2]], [at], linestyle="", markersize=5, label=label, **style)
        axis.set_yticks(range(len(here)), [row.label for row in here], fontsize=7)
        axis.invert_yaxis()
        axis.grid(axis="x", alpha=0.3)
        axis.set(title=title, xscale="log")

    return paint


def goodness_quantiles(content: Content) -> list[tuple[str, list[float]]]:
    """Return one layer's goodness over its threshold, of true and of wrong labels."""
    found = content["result"].get("goodness")
    if found is None:
        return []
    theta = found["threshold"][SHOWN]
    return [(f"{sign}s", [value / theta for value in found[sign][SHOWN]]) for sign in ("positive", "negative")]


def weight_quantiles(content: Content) -> list[tuple[str, list[float]]]:
    """Return each layer's absolute weights."""
    found = content["result"]["weights"]["quantiles"]
    return [(f"layer {number}", quantiles) for number, quantiles in enumerate(found, start=1)]


def bearing(corruption: str) -> Panel:
    """Return a panel of accuracy against a corruption's strength, a line per row."""

    def paint(axis: Any, cells: Cells) -> None:
        strengths = (0.0, *robustness.CORRUPTIONS[corruption][1])
        for (name, content), style in zip(cells.items(), styles(len(cells)), strict=True):
            found = content["result"]["corrupted"]
            values = [found["none"], *(found[f"{corruption} {strength:g}"] for strength in strengths[1:])]
            axis.plot(strengths, values, markersize=4, label=LABELS[name], **style)
        axis.set(xlabel=UNITS[corruption], ylabel="accuracy, %", title=corruption)
        axis.grid(alpha=0.3)

    return paint


UNITS = {
    "noise": "standard deviation",
    "occlusion": "side of the square / side of the image",
    "blur": "standard deviation, pixels",
    "rotation": "degrees",
}


def areas(axis: Any, cells: Cells) -> None:
    """Paint how well images of another data set are told apart."""
    here = {name: content["result"]["outside"] for name, content in cells.items() if "outside" in content["result"]}
    if not here:
        axis.set_axis_off()
        return
    for (figure, words), style in zip(
        (("sureness", "largest softmax"), ("strength", "largest score")), styles(2), strict=True
    ):
        values = [one[figure] for one in here.values()]
        axis.plot(values, range(len(here)), linestyle="", label=words, **style)
    axis.set_yticks(range(len(here)), [LABELS[name] for name in here], fontsize=7)
    axis.invert_yaxis()
    axis.axvline(0.5, color="black", linestyle="--", linewidth=1)
    axis.grid(axis="x", alpha=0.3)
    axis.set(xlabel="AUROC", title="images of another data set")


def trade(axis: Any, cells: Cells) -> None:
    """Paint accuracy against the size of the weights."""
    for (name, content), style in zip(cells.items(), styles(len(cells)), strict=True):
        growth = statistics.mean(content["result"]["weights"]["growth"])
        axis.plot([growth], [content["result"]["accuracy"]], linestyle="", label=LABELS[name], **style)
    axis.set(xlabel="RMS over the first weights', mean of the layers", ylabel="test accuracy, %", xscale="log")
    axis.set(title="accuracy against weights")
    axis.grid(alpha=0.3)


def accuracy_dots(rows: tuple[Row, ...]) -> Panel:
    """Return a panel of the rows' accuracies."""

    def paint(axis: Any, cells: Cells) -> None:
        shown = [
            (number % len(ACTIVATIONS), row.label, [cells[row.name]["result"]["accuracy"]])
            for number, row in enumerate(rows)
            if row.name in cells
        ]
        dots("test accuracy, %", shown)(axis, cells)

    return paint


def drawing(name: str, rows: tuple[Row, ...], panels: tuple[Panel, ...]) -> Callable[..., list[Path]]:
    """Return what draws one figure per setting and data set; the lowest seed speaks for all."""

    def draw(folder: Path, found: Mapping[Setting, Found]) -> list[Path]:
        paths = []
        for setting, some in found.items():
            for data in dict.fromkeys(data for _, data in some):
                cells = one_seed(some, data)
                here = {row.name: cells[row.name] for row in rows if row.name in cells}
                if here:
                    title = f"{name.capitalize()}: {DATA.get(data, data)}, {setting.words() or 'the whole setting'}"
                    made = picture(title, panels, here, columns=3)
                    paths.append(save(made, folder, setting, f"{name}_{data}"))
        return paths

    return draw


def read_weights(figure: str) -> Callable[[Content], list[float]]:
    """Return what reads a figure of the weights, layer by layer."""
    return lambda result: result["weights"][figure]


DRAW = {
    "activations": drawing(
        "activations",
        ROWS,
        (
            accuracy_dots(ROWS),
            goodness_over_epochs(""),
            goodness_over_epochs("-half"),
            largest_over_epochs,
            spread(f"goodness / θ at the end, layer {SHOWN + 1}", goodness_quantiles, ROWS),
            spread("absolute weights at the end", weight_quantiles, ROWS),
        ),
    ),
    "weights": drawing(
        "weights",
        BOTH,
        (
            by_layer("mean absolute weight", read_weights("mean"), named, "log"),
            by_layer("RMS over the first weights'", read_weights("growth"), named, "log"),
            by_layer("largest weight", read_weights("largest"), named, "log"),
            spread("absolute weights at the end", weight_quantiles, BOTH),
            trade,
        ),
    ),
    "robustness": drawing("robustness", BOTH, (*map(bearing, robustness.CORRUPTIONS), areas)),
}

BENCH = Bench(
    "benchmarks.activations",
    (
        Study("activations", "Activations", ROWS, ("mnist",), draw=DRAW["activations"], quick=QUICK, columns=SEEN),
        Study(
            "weights",
            "Weights",
            BOTH,
            ("mnist",),
            draw=DRAW["weights"],
            quick=QUICK,
            columns=SIZES,
            remark=ratios,
        ),
        Study(
            "robustness",
            "Corrupted images and images of another data set",
            BOTH,
            ("mnist",),
            draw=DRAW["robustness"],
            quick=QUICK,
            columns=BORNE,
            remark=measured_on,
        ),
    ),
    readings=readings,
    page=ROOT / "docs" / "papers" / "activations.md",
    about=__doc__ or "",
)

if __name__ == "__main__":
    sys.exit(BENCH.main())
