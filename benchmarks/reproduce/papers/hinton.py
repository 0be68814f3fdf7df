"""Hinton's paper (2022, arXiv 2212.13345)."""

from __future__ import annotations

from benchmarks.reproduce.papers.item import Item, Paper, train

__all__ = ["HINTON"]

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
            command=train("mnist --recipe hinton-2000"),
        ),
        Item(
            "Matlab code, MNIST",
            "3×1000, 60 epochs: error 1.47 %",
            runs="hinton-mnist-*-60ep-*.json",
            command=train("mnist --recipe hinton"),
        ),
        Item(
            "unsupervised, MNIST",
            "hybrid images, linear classifier, 100 epochs: error 1.37 %",
            runs="unsupervised-mnist-*-100ep-*.json",
            smaller_runs="unsupervised-mnist-*.json",
            command=train("mnist --recipe unsupervised --epochs 100"),
        ),
        Item(
            "jittered images, MNIST",
            "shifts of up to two pixels, 500 epochs: error 0.64 %",
            remark="`augment=ff.data.RandomCrop(2)`, see [Hinton's Forward-Forward](../methods/hinton.md)",
        ),
        Item(
            "local receptive fields, MNIST and CIFAR-10",
            "errors 1.16 % and 41 %",
            remark="{class}`~forwardforward.layers.LocallyConnected2d`, without a recipe",
        ),
        Item("recurrent network, MNIST", "2×2000, 8 iterations: error 1.31 %", remark="not part of the library"),
        Item(
            "sequences of characters, sleep phases",
            "predictions of the next character",
            remark="not part of the library",
        ),
        Item(
            "other implementations",
            "why short implementations stop at about 7 % error on MNIST",
            studies="seven_percent",
        ),
    ),
)
