"""The Trifecta's tables and figures (Dooms, Tsang and Oramas 2023, arXiv 2311.18130).

    python -m benchmarks.trifecta STUDY [--reduced] [--data-dir DIR]

trains the missing cells of a study and writes its table beside the cells, to benchmarks/results/trifecta, and to
docs/papers/trifecta.md. Studies share cells: the complete Trifecta after 100 epochs is part of most of them.

    table1         ablation of loss, normalization and overlapping updates, shallow network, CIFAR-10; figures 1 and 4
    table2         the networks on five data sets after some of their epochs, and the baselines
    mnist10        Table 2's MNIST column after 10 epochs
    table3         classification by the last layer and by the last three
    figures-dense  figures 2 and 7 to 10, the dense network under three normalizations
    figures-deep   figures 3, 5 and 6, the deep network; figures-deep-short: the same in a tenth of the epochs
    normalization  footnote 2: the reduced form of layer normalization and the standard one
    dropout        footnote 5: dropout
    init           appendix B: He's uniform initialization and torch's default
    rolling        appendix E: batch normalization by rolling averages in training too, down to batches of one
    overlap        appendix F: the two ways to overlap, alternation by epoch, random feedback, and time per epoch
    residual       appendix I: residual connections
    evaluation     appendix H: goodness of some layers, and heads under neutral and random labels
    sweep-alpha    appendix B: SymBa's alpha
    sweep-tau      section 6 and appendix C: the threshold
    sweep-decay    appendix D: weight decay
    outlook        section 7 and appendix G: inverted bottlenecks, blocks of layers, frozen layers, Grad-CAM

The paper's figures 1 to 10 are drawn from the cells; 11 to 13 are diagrams. Layers count from 0 here, from 1 in the
paper. Appendix C's symmetry needs no training: python -m benchmarks.trifecta.symmetry.

    1     test accuracy by layer under both normalizations
    2     gradient norms of layers 0 and 5 (in every 17th step)
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

from benchmarks.bench import Bench
from benchmarks.claims import remark
from benchmarks.pages import ROOT
from benchmarks.tables import Study
from benchmarks.trifecta import appendices, columns, drawing, tables
from benchmarks.trifecta.claims import CLAIMS
from benchmarks.trifecta.measures import measure
from benchmarks.trifecta.parts import (
    DENSE_REDUCED,
    MNIST_REDUCED,
    QUICK,
    REDUCED,
    RESIDUAL_REDUCED,
    SHORT_REDUCED,
    SMALL_BATCHES,
)

__all__ = ["BENCH"]

CIFAR = ("cifar10",)

#: No copy of these was at hand when the kept results were made.
UNAVAILABLE = ("svhn", "cifar100")

BENCH = Bench(
    "benchmarks.trifecta",
    (
        Study(
            "table1",
            "Table 1: ablation, shallow network",
            tables.TABLE_1,
            CIFAR,
            draw=drawing.draw_table1,
            quick=QUICK,
            reduced=REDUCED,
            remark=remark(tables.claims_of_table1()),
        ),
        Study(
            "table2",
            "Table 2: networks on several data sets",
            tables.TABLE_2,
            tables.FIVE,
            unavailable=UNAVAILABLE,
            remark=remark(tables.claims_of_table2()),
        ),
        Study(
            "mnist10",
            "Table 2, MNIST column after 10 epochs",
            tables.MNIST_10,
            ("mnist",),
            reduced=MNIST_REDUCED,
            columns=columns.TIME,
            remark=remark(tables.claims_of_table2()),
        ),
        Study(
            "table3",
            "Table 3: classification by one layer or three",
            tables.TABLE_3,
            tables.FIVE[:4],
            unavailable=UNAVAILABLE,
            remark=remark(CLAIMS["table3"]),
        ),
        Study(
            "figures-dense",
            "Figures 2 and 7 to 10: the dense network",
            drawing.DENSE_ROWS,
            CIFAR,
            seeds=(0,),
            draw=drawing.draw_dense,
            quick=QUICK,
            reduced=DENSE_REDUCED,
            columns=columns.LARGEST_WEIGHT,
            remark=remark(CLAIMS["figures-dense"]),
        ),
        Study(
            "figures-deep",
            "Figures 3, 5 and 6: the deep network",
            drawing.CURVES,
            CIFAR,
            seeds=(0,),
            draw=drawing.draw_deep,
            remark=remark(CLAIMS["figures-deep"]),
        ),
        Study(
            "figures-deep-short",
            "Figures 3, 5 and 6 in a tenth of the epochs",
            drawing.SHORT_CURVES,
            CIFAR,
            seeds=(0,),
            draw=drawing.draw_deep_short,
            reduced=SHORT_REDUCED,
            remark=remark(CLAIMS["figures-deep-short"]),
        ),
        Study(
            "normalization",
            "Footnote 2: two forms of layer normalization",
            appendices.NORMALIZATION,
            CIFAR,
            reduced=REDUCED,
            remark=remark(CLAIMS["normalization"]),
        ),
        Study(
            "dropout",
            "Footnote 5: dropout",
            appendices.DROPOUT,
            CIFAR,
            reduced=RESIDUAL_REDUCED,
            remark=remark(CLAIMS["dropout"]),
        ),
        Study("init", "Appendix B: initial weights", appendices.INIT, CIFAR, reduced=REDUCED),
        Study(
            "rolling",
            "Appendix E: rolling averages in training",
            appendices.ROLLING,
            CIFAR,
            reduced=SMALL_BATCHES,
            columns=columns.TIME,
            remark=remark(CLAIMS["rolling"]),
        ),
        Study(
            "overlap",
            "Appendix F: ways to overlap",
            appendices.OVERLAP,
            CIFAR,
            reduced=REDUCED,
            columns=columns.TIME,
            remark=remark(CLAIMS["overlap"]),
        ),
        Study(
            "residual",
            "Appendix I: residual connections",
            appendices.RESIDUAL,
            CIFAR,
            reduced=RESIDUAL_REDUCED,
            remark=remark(CLAIMS["residual"]),
        ),
        Study(
            "evaluation",
            "Appendix H: ways to classify",
            appendices.EVALUATION,
            CIFAR,
            reduced=REDUCED,
            columns=columns.WAYS_TO_CLASSIFY,
            remark=remark(CLAIMS["evaluation"]),
        ),
        Study(
            "sweep-alpha",
            "Appendix B: the scale of SymBa",
            appendices.ALPHA,
            CIFAR,
            reduced=REDUCED,
            columns=columns.SEPARATION,
            remark=remark(CLAIMS["sweep-alpha"]),
        ),
        Study(
            "sweep-tau",
            "Section 6 and appendix C: the threshold",
            appendices.TAU,
            CIFAR,
            draw=drawing.draw_tau,
            reduced=REDUCED,
            columns=columns.BY_LAYER,
            remark=remark(CLAIMS["sweep-tau"]),
        ),
        Study(
            "sweep-decay",
            "Appendix D: weight decay",
            appendices.DECAY,
            CIFAR,
            reduced=REDUCED,
            columns=columns.LARGEST_WEIGHT,
            remark=remark(CLAIMS["sweep-decay"]),
        ),
        Study(
            "outlook",
            "Section 7 and appendix G: future work",
            appendices.OUTLOOK,
            CIFAR,
            draw=drawing.draw_maps,
            reduced=REDUCED,
            columns=columns.TIME,
        ),
    ),
    measure=measure,
    page=ROOT / "docs" / "papers" / "trifecta.md",
    about=__doc__ or "",
    paper="2311.18130",
)
