"""The class hierarchies of HCL-FF: trees of classes, and the superclasses that each layer learns.

The trees are those of the authors' program: Ward's clustering of the rows of a linear classifier (CIFAR-10, CIFAR-100),
or of the classes' mean images after a PCA (MNIST, Fashion-MNIST).
"""

from __future__ import annotations

__all__ = ["CIFAR10_TREE", "CIFAR100_TREE", "FASHION_TREE", "MNIST_TREE", "Tree", "levels", "spread_over_layers"]

#: The index of a class, or the branches of an inner node.
Tree = int | tuple["Tree", ...]

CIFAR10_TREE: Tree = ((3, (1, 7)), ((5, (2, 8)), ((0, 9), (4, 6))))
MNIST_TREE: Tree = (0, ((7, (4, 9)), ((2, 6), (1, (3, (5, 8))))))
FASHION_TREE: Tree = (((5, 7), (8, 9)), ((1, 3), (0, (4, (2, 6)))))
# fmt: off
CIFAR100_TREE: Tree = (
    (
        ((96, (47, 52)), (((23, (60, 71)), (49, (33, 59))), ((12, 68), (37, 56)))),
        (((13, (81, 90)), ((8, 48), (85, (58, (41, 89))))),
         (((87, 94), (84, (20, (5, 25)))), ((9, (39, 86)), (69, (17, 76))))),
    ),
    (
        ((46, (2, (11, (35, 98)))),
         ((((3, 21), (4, (55, 72))), ((66, (38, 65)), (63, ((77, 80), ((50, 74), (36, 64)))))),
          ((31, (15, 19)), (43, (97, (88, (34, 42))))))),
        (((28, ((22, (10, 61)), (51, (16, 40)))), ((57, (53, (0, 83))), (54, (82, (70, (62, 92)))))),
         ((32, (91, (95, (30, 73)))),
          (((7, 24), (6, 79)), (((26, 45), (29, 93)), (((78, 99), (18, (27, 44))), (75, (1, (14, 67)))))))),
    ),
)
# fmt: on


def levels(tree: Tree) -> tuple[tuple[int, ...], ...]:
    """Return the superclass of each class at each depth of a tree, up to the depth at which all classes are apart.

    Args:
        tree: The tree, whose leaves are the classes from 0.

    Example:
        >>> levels(((0, 1), (2, (3, 4))))
        ((0, 0, 1, 1, 1), (0, 1, 2, 3, 3))
    """
    nodes: list[Tree] = [tree]
    result: list[tuple[int, ...]] = []
    while True:
        nodes = [branch for node in nodes for branch in (node if isinstance(node, tuple) else (node,))]
        members = [_classes(node) for node in nodes]
        if all(len(classes) == 1 for classes in members):
            return tuple(result)
        superclasses = {leaf: index for index, classes in enumerate(members) for leaf in classes}
        result.append(tuple(superclasses[leaf] for leaf in sorted(superclasses)))


def spread_over_layers(tree: Tree, layers: int = 17) -> tuple[tuple[int, ...], ...]:
    """Return the superclasses of the first layers, if all layers share the levels of a tree and the classes evenly.

    Args:
        tree: The tree.
        layers: Number of layers.

    Example:
        >>> spread_over_layers(((0, 1), (2, 3)), layers=4)
        ((0, 0, 1, 1), (0, 0, 1, 1))
    """
    superclasses = levels(tree)
    chosen = (layer * (len(superclasses) + 1) // layers for layer in range(layers))
    return tuple(superclasses[level] for level in chosen if level < len(superclasses))


def _classes(node: Tree) -> list[int]:
    return [leaf for branch in node for leaf in _classes(branch)] if isinstance(node, tuple) else [node]
