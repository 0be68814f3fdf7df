"""Columns of the studies of activations and weights, and the remarks below their tables."""

from __future__ import annotations

import statistics
from collections.abc import Callable

from benchmarks import inspection, robustness
from benchmarks.activations.rows import EPOCHS, PAPER_RATIO, SHOWN
from benchmarks.cells import Content
from benchmarks.claims import Claim
from benchmarks.pictures import lowest_seed
from benchmarks.tables import Cells
from benchmarks.thresholds import data_sets


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
    (f"relu-{EPOCHS}", f"bp-{EPOCHS}", "Both with inputs of length sqrt(N) and learning rate 0.001"),
    (f"relu-unit-{EPOCHS}", f"bp-unit-{EPOCHS}", "Both with inputs of length 1 and 0.001"),
    (f"relu-plain-{EPOCHS}", f"bp-plain-{EPOCHS}", "Both not normalized, 0.001"),
    (f"relu-lr0.01-{EPOCHS}", f"bp-lr0.01-{EPOCHS}", "Both with inputs of length sqrt(N) and 0.01"),
    (
        f"relu-own-{EPOCHS}",
        f"bp-own-{EPOCHS}",
        "Forward-Forward with inputs of length 1, backpropagation not normalized, both with 0.01",
    ),
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


# Claims

ACTIVATION_CLAIMS = (
    *(
        Claim(f"ReLU is better than {label}, both with θ = width", f"relu-{EPOCHS}", f"{line}-{EPOCHS}")
        for line, label in (("leaky", "leaky ReLU"), ("gelu", "GELU"), ("tanh", "tanh"), ("sigmoid", "sigmoid"))
    ),
    *(
        Claim(f"ReLU is better than {label}", f"relu-{EPOCHS}", f"{line}-{EPOCHS}")
        for line, label in (
            ("tanh-half", "tanh with half the threshold"),
            ("tanh-scaled", "2 tanh, whose range contains the threshold"),
            ("sigmoid-half", "sigmoid with half the threshold"),
            ("sigmoid-centered", "4 sigmoid - 2, whose range contains the threshold"),
        )
    ),
    Claim("tanh trains once it can reach the threshold", f"tanh-scaled-{EPOCHS}", f"tanh-{EPOCHS}"),
    Claim("sigmoid trains once it can reach the threshold", f"sigmoid-centered-{EPOCHS}", f"sigmoid-{EPOCHS}"),
)

WEIGHT_CLAIMS = tuple(
    Claim(
        f"Forward-Forward's mean absolute weight is larger. {condition}",
        forward,
        backward,
        f"{PAPER_RATIO} times",
        figure=mean_weight("mean"),
    )
    for forward, backward, condition in PAIRS
)

CONVOLUTION_CLAIMS = (
    Claim("backpropagation is more accurate in the same convolutions", f"conv-bp-{EPOCHS}", f"conv-{EPOCHS}"),
)
