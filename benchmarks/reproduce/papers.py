"""Every table, figure and claim of the papers, with the studies that reproduce them."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ABSENT", "PAPERS", "Item", "Paper"]

#: Data sets that have not been at hand for the finished cells in the repository.
ABSENT = ("svhn", "cifar100")


@dataclass(frozen=True)
class Item:
    """A table, figure, claim or open question of a paper.

    Args:
        name: Its name in the paper.
        shows: What it shows, in words; in a claim, with the paper's figures.
        studies: The studies with its cells, as on the command line: ``NAME`` or ``NAME/STUDY``.
        cells: Patterns of the names of its cells among those of the studies.
        runs: Pattern of the summaries of runs of the command line in benchmarks/results that reproduce it.
        smaller_runs: Pattern of the summaries of shorter runs.
        command: Command that reproduces it; default: that of the studies.
        remark: What takes the place of a training, or why there is none.
        data: Data set of its cells, if all have the same.
    """

    name: str
    shows: str
    studies: str = ""
    cells: tuple[str, ...] = ("*",)
    runs: str = ""
    smaller_runs: str = ""
    command: str = ""
    remark: str = ""
    data: str = ""


@dataclass(frozen=True)
class Paper:
    """A paper.

    Args:
        number: Number on arXiv.
        name: Name in lists, and of the items' markers on the page of commands.
        title: Title, with authors and year.
        page: Page of the documentation below docs/papers, without suffix.
        question: What it asks.
        items: Its tables, figures, claims and open questions, in its order.
    """

    number: str
    name: str
    title: str
    page: str
    question: str
    items: tuple[Item, ...]


def _train(words: str) -> str:
    return f"python -m forwardforward train {words}"


HINTON = Paper(
    "2212.13345",
    "hinton",
    "Hinton, *The Forward-Forward Algorithm: Some Preliminary Investigations* (2022)",
    "hinton",
    "Can a network learn from two forward passes in place of a forward and a backward pass?",
    (
        Item(
            "supervised, MNIST",
            "4×2000, 60 epochs: error 1.36 %",
            runs="hinton-2000-mnist-*-60ep-*.json",
            command=_train("mnist --recipe hinton-2000"),
        ),
        Item(
            "Matlab code, MNIST",
            "3×1000, 60 epochs: error 1.47 %",
            runs="hinton-mnist-*-60ep-*.json",
            command=_train("mnist --recipe hinton"),
        ),
        Item(
            "unsupervised, MNIST",
            "hybrid images, linear classifier, 100 epochs: error 1.37 %",
            runs="unsupervised-mnist-*-100ep-*.json",
            smaller_runs="unsupervised-mnist-*.json",
            command=_train("mnist --recipe unsupervised --epochs 100"),
        ),
        Item(
            "jittered images, MNIST",
            "shifts of up to two pixels, 500 epochs: error 0.64 %",
            remark="a recipe with `augment=ff.data.RandomCrop(2)`, see [Hinton's Forward-Forward](../methods/hinton.md)",
        ),
        Item(
            "local receptive fields, MNIST and CIFAR-10",
            "errors 1.16 % and 41 %",
            remark="{class}`~forwardforward.layers.LocallyConnected2d`, without a recipe",
        ),
        Item("recurrent network, MNIST", "2×2000, 8 iterations: error 1.31 %", remark="not part of the library"),
        Item("sequences of characters, sleep phases", "predictions of the next character", remark="not part of the library"),
        Item(
            "other implementations",
            "why short implementations stop at about 7 % error on MNIST",
            studies="seven_percent",
        ),
    ),
)

GANDHI = Paper(
    "2307.04205",
    "extending",
    "Gandhi et al., *Extending the Forward Forward Algorithm* (2023)",
    "extending",
    "How far does Forward-Forward go beyond its first experiments: texts, thresholds, activations, sizes of weights?",
    (
        Item("result, MNIST", "4×2000: error 1.37 %", "thresholds/thresholds", ("*_mnist_*",)),
        Item(
            "result, IMDb",
            "mean word vectors, 4×2000, 6 epochs: accuracy 84.86 %",
            runs="imdb-threshold-imdb-*-6ep-*.json",
            command=_train("imdb --recipe imdb-threshold"),
        ),
        Item(
            "inference",
            "by the label with the highest goodness, or by a linear layer on the features",
            runs="imdb-threshold-imdb-*-6ep-*.json",
            command=_train("imdb --recipe imdb-threshold"),
            remark="test error and one-pass head in the [results](../imdb.md#results)",
        ),
        Item("claim", "thresholds that grow with depth are best, by up to 8 points", "thresholds/thresholds"),
        Item("claim", "ReLU is best; tanh and sigmoid hardly train", "activations/activations"),
        Item("claim", "weights 10 to 20 times as large as backpropagation's", "activations/weights"),
        Item("open question", "thresholds by depth, width and during training", "thresholds/thresholds"),
        Item("open question", "why bounded activations fail", "activations/activations"),
        Item("open question", "whether large weights are needed: weight decay", "activations/weights"),
        Item("next check", "thresholds of k = 0.1 to 0.9", "thresholds/thresholds", ("uniform*", "pyramidal*")),
        Item("next check", "corrupted images and images of another data set", "activations/robustness"),
    ),
)

ADAMSON = Paper(
    "2504.11229",
    "dynamics",
    "Adamson, *The Forward-Forward Algorithm: Characterizing Training Behavior* (2025)",
    "dynamics",
    "How do the accuracies of the layers and of the model change during training, and how are they related?",
    (
        Item("Figure 2", "accuracy by layer over the epochs, 4×1000", "dynamics"),
        Item("Figure 3", "spread of the accuracies over 30 seeds", "dynamics"),
        Item("Figure 4", "epoch at which each layer reaches 0.7, by depth and width", "dynamics"),
        Item("Figure 5", "correlation of layer and model accuracy by layer, Pearson and Spearman", "dynamics"),
        Item("claim", "deeper layers improve later", "dynamics"),
        Item("claim", "the delay is longer in wider networks (1000 against 100)", "dynamics"),
        Item(
            "claim",
            "accuracy of shallow layers predicts that of the model; correlation falls from 0.9 to 0.3 to 0.5",
            "dynamics",
        ),
        Item("claim", "correlation is weaker in wider networks", "dynamics"),
        Item("open question", "networks that grow when the shallow layers' accuracy calls for it", "dynamics"),
        Item("open question", "CIFAR-10, regression", "dynamics"),
        Item("open question", "peer normalization, learning rate, activation, goodness, threshold", "dynamics"),
        Item("next check", "skip connections and parallel layers", "dynamics"),
        Item("open question", "Pets, audio", remark="data sets that the library does not load"),
    ),
)

BRENIG = Paper(
    "2309.11955",
    "self-supervision",
    "Brenig and Timofte, *A Study of Forward-Forward Algorithm for Self-Supervised Learning* (2023)",
    "self_supervision",
    "Are features that Forward-Forward learns from pretext tasks as useful elsewhere as backpropagation's?",
    (
        Item("supervised table", "Forward-Forward and backpropagation on the same data sets", "self_supervision"),
        Item("transfer table", "three pretexts on MNIST, Fashion-MNIST, CIFAR-10 and SVHN", "self_supervision"),
        Item("loss table", "backpropagation of the goodness losses transfers as badly", "self_supervision"),
        Item("unsupervised Forward-Forward", "without labels in the input, transfer is much better", "self_supervision"),
        Item("t-SNE figure", "features of both algorithms", "self_supervision"),
        Item("claim", "comparable to backpropagation on supervised tasks", "self_supervision"),
        Item("claim", "transfers worse than backpropagation", "self_supervision"),
        Item("claim", "it is the loss that harms transfer: backpropagation with it does too", "self_supervision"),
        Item("next check", "a small residual network; contrastive and per-class losses", "self_supervision"),
        Item("next check", "detection and segmentation", remark="not part of the library"),
    ),
)

TABLE_1 = "trifecta/table1"
TABLE_2 = "trifecta/table2"
FIGURES = "trifecta/figures"
DENSE = ("f-none_*", "f-layer_*", "f-batch_*")

DOOMS = Paper(
    "2311.18130",
    "trifecta",
    "Dooms, Tsang and Oramas, *The Trifecta: Three simple techniques for training deeper Forward-Forward networks* (2023)",
    "trifecta",
    "What does Forward-Forward need to train deeper networks?",
    (
        Item("Table 1", "ablation, SymBa column: 59.22, 68.51, 65.82, 75.23 %", TABLE_1, ("symba*", "tff-s_*")),
        Item("Table 1", "ablation, column of threshold 10: 44.28, 37.31, 50.85, 58.99 %", TABLE_1, ("ftl10*",)),
        Item("Table 1", "ablation, column of threshold 2: 29.27, 41.02, 48.18, 57.92 %", TABLE_1, ("ftl2*",)),
        *(
            Item("Table 2", f"column of {title}", TABLE_2, (f"*_{data}_*",), data=data)
            for data, title in (
                ("mnist", "MNIST"),
                ("fashion-mnist", "Fashion-MNIST"),
                ("cifar10", "CIFAR-10"),
                ("svhn", "SVHN"),
                ("cifar100", "CIFAR-100"),
            )
        ),
        Item("Table 3", "classification by the last layer and by the last three", "trifecta/table3"),
        Item("Figure 1", "accuracy by layer under both normalizations", FIGURES, ("symba_*", "symba-bn_*")),
        Item("Figure 2", "gradient norms under both normalizations", FIGURES, DENSE[1:]),
        Item("Figure 3", "accuracy and separation during training, TFF/d", FIGURES, ("tff-d-curves_*epochs500",)),
        Item("Figure 4", "accuracy by layer with the threshold loss", FIGURES, ("ftl2_*",)),
        Item("Figure 5", "goodness during training, TFF/d", FIGURES, ("tff-d-curves_*epochs500",)),
        Item("Figure 6", "largest goodness and weight at three epochs, TFF/d", FIGURES, ("tff-d-curves_*",)),
        Item("Figure 7", "gradient norms without normalization", FIGURES, DENSE),
        Item("Figure 8", "classifiers on the frozen features of each layer", FIGURES, DENSE),
        Item("Figure 9", "largest weight and goodness under each normalization", FIGURES, DENSE),
        Item("Figure 10", "weights of layer 5 under each normalization", FIGURES, DENSE),
        Item("Figure 11", "ways to overlap", remark="diagram: {class}`~forwardforward.update_schedules.Overlapping`"),
        Item("Figure 12", "the two networks", remark="diagram: the architectures of `trifecta-s` and `trifecta-d`"),
        Item("Figure 13", "ways to classify", remark="diagram: {class}`~forwardforward.classifiers.SumOverLayers`"),
        Item("claim", "the parts together gain more (16.0 points) than the sum of each (6.6 and 9.3)", TABLE_1),
        Item("claim", "TFF/s exceeds 97 % on MNIST and 50 % on CIFAR-10 in 10 epochs", TABLE_2, ("tff-s_*_of200_epochs10",)),
        Item(
            "claim",
            "the deep network is worse after 100 epochs (71.1 against 75.2 %) and better after 500 (83.5, 80.0)",
            TABLE_2,
            ("tff-?_cifar10_*",),
        ),
        Item(
            "claim",
            "accuracy rises with depth under batch normalization, and not under layer normalization",
            FIGURES,
            ("symba_*", "symba-bn_*"),
        ),
        Item("claim", "weights and goodness do not explode", FIGURES, ("tff-d-curves_*",)),
        Item("appendix B", "alpha from 2 to 8 has no influence on accuracy", "trifecta/sweep-alpha"),
        Item("appendix C", "the threshold: trends hold from 1 to 10", "trifecta/sweep-tau"),
        Item("appendix D", "weight decay lowers the accuracy", "trifecta/sweep-decay"),
        Item("appendix E", "rolling statistics cost 2 points: 73.3 %", "trifecta/rolling"),
        Item("appendix F", "both ways to overlap are equally accurate", "trifecta/overlap"),
        Item("appendix I", "residual connections help early and cost 4 and 2 points later", "trifecta/residual"),
    ),
)

PAPERS = (HINTON, GANDHI, ADAMSON, BRENIG, DOOMS)
