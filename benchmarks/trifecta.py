"""The Trifecta's tables and figures (Dooms, Tsang and Oramas 2023, arXiv 2311.18130).

    python -m benchmarks.trifecta STUDY [--data-dir DIR]

trains the missing cells of a study and writes its table beside the cells, to benchmarks/results/trifecta, and to
docs/papers/trifecta.md. Studies share cells: the complete Trifecta after 100 epochs is part of most of them.

    table1         ablation of loss, normalization and overlapping updates, shallow network, CIFAR-10
    table2         the networks on five data sets after some of their epochs, and backpropagation
    table3         classification by the last layer and by the last three
    figures        the data of the figures, and the figures
    rolling        appendix E: batch normalization by rolling averages in training too
    overlap        appendix F: the two ways to overlap, and alternation by epoch
    residual       appendix I: residual connections
    sweep-alpha    appendix B: SymBa's alpha
    sweep-tau      section 6 and appendix C: the threshold
    sweep-decay    appendix D: weight decay

`figures` draws the paper's figures 1 to 10 from the cells; 11 to 13 are diagrams. Layers count from 0 here, from 1 in
the paper.

    1     test accuracy by layer under both normalizations
    2     gradient norms of layers 0 and 5 (means over epochs; the paper shows steps)
    3     error by layer (on held-out validation images; the paper shows test accuracy) and separation in training
    4     test accuracy by layer with the threshold loss
    5     positive and negative goodness in training
    6     largest goodness and weight by layer at three epochs
    7     gradient norms without normalization, and of layer 5 under each normalization
    8     test accuracy of classifiers trained by backpropagation on the frozen features of each layer, for as many
          epochs as the cell
    9     largest weight and goodness by layer under each normalization
    10    some weights of layer 5
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

import forwardforward as ff
from benchmarks.bench import Bench
from benchmarks.cells import Content, Row, Setting
from benchmarks.pages import ROOT
from benchmarks.pictures import Panel, Seed, by_layer, draw_each, over_epochs
from benchmarks.tables import Cells, Study
from forwardforward.baselines import Backpropagation, FeedbackAlignment
from forwardforward.label_encoders import RandomChannel
from forwardforward.layers import TRANSFORM_FIRST
from forwardforward.losses import SymBa, Threshold
from forwardforward.network import Network
from forwardforward.normalization import BatchNorm, LayerNorm
from forwardforward.recipes import Recipe, get
from forwardforward.recipes.architectures import Convolutions
from forwardforward.runs import Run
from forwardforward.update_schedules import Joint, Overlapping

SHALLOW, DEEP, DENSE = (get(f"trifecta-{size}") for size in ("s", "d", "fcn"))


def changed(recipe: Recipe, **changes: Any) -> Convolutions:
    """Return a recipe's architecture with other arguments."""
    assert isinstance(recipe.architecture, Convolutions)
    return replace(recipe.architecture, **changes)


#: Fields that a baseline does not use.
UNUSED: dict[str, Any] = {
    **dict.fromkeys(("goodness", "loss", "label_encoder", "negatives", "classifier")),
    "schedule": Joint(),
}

#: Backpropagation, with its usual order of operations.
BACKPROP = DEEP.replace(architecture=changed(DEEP, order=TRANSFORM_FIRST), baseline=Backpropagation, **UNUSED)
FEEDBACK = DENSE.replace(baseline=FeedbackAlignment, **UNUSED)

CIFAR, FIVE = ("cifar10",), ("mnist", "fashion-mnist", "svhn", "cifar10", "cifar100")


def without(recipe: Recipe, norm: bool = False, overlap: bool = False, **changes: Any) -> Recipe:
    """Return a recipe with layer in place of batch normalization, or without overlapping updates.

    Without overlapping updates the label maps are random, as in the paper.
    """
    if norm:
        changes = {"normalization": LayerNorm(), **changes}
    if overlap:
        maps = {} if recipe is DENSE else {"label_encoder": RandomChannel}
        changes = {"schedule": Joint(), **maps, **changes}
    return recipe.replace(**changes)


def shallow(line: str, label: str, recipe: Recipe, epochs: int = 100, **paper: str) -> Row:
    """Return a row of the shallow network, whose schedules run over 200 epochs."""
    return Row(line, label, recipe, epochs, total_epochs=200, paper=paper)


def deep(line: str, label: str, recipe: Recipe, epochs: int, **paper: str) -> Row:
    """Return a row of the deep network, whose schedules run over 500 epochs."""
    return Row(line, label, recipe, epochs, total_epochs=500, paper=paper)


def figures(*printed: str) -> dict[str, str]:
    """Return the results that a table prints, by data set; "" if it prints none."""
    return dict(zip(FIVE, printed, strict=False))


