"""Objectives: a goodness with a loss, the number that a layer minimizes.

All three kinds of the field share one interface: an objective is called with a layer's activations and the batch, and
returns a :class:`LocalLoss`. ``goodness=`` and ``loss=`` of a layer or network make the objective of the loss's base
class; ``objective=`` states it explicitly. Objectives of one layer add up with ``+``.
"""

from forwardforward.objectives.base import LocalLoss, Objective, SumObjective
from forwardforward.objectives.batch import BatchObjective, Embedding
from forwardforward.objectives.pairs import PairObjective
from forwardforward.objectives.per_class import ClassObjective
from forwardforward.objectives.pooled import PooledObjective
from forwardforward.objectives.similarity import SimilarityEmbedding

__all__ = [
    "BatchObjective",
    "ClassObjective",
    "Embedding",
    "LocalLoss",
    "Objective",
    "PairObjective",
    "PooledObjective",
    "SimilarityEmbedding",
    "SumObjective",
]
