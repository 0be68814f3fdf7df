"""Kinds of targets: what an objective accepts, what its scores decide, and how errors are counted.

A loss or objective declares the kind of its targets as ``target_kind``; the network takes the kind of its layers.
Targets are checked, predictions made and errors measured by it:

========================== ================================ ======================================== ===============
kind                       targets                          prediction                               error
========================== ================================ ======================================== ===============
:class:`ClassIndices`      ``(N,)``, whole numbers          the class with the highest score         wrong classes,
                                                                                                     in percent
:class:`ClassProbabilities` the same, or ``(N, classes)``,  the class with the highest score         wrong classes,
                           rows that sum to 1                                                        in percent
:class:`MultiLabel`        ``(N, labels)``, 0 or 1, or      the labels with a score above 0          wrong labels,
                           between for mixed images                                                  in percent
:class:`RealValues`        ``(N,)`` or ``(N, values)``      a number, in the units of the targets    root mean
                                                                                                     squared error
========================== ================================ ======================================== ===============

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