def reported(line: str, label: str, epochs: int, *printed: str) -> Row:
    """Return a row with reported results only."""
    return Row(line, label, epochs=epochs, paper=figures(*printed))


# Table 1

LOSSES: dict[str, tuple[str, nn.Module]] = {
    "ftl2": ("threshold 2", Threshold(theta=2.0)),
    "ftl10": ("threshold 10", Threshold(theta=10.0)),
    "symba": ("SymBa", SymBa(alpha=4.0)),
}
PARTS = {"": "", "-bn": " + BN", "-olu": " + OLU", "-olu-bn": " + OLU + BN"}
ABLATION = {
    "ftl2": ("29.27 ± 2.49", "41.02 ± 1.89", "48.18 ± 1.87", "57.92 ± 1.11"),
    "ftl10": ("44.28 ± 1.28", "37.31 ± 3.01", "50.85 ± 0.63", "58.99 ± 0.84"),
    "symba": ("59.22 ± 0.49", "68.51 ± 0.27", "65.82 ± 0.78", "75.23 ± 0.65"),
}


def ablated(loss: str, parts: str, paper: str) -> Row:
    """Return a row of Table 1."""
    label, module = LOSSES[loss]
    recipe = without(SHALLOW, norm="bn" not in parts, overlap="olu" not in parts, loss=module)
    line = "tff-s" if (loss, parts) == ("symba", "-olu-bn") else loss + parts
    return shallow(line, label + PARTS[parts], recipe, cifar10=paper)


TABLE_1 = tuple(
    ablated(loss, parts, paper)
    for loss, printed in ABLATION.items()
    for parts, paper in zip(PARTS, printed, strict=True)
)

# Tables 2 and 3

STAGES = {
    ("s", 10): ("97.44 ± 0.49", "76.81 ± 2.37", "84.62 ± 1.34", "50.32 ± 0.32", "11.32 ± 1.57"),
    ("s", 100): ("99.23 ± 0.11", "88.00 ± 0.67", "92.57 ± 0.67", "75.23 ± 0.65", "28.71 ± 0.42"),
    ("s", 200): ("99.53 ± 0.04", "91.38 ± 0.38", "94.25 ± 0.54", "80.01 ± 0.60", "35.79 ± 0.17"),
    ("d", 100): ("99.32 ± 0.11", "85.62 ± 0.53", "91.49 ± 0.34", "71.12 ± 0.77", "24.42 ± 0.55"),
    ("d", 200): ("99.28 ± 0.03", "87.90 ± 0.42", "92.60 ± 0.27", "78.99 ± 1.16", "28.88 ± 0.80"),
    ("d", 500): ("99.58 ± 0.06", "91.44 ± 0.49", "94.31 ± 0.07", "83.51 ± 0.78", "35.26 ± 0.23"),
}

TABLE_2 = (
    Row(
        "fa-f",
        "FA/f",
        FEEDBACK,
        100,
        paper=figures("98.60 ± 0.08", "85.87 ± 0.19", "71.11 ± 0.66", "53.39 ± 0.24", "23.00 ± 0.28"),
    ),
    reported("pep-t", "PEP/t", 100, "98.29 ± 0.13", "", "", "56.33 ± 1.35", "27.56 ± 0.60"),
    reported("vff-t", "VFF/t", 60, "98.6"),
    reported("vff-t", "VFF/t", 500, "99.4", "", "", "59"),
    *(
        Row(
            f"tff-{size}",
            f"TFF/{size}",
            {"s": SHALLOW, "d": DEEP}[size],
            epochs,
            total_epochs={"s": 200, "d": 500}[size],
            paper=figures(*printed),
        )
        for (size, epochs), printed in STAGES.items()
    ),
    Row(
        "bp-d",
        "BP/d",
        BACKPROP,
        100,
        paper=figures("99.07 ± 0.10", "93.61 ± 0.11", "94.01 ± 0.20", "89.32 ± 0.45", "59.64 ± 0.46"),
    ),
)

TABLE_3 = (
    Row(
        "tff-d",
        "TFF/d, only last layer",
        DEEP,
        500,
        total_epochs=500,
        paper=figures("99.58 ± 0.06", "91.38 ± 0.38", "94.31 ± 0.07", "83.51 ± 0.78"),
    ),
    Row(
        "tff-d",
        "TFF/d, three last layers",
        DEEP,
        500,
        total_epochs=500,
        paper=figures("99.62 ± 0.02", "91.51 ± 0.27", "94.36 ± 0.04", "83.72 ± 0.80"),
        metric="last_three_accuracy",
    ),
)

# Appendices

COMPLETE = shallow("tff-s", "TFF/s", SHALLOW, cifar10="75.23 ± 0.65")

ROLLING = (
    COMPLETE,
    shallow(
        "tff-s-rolling",
        "TFF/s, rolling averages",
        SHALLOW.replace(normalization=BatchNorm(affine=True, statistics="running")),
        cifar10="73.3",
    ),
)

