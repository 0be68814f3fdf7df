"""Baselines: the same stack trained otherwise, by cross-entropy of one linear layer on top.

Backpropagation of the summed goodness losses needs no class of its own: it is
:class:`~forwardforward.update_schedules.EndToEnd`.
"""

from forwardforward.baselines.backpropagation import Backpropagation
from forwardforward.baselines.baseline import Baseline
from forwardforward.baselines.feedback_alignment import FeedbackAlignment
from forwardforward.baselines.pepita import Pepita

__all__ = ["Backpropagation", "Baseline", "FeedbackAlignment", "Pepita"]
