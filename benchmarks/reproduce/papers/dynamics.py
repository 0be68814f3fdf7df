"""Characterizing Training Behavior (Adamson 2025, arXiv 2504.11229)."""

from __future__ import annotations

from benchmarks.reproduce.papers.item import Item, Paper

__all__ = ["ADAMSON"]

ADAMSON = Paper(
    "2504.11229",
    "dynamics",
    "Adamson, *The Forward-Forward Algorithm: Characterizing Training Behavior* (2025)",
    "dynamics",
    "How do the accuracies of the layers and of the model change during training, and how are they related?",
    (
        Item("Figure 2", "accuracy by layer over the epochs, 4×1000", "dynamics/grid", ("*depth4_width1000*",)),
        Item("Figure 3", "spread of the accuracies over 30 seeds", "dynamics/grid"),
        Item("Figure 4", "epoch at which each layer reaches 0.7, by depth and width", "dynamics/grid"),
        Item("Figure 5", "correlation of layer and model accuracy by layer, Pearson and Spearman", "dynamics/grid"),
        Item("claim", "deeper layers improve later", "dynamics/grid"),
        Item("claim", "the delay is longer in wider networks (1000 against 100)", "dynamics/grid"),
        Item(
            "claim",
            "accuracy of shallow layers predicts that of the model: correlation 0.9, in deep layers 0.3 to 0.5",
            "dynamics/grid",
        ),
        Item("claim", "the correlation is weaker in wider networks", "dynamics/grid"),
        Item("open question", "networks that grow when the shallow layers' accuracy calls for it", "dynamics/growth"),
        Item("open question", "CIFAR-10", "dynamics/variants", ("cifar10_*",)),
        Item(
            "open question",
            "peer normalization, learning rate, activation, goodness, threshold, dropout",
            "dynamics/variants",
            ("peer*", "decay*", "lr*", "leaky*", "gelu*", "tanh*", "mean*", "l1*", "theta*", "dropout*"),
        ),
        Item("next check", "skip connections and parallel layers", "dynamics/variants", ("residual*", "parallel*")),
        Item("open question", "regression", "dynamics/variants", ("regression_*", "classes_*")),
        Item("open question", "generation", remark="not part of the library"),
        Item("open question", "Pets, audio", remark="data sets that the library does not load"),
    ),
)
