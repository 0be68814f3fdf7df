"""Baselines: the same stack trained by other rules, with the cross-entropy of one linear layer on top.

Backpropagation of the summed local losses is the update schedule
:class:`~forwardforward.update_schedules.EndToEnd`.
"""

from forwardforward.baselines.backpropagation import Backpropagation
from forwardforward.baselines.baseline import Baseline
from forwardforward.baselines.feedback_alignment import FeedbackAlignment
from forwardforward.baselines.pepita import Pepita

__all__ = ["Backpropagation", "Baseline", "FeedbackAlignment", "Pepita"]
