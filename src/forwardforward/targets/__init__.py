"""Kinds of targets: what an objective accepts, what its scores decide, and how errors are counted.

A loss or objective declares the kind of its targets as ``target_kind``; the network takes the kind of its layers.
Targets are checked, predictions made and errors measured by it:

* :class:`ClassIndices`: one class per sample, ``(N,)``; the error is the share of wrong classes;
* :class:`ClassProbabilities`: the same, or the probability of each class, ``(N, classes)``;
* :class:`MultiLabel`: several labels per sample, ``(N, labels)``; the error is the share of wrong labels;
* :class:`RealValues`: numbers, ``(N,)`` or ``(N, values)``; the error is the root mean squared error.

A subclass of :class:`TargetKind` defines another kind.
"""

from forwardforward.targets.classes import ClassIndices, ClassProbabilities
from forwardforward.targets.kind import Figures, TargetKind
from forwardforward.targets.labels import MultiLabel
from forwardforward.targets.scaling import TargetScaling
from forwardforward.targets.values import RealValues

__all__ = [
    "ClassIndices",
    "ClassProbabilities",
    "Figures",
    "MultiLabel",
    "RealValues",
    "TargetKind",
    "TargetScaling",
]
