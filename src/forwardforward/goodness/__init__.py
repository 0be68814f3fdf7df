"""Goodness: what a layer's activations are worth.

A *scalar* goodness maps activations of shape ``(batch, ...)`` to one number per sample, ``(batch,)``; pair
objectives compare it between positive and negative samples. One *by position* maps ``(batch, channels, height,
width)`` to one number per position, ``(batch, height, width)``, which pair objectives compare likewise. A *per-class*
goodness maps activations to one number per class, ``(batch, classes)``; class objectives read it as logits.

Any callable with one of these signatures serves. A module may also offer ``scale(features)``, the goodness of
a sample whose activations all have magnitude one (thresholds of ``theta="width"`` are set to it), and
``bind(features)``, called once with the layer's number of features (parameters are shaped there).
"""

from forwardforward.goodness.by_position import GoodnessByPosition, MeanOfSquaresByPosition
from forwardforward.goodness.per_class import (
    ClassGroups,
    LearnedProjection,
    PerClassGoodness,
    Prototypes,
    RandomProjection,
)
from forwardforward.goodness.scalar import (
    L1,
    Goodness,
    Lp,
    MeanActivation,
    MeanOfSquares,
    Negated,
    SumOfSquares,
    TopK,
)

__all__ = [
    "L1",
    "ClassGroups",
    "Goodness",
    "GoodnessByPosition",
    "LearnedProjection",
    "Lp",
    "MeanActivation",
    "MeanOfSquares",
    "MeanOfSquaresByPosition",
    "Negated",
    "PerClassGoodness",
    "Prototypes",
    "RandomProjection",
    "SumOfSquares",
    "TopK",
]
