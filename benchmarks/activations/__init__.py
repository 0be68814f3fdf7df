"""Activations and weights of Hinton's loss, against backpropagation in the same layers (arXiv 2307.04205).

    python -m benchmarks.activations STUDY [--quick] [--reduced] [--data-dir DIR]

trains the missing cells of a study and writes its table and figure beside the cells, to
benchmarks/results/activations, and to docs/papers/activations.md. STUDY is one of these, which share cells, or `all`:

    activations    five activations with two thresholds, and bounded ones whose range contains the threshold
    weights        sizes of the weights under three normalizations, weight decay, and against backpropagation's
    robustness     corrupted images, and images of another data set
    convolutions   one convolutional network, trained by Forward-Forward and by backpropagation

--quick takes minutes on two cores: narrower layers, part of the training images, few epochs, one seed. It measures
robustness and goodness on the first 2000 test images, and accuracy on all of them. --reduced takes hours: the paper's
network on all images, with fewer epochs.

The network is that of benchmarks/thresholds.py: four dense layers, sum of squares as goodness, random wrong labels,
Adam (with decoupled weight decay, AdamW). Layers count from 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchmarks import inspection, robustness
from benchmarks.activations.columns import (
    ACTIVATION_CLAIMS,
    CONVOLUTION_CLAIMS,
    CORRUPTED,
    GOODNESS_COLUMNS,
    ROBUSTNESS_COLUMNS,
    WEIGHT_CLAIMS,
    WEIGHT_COLUMNS,
    measured_images,
    ratios,
)
from benchmarks.activations.drawing import DRAW
from benchmarks.activations.rows import BACKWARD_ROW, BOTH, CONVOLUTIONAL, FORWARD_ROW, QUICK, REDUCED, ROWS
from benchmarks.bench import Bench
from benchmarks.cells import Content, Row
from benchmarks.claims import remark
from benchmarks.pages import ROOT
from benchmarks.tables import Cells, Study
from forwardforward import FFSequential
from forwardforward.network import Network
from forwardforward.runs import Run

__all__ = ["BACKWARD_ROW", "BENCH", "CORRUPTED", "FORWARD_ROW", "measure"]

#: Data set with other images of the same shape, by data set.
OUTSIDE = {"mnist": "fashion-mnist", "fashion-mnist": "mnist"}

#: Number of test images on which robustness and goodness of a reduced cell are measured.
TEST_IMAGES = 2000


def measure(run: Run, model: Network) -> Content:
    """Return sizes of weights, distributions of goodness, and accuracies on corrupted and on other images."""
    test = run.splits().test
    if run.config.train_samples is not None:
        test = test[: min(TEST_IMAGES, len(test))]
    result: Content = {"weights": inspection.weights(model, run.model())}
    if isinstance(model, FFSequential):
        result["goodness"] = inspection.goodness(model, test)
    result["corrupted"] = robustness.accuracies(model, test)
    if run.config.data in OUTSIDE:
        outside = run.recipe.splits(OUTSIDE[run.config.data], run.config.data_dir).test
        result["outside"] = robustness.areas(model, test, outside[: len(test)])
    result["measured_images"] = len(test)
    return result


def study(
    name: str,
    title: str,
    rows: tuple[Row, ...],
    columns: Mapping[str, Callable[[Content], float | None]],
    remark: Callable[[Cells], str] | None = None,
) -> Study:
    """Return a study on MNIST."""
    return Study(
        name, title, rows, ("mnist",), draw=DRAW[name], quick=QUICK, reduced=REDUCED, columns=columns, remark=remark
    )


BENCH = Bench(
    "benchmarks.activations",
    (
        study("activations", "Activations", ROWS, GOODNESS_COLUMNS, remark(ACTIVATION_CLAIMS)),
        study("weights", "Weights", BOTH, WEIGHT_COLUMNS, remark(WEIGHT_CLAIMS, ratios)),
        study(
            "robustness",
            "Corrupted images and images of another data set",
            BOTH,
            ROBUSTNESS_COLUMNS,
            measured_images,
        ),
        study(
            "convolutions",
            "One convolutional network, two ways to train it",
            CONVOLUTIONAL,
            {**WEIGHT_COLUMNS, **ROBUSTNESS_COLUMNS},
            remark(CONVOLUTION_CLAIMS, measured_images),
        ),
    ),
    measure=measure,
    page=ROOT / "docs" / "papers" / "activations.md",
    about=__doc__ or "",
    paper="2307.04205",
)
