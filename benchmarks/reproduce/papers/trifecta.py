"""The Trifecta (Dooms, Tsang and Oramas 2023, arXiv 2311.18130)."""

from __future__ import annotations

from benchmarks.reproduce.papers.item import Item, Paper

__all__ = ["DOOMS"]

TABLE_1, TABLE_2 = "trifecta/table1", "trifecta/table2"
DENSE, DEEP = "trifecta/figures-dense", "trifecta/figures-deep"
BOTH_NORMS = ("f-layer_*", "f-batch_*")

DOOMS = Paper(
    "2311.18130",
    "trifecta",
    "Dooms, Tsang and Oramas, *The Trifecta: Three simple techniques for training deeper Forward-Forward networks* "
    "(2023)",
    "trifecta",
    "What does Forward-Forward need to train deeper networks?",
    (
        Item("Table 1", "ablation, SymBa column: 59.22, 68.51, 65.82, 75.23 %", TABLE_1, ("symba*", "tff-s_*")),
        Item("Table 1", "ablation, column of threshold 10: 44.28, 37.31, 50.85, 58.99 %", TABLE_1, ("ftl10*",)),
        Item("Table 1", "ablation, column of threshold 2: 29.27, 41.02, 48.18, 57.92 %", TABLE_1, ("ftl2*",)),
        *(
            Item("Table 2", f"column of {title}", TABLE_2, (f"*_{data}_*",), smaller, data=data)
            for data, title, smaller in (
                ("mnist", "MNIST", "trifecta/mnist10"),
                ("fashion-mnist", "Fashion-MNIST", ""),
                ("cifar10", "CIFAR-10", ""),
                ("svhn", "SVHN", ""),
                ("cifar100", "CIFAR-100", ""),
            )
        ),
        Item("Table 3", "classification by the last layer and by the last three", "trifecta/table3"),
        Item("Figure 1", "accuracy by layer under both normalizations", TABLE_1, ("symba_*", "symba-bn_*")),
        Item("Figure 2", "gradient norms under both normalizations", DENSE, BOTH_NORMS),
        Item("Figure 3", "accuracy and separation during training, TFF/d", DEEP, ("*_epochs500",), f"{DEEP}-short"),
        Item("Figure 4", "accuracy by layer with the threshold loss", TABLE_1, ("ftl2_*",)),
        Item("Figure 5", "goodness during training, TFF/d", DEEP, ("*_epochs500",), f"{DEEP}-short"),
        Item("Figure 6", "largest goodness and weight at three epochs, TFF/d", DEEP, smaller=f"{DEEP}-short"),
        Item("Figure 7", "gradient norms without normalization", DENSE),
        Item("Figure 8", "classifiers on the frozen features of each layer", DENSE),
        Item("Figure 9", "largest weight and goodness under each normalization", DENSE),
        Item("Figure 10", "weights of layer 5 under each normalization", DENSE),
        Item("Figure 11", "ways to overlap", remark="diagram: {class}`~forwardforward.update_schedules.Overlapping`"),
        Item("Figure 12", "the two networks", remark="diagram: the architectures of `trifecta-s` and `trifecta-d`"),
        Item("Figure 13", "ways to classify", remark="diagram: {class}`~forwardforward.classifiers.SumOverLayers`"),
        Item("claim", "the parts together gain more (16.0 points) than the sum of each (6.6 and 9.3)", TABLE_1),
        Item(
            "claim",
            "TFF/s exceeds 97 % on MNIST and 50 % on CIFAR-10 in 10 epochs",
            TABLE_2,
            ("tff-s_mnist_*_of200_epochs10", "tff-s_cifar10_*_of200_epochs10"),
            "trifecta/mnist10",
        ),
        Item(
            "claim",
            "the deep network is worse after 100 epochs (71.1 against 75.2 %) and better after 500 (83.5, 80.0)",
            TABLE_2,
            ("tff-?_cifar10_*",),
        ),
        Item(
            "claim",
            "accuracy rises with depth under batch normalization, and not under layer normalization",
            TABLE_1,
            ("symba_*", "symba-bn_*"),
        ),
        Item("claim", "gradients vary less under batch normalization", DENSE, BOTH_NORMS),
        Item("claim", "weights and goodness do not explode", DEEP, smaller=f"{DEEP}-short"),
        Item("footnote 2", "both forms of layer normalization behave alike", "trifecta/normalization"),
        Item("footnote 5", "dropout learns more slowly and ends at the same accuracy", "trifecta/dropout"),
        Item("appendix B", "He's uniform initialization", "trifecta/init"),
        Item("appendix B", "alpha from 2 to 8 has no influence on accuracy", "trifecta/sweep-alpha"),
        Item("appendix C", "the threshold: trends hold from 1 to 10", "trifecta/sweep-tau"),
        Item(
            "appendix C",
            "asymmetry of the threshold loss",
            command="python -m benchmarks.trifecta.symmetry",
            remark="needs no training",
        ),
        Item("appendix D", "weight decay lowers the accuracy", "trifecta/sweep-decay"),
        Item(
            "appendix E", "mutual information of the layers", remark="in words only; figure 8 measures features instead"
        ),
        Item("appendix E", "rolling statistics cost 2 points: 73.3 %", "trifecta/rolling"),
        Item(
            "appendix F",
            "both ways to overlap are equally accurate; random feedback as an alternative",
            "trifecta/overlap",
        ),
        Item("appendix H", "features under neutral and random labels, several heads", "trifecta/evaluation"),
        Item("appendix I", "residual connections help early and cost 4 and 2 points later", "trifecta/residual"),
        Item(
            "section 7, appendix G",
            "inverted bottlenecks, blocks of layers, frozen layers, Grad-CAM by layer",
            "trifecta/outlook",
        ),
    ),
)