OVERLAP = (
    shallow("tff-s", "in turn, by step", SHALLOW, cifar10="75.23 ± 0.65"),
    shallow(
        "tff-s-olu-epoch", "in turn, by epoch (approach 1)", SHALLOW.replace(schedule=Overlapping(2, alternate="epoch"))
    ),
    shallow(
        "tff-s-olu-both",
        "both in each step (approach 2)",
        SHALLOW.replace(schedule=Overlapping(2, alternate=None)),
        cifar10="equal",
    ),
)

RESIDUAL = tuple(
    row(
        line + ("-residual" if residual else ""),
        label + (", residual" if residual else ""),
        recipe.replace(architecture=changed(recipe, residual=True)) if residual else recipe,
        epochs,
        cifar10=paper,
    )
    for row, line, label, recipe, printed in (
        (shallow, "tff-s", "TFF/s", SHALLOW, ("", "better", "75.23 ± 0.65", "4 points less")),
        (deep, "tff-d", "TFF/d", DEEP, ("", "better", "71.12 ± 0.77", "2 points less")),
    )
    for (epochs, residual), paper in zip(((30, False), (30, True), (100, False), (100, True)), printed, strict=True)
)

ALPHA = tuple(
    shallow("tff-s", "alpha 4", SHALLOW, cifar10="75.23 ± 0.65")
    if alpha == 4
    else shallow(
        f"tff-s-alpha{alpha}",
        f"alpha {alpha}",
        SHALLOW.replace(loss=SymBa(alpha=float(alpha))),
        cifar10="no impact" if 2 <= alpha <= 8 else "",
    )
    for alpha in (1, 2, 4, 8, 16)
)

TAU = tuple(
    shallow(
        f"ftl{tau}",
        f"threshold {tau}",
        without(SHALLOW, norm=True, overlap=True, loss=Threshold(theta=float(tau))),
        cifar10={2: "29.27 ± 2.49", 10: "44.28 ± 1.28"}.get(tau, ""),
    )
    for tau in (1, 2, 5, 10, 20)
)

DECAY = (
    COMPLETE,
    *(
        shallow(
            f"tff-s-decay{decay:.0e}",
            f"weight decay {decay:.0e}",
            SHALLOW.replace(optimizer_options={"weight_decay": decay}),
            cifar10="significantly lower",
        )
        for decay in (1e-6, 1e-5, 1e-4)
    ),
)

# Figures

NORMS: dict[str, tuple[str, nn.Module | None]] = {
    "none": ("no normalization", None),
    "layer": ("layer normalization", LayerNorm()),
    "batch": ("batch normalization", BatchNorm(affine=True)),
}

FIGURES = (
    *(row for row in TABLE_1 if row.line in ("ftl2", "symba", "symba-bn")),
    *(
        shallow(f"f-{name}", f"VFF+SymBa/f, {words}", without(DENSE, overlap=True, normalization=norm))
        for name, (words, norm) in NORMS.items()
    ),
    *(
        Row("tff-d-curves", "TFF/d, validation images held out", DEEP, epochs, total_epochs=500, validation=True)
        for epochs in (200, 400, 500)
    ),
)


def measure(run: Run, model: Network) -> Content:
    """Return the further figures of Table 3 and the figures."""
    if not isinstance(model, ff.FFSequential):
        return {}
    layers: list[Any] = list(model)
    result: Content = {
        "last_three_accuracy": last_three_accuracy(model, run.splits().test),
        "largest_weight": [round(float(layer.block.weight.detach().abs().max()), 4) for layer in layers],
    }
    if isinstance(model[-1], ff.FFLinear):
        result |= {"weights": some_of_the_weights(model), "probe_accuracy": probe_accuracies(run, model)}
    return result


@torch.no_grad()
def last_three_accuracy(model: ff.FFSequential, test: ff.TensorData) -> float:
    """Return the accuracy in percent by the goodness of the last three layers."""
    classifier, correct = ff.classifiers.SumOverLayers(slice(-3, None)), 0
    for images, labels in test.to(model.device).batches(1000):
        assert labels is not None
        correct += int((classifier(model.layer_goodness(images)).argmax(1) == labels).sum())
    return 100 * correct / len(test)


def some_of_the_weights(model: ff.FFSequential) -> list[list[float]]:
    """Return a corner of the last layer's weights (figure 10)."""
    weight = model[-1].block.weight
    assert isinstance(weight, nn.Parameter)
    return [[round(value, 3) for value in row] for row in weight[:64, :64].tolist()]


def probe_accuracies(run: Run, model: Network) -> list[float]:
    """Return the accuracies of classifiers with one hidden layer on each layer's frozen features (figure 8)."""
    errors = ff.diagnostics.probe(
        model,
        run.training_data(),
        run.splits().test,
        epochs=run.epochs_done,
        hidden=run.config.widths[0],
        seed=run.config.seed,
    )
    return [round(100 - error, 2) for error in errors]


