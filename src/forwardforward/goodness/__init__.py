"""Goodness functions: from a layer's activations to goodness.

A *scalar* goodness maps activations ``(batch, ...)`` to one number per sample, ``(batch,)``; pair objectives compare it
between positive and negative samples. A goodness *by position* maps ``(batch, channels, height, width)`` to one number
per position, ``(batch, height, width)``, which pair objectives compare position by position. A *per-class* goodness
maps activations to one number per class, ``(batch, classes)``; class objectives use it as logits.

Own functions derive from :class:`Goodness`, :class:`GoodnessByPosition` or :class:`PerClassGoodness`. Any callable with
one of these signatures serves too. A goodness with parameters that depend on the layer's size implements
``setup(spec)``, see :class:`~forwardforward.specs.NeedsSetup`.
"""

from forwardforward.goodness.by_position import GoodnessByPosition, MeanOfSquaresByPosition
from forwardforward.goodness.hidden import HiddenProjection
from forwardforward.goodness.per_class import (
    ClassGroups,
    LearnedProjection,
    Logits,
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
from forwardforward.goodness.shape import Burstiness, EntmaxEnergy, WithoutLabel

__all__ = [
    "L1",
    "Burstiness",
    "ClassGroups",
    "EntmaxEnergy",
    "Goodness",
    "GoodnessByPosition",
    "HiddenProjection",
    "LearnedProjection",
    "Logits",
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
    "WithoutLabel",
]
