"""Extending the Forward Forward Algorithm (Gandhi et al. 2023, arXiv 2307.04205)."""

from __future__ import annotations

from benchmarks.reproduce.papers.item import Item, Paper, train

__all__ = ["GANDHI"]

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
            command=train("imdb --recipe imdb-threshold"),
        ),
        Item(
            "inference",
            "by the label with the highest goodness, or by a linear layer on the features",
            runs="imdb-threshold-imdb-*-6ep-*.json",
            command=train("imdb --recipe imdb-threshold"),
            remark="test error and one-pass head in the [results](../imdb.md#results)",
        ),
        Item("claim", "thresholds that grow with depth are best, by up to 8 points", "thresholds/thresholds"),
        Item("claim", "ReLU is best; tanh and sigmoid hardly train", "activations/activations"),
        Item("claim", "weights 10 to 20 times as large as backpropagation's", "activations/weights"),
        Item("open question", "thresholds by layer and during training", "thresholds/thresholds"),
        Item("open question", "thresholds by depth and width of the network", "thresholds/sizes"),
        Item("open question", "why bounded activations fail", "activations/activations"),
        Item("open question", "whether large weights are needed: weight decay, normalization", "activations/weights"),
        Item("next check", "thresholds of k = 0.1 to 0.9", "thresholds/thresholds", ("uniform*", "pyramidal*")),
        Item("next check", "one convolutional network on MNIST, trained both ways", "activations/convolutions"),
        Item("next check", "corrupted images and images of another data set", "activations/robustness"),
    ),
)
