"""Classification by goodness and by the one-pass head: pure functions of layers, in chunks, compiled if asked to.

A network with a pair objective computes every image under every label. The product of the first layer with an image is
shared by its labels, the rows of all labels pass through the later layers in one product each, and candidate lists
(:class:`~forwardforward.classifiers.Candidates`) leave out the labels that the first layers rule out.
"""

from forwardforward.scoring.compiled import CompiledFunctions
from forwardforward.scoring.functions import CandidateGoodness, ClassGoodness, HeadFeatures, LabelGoodness, goodness_of
from forwardforward.scoring.scorer import Scorer

__all__ = [
    "CandidateGoodness",
    "ClassGoodness",
    "CompiledFunctions",
    "HeadFeatures",
    "LabelGoodness",
    "Scorer",
    "goodness_of",
]
