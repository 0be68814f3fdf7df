"""Losses: what a layer minimises, given goodness.

Each belongs to one of the three contracts between a layer and its objective, named by ``contract``:

* ``"pair"``: ``loss(positive, negative)`` of two goodness vectors ``(batch,)``;
* ``"class"``: ``loss(goodness, targets)`` of logits ``(batch, classes)`` and labels ``(batch,)``;
* ``"batch"``: ``loss(embeddings, targets)`` of embeddings ``(batch, dimensions)`` and labels ``(batch,)``.

Any callable with one of these signatures serves. A pair loss with ``uses_scale = True`` is also given the
goodness's scale as a third argument.
"""

from forwardforward.losses.contrastive import SupervisedContrastive
from forwardforward.losses.pair import PairLoss, SwishSymBa, SymBa, Threshold, TwoThreshold
from forwardforward.losses.per_class import CrossEntropy, SuperclassCrossEntropy
from forwardforward.losses.thresholds import Pyramidal, Uniform

__all__ = [
    "CrossEntropy",
    "PairLoss",
    "Pyramidal",
    "SuperclassCrossEntropy",
    "SupervisedContrastive",
    "SwishSymBa",
    "SymBa",
    "Threshold",
    "TwoThreshold",
    "Uniform",
]
