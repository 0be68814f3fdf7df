"""Losses: functions from goodness to the scalar that a layer minimizes.

Each loss derives from the base class of its kind:

* :class:`PairLoss`: ``loss(positive, negative)`` of two goodness tensors ``(batch,)``;
* :class:`ClassLoss`: ``loss(goodness, targets)`` of logits ``(batch, classes)`` and labels ``(batch,)``, or targets of
  another kind (:mod:`forwardforward.targets`): probabilities, several labels or real numbers;
* :class:`BatchLoss`: ``loss(embeddings, targets)`` of embeddings ``(batch, dimensions)`` and labels ``(batch,)``.

To use a plain function as a loss, pass an explicit objective, such as
``objective=PairObjective(goodness, function)``; see :mod:`forwardforward.objectives`.
"""

from forwardforward.losses.base import BatchLoss, ClassLoss, PairLoss
from forwardforward.losses.contrastive import FallingTemperature, SupervisedContrastive
from forwardforward.losses.multi_label import BinaryCrossEntropy
from forwardforward.losses.pair import SwishSymBa, SymBa, Threshold, TwoThreshold
from forwardforward.losses.per_class import CrossEntropy, SuperclassCrossEntropy
from forwardforward.losses.regression import OrdinalCrossEntropy, SquaredError
from forwardforward.losses.similarity import SimilarityMatching
from forwardforward.losses.thresholds import Pyramidal, Uniform

__all__ = [
    "BatchLoss",
    "BinaryCrossEntropy",
    "ClassLoss",
    "CrossEntropy",
    "FallingTemperature",
    "OrdinalCrossEntropy",
    "PairLoss",
    "Pyramidal",
    "SimilarityMatching",
    "SquaredError",
    "SuperclassCrossEntropy",
    "SupervisedContrastive",
    "SwishSymBa",
    "SymBa",
    "Threshold",
    "TwoThreshold",
    "Uniform",
]
