"""Forward-Forward for self-supervised learning (Brenig and Timofte 2023, arXiv 2309.11955)."""

from __future__ import annotations

from benchmarks.reproduce.papers.item import Item, Paper

__all__ = ["BRENIG"]

SELF = "self_supervision"

BRENIG = Paper(
    "2309.11955",
    "self-supervision",
    "Brenig and Timofte, *A Study of Forward-Forward Algorithm for Self-Supervised Learning* (2023)",
    "self_supervision",
    "Are features that Forward-Forward learns from pretext tasks as useful elsewhere as backpropagation's?",
    (
        Item("supervised table", "Forward-Forward and backpropagation, three data sets", f"{SELF}/supervised"),
        *(
            Item("transfer table", f"pretexts on {title}", f"{SELF}/pretexts", (f"*_{data}_*",))
            for data, title in (("mnist", "MNIST"), ("fashion-mnist", "Fashion-MNIST"), ("cifar10", "CIFAR-10"))
        ),
        Item("transfer table", "pretexts on SVHN", remark="data not available; `--data svhn`"),
        Item("loss table", "backpropagation of the goodness losses transfers as badly", f"{SELF}/losses"),
        Item("unsupervised", "without labels in the input, transfer is much better", f"{SELF}/unlabeled"),
        Item("t-SNE figure", "features of both algorithms", f"{SELF}/pretexts", ("rotation*",)),
        Item("claim", "comparable to backpropagation on supervised tasks", f"{SELF}/supervised"),
        Item("claim", "transfers worse than backpropagation", f"{SELF}/pretexts"),
        Item("claim", "it is the loss that harms transfer: backpropagation with it does too", f"{SELF}/losses"),
        Item("next check", "a small residual network", f"{SELF}/convolutional"),
        Item("next check", "contrastive and per-class losses", f"{SELF}/losses"),
        Item("next check", "detection and segmentation", remark="not part of the library"),
    ),
)