# Figures: the rows of each, and its panels.


def label_of(name: str, content: Content) -> str:
    """Return a cell's row for a legend."""
    return LABELS[name]


def epoch_of(name: str, content: Content) -> str:
    """Return a cell's epoch for a legend."""
    return f"epoch {content['epochs']}"


def some_weights(name: str) -> Panel:
    """Return a panel of some weights of the last layer, clamped to [-0.3, 0.3]."""

    def paint(axis: Any, cells: Seed) -> None:
        if name in cells:
            axis.imshow(cells[name]["result"]["weights"], vmin=-0.3, vmax=0.3, cmap="RdBu")
        axis.set(xlabel="input", ylabel="output", title=LABELS[name])

    return paint


def accuracies(result: Content) -> list[float]:
    """Return the test accuracy of each layer."""
    return [100 - error for error in result["layer_errors"]]


def entry(name: str) -> Callable[[Content], list[float]]:
    """Return a function that returns one entry of the result."""
    return lambda result: result[name]


LABELS = {row.name: row.label for row in FIGURES}
DENSE_ROWS = ("f-none-100", "f-layer-100", "f-batch-100")
CURVES = ("tff-d-curves-200", "tff-d-curves-400", "tff-d-curves-500")

DRAW = [
    draw_each(f"figure{number}", f"Figure {number}", rows, panels)
    for number, rows, panels in (
        ("1", ("symba-100", "symba-bn-100"), [by_layer("test accuracy, %", accuracies, label_of)]),
        (
            "2",
            DENSE_ROWS[1:],
            [
                over_epochs(f"gradient norm, layer {layer}", "gradient_norm", label_of, slice(layer, layer + 1))
                for layer in (0, 5)
            ],
        ),
        (
            "3",
            CURVES[-1:],
            [
                over_epochs("validation error, %", "validation_layer_errors", label_of),
                over_epochs("separation", "separation", label_of),
            ],
        ),
        ("4", ("ftl2-100",), [by_layer("test accuracy, %", accuracies, label_of)]),
        (
            "5",
            CURVES[-1:],
            [
                over_epochs("positive goodness", "positive", label_of),
                over_epochs("negative goodness", "negative", label_of),
            ],
        ),
        (
            "6",
            CURVES,
            [
                by_layer("largest goodness", entry("largest_goodness"), epoch_of),
                by_layer("largest weight", entry("largest_weight"), epoch_of),
            ],
        ),
        (
            "7 left",
            DENSE_ROWS[:1],
            [over_epochs("gradient norm, no normalization", "gradient_norm", label_of, scale="log")],
        ),
        (
            "7 right",
            DENSE_ROWS,
            [over_epochs("gradient norm, layer 5", "gradient_norm", label_of, slice(5, 6), scale="log")],
        ),
        ("8", DENSE_ROWS, [by_layer("test accuracy on frozen features, %", entry("probe_accuracy"), label_of)]),
        (
            "9",
            DENSE_ROWS,
            [
                by_layer("largest weight", entry("largest_weight"), label_of),
                by_layer("largest goodness", entry("largest_goodness"), label_of),
            ],
        ),
        ("10", DENSE_ROWS, [some_weights(name) for name in DENSE_ROWS]),
    )
]


def draw(folder: Path, settings: Mapping[Setting, Cells]) -> list[Path]:
    """Draw the figures whose cells are finished."""
    return [path for draw_figure in DRAW for path in draw_figure(folder, settings)]


BENCH = Bench(
    "benchmarks.trifecta",
    (
        Study("table1", "Table 1: ablation, shallow network", TABLE_1, CIFAR),
        Study("table2", "Table 2: networks on several data sets", TABLE_2, FIVE),
        Study("table3", "Table 3: classification by one layer or three", TABLE_3, FIVE[:4]),
        Study("figures", "Data of the figures", FIGURES, CIFAR, seeds=(0,), draw=draw),
        Study("rolling", "Appendix E: rolling averages in training", ROLLING, CIFAR),
        Study("overlap", "Appendix F: ways to overlap", OVERLAP, CIFAR),
        Study("residual", "Appendix I: residual connections", RESIDUAL, CIFAR),
        Study("sweep-alpha", "Appendix B: the scale of SymBa", ALPHA, CIFAR),
        Study("sweep-tau", "Section 6 and appendix C: the threshold", TAU, CIFAR),
        Study("sweep-decay", "Appendix D: weight decay", DECAY, CIFAR),
    ),
    measure=measure,
    page=ROOT / "docs" / "papers" / "trifecta.md",
    about=__doc__ or "",
    paper="2311.18130",
)

if __name__ == "__main__":
    BENCH.main()
