"""Classifiers: functions from the layers' goodness to scores of the classes.

A classifier is called as ``classifier(goodness)`` with the goodness ``(batch, layers, classes)`` of every layer for
every class, and returns scores ``(batch, classes)``; the largest score wins, and the softmax of the scores is
``predict_proba``.
"""

from forwardforward.classifiers.candidates import Candidates
from forwardforward.classifiers.chosen import BestInterval, WeightedSum, fit_weights
from forwardforward.classifiers.readout import GoodnessReadout
from forwardforward.classifiers.sums import LayerEnsemble, MeanOverLayers, SumOverLayers
from forwardforward.classifiers.with_head import WithHead

__all__ = [
    "BestInterval",
    "Candidates",
    "GoodnessReadout",
    "LayerEnsemble",
    "MeanOverLayers",
    "SumOverLayers",
    "WeightedSum",
    "WithHead",
    "fit_weights",
]
