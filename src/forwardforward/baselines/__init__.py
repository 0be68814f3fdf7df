"""Baselines: the same layers trained by other learning rules, with a linear output layer and the cross-entropy loss.

To backpropagate the sum of the local losses, use the update schedule
:class:`~forwardforward.update_schedules.EndToEnd`.
"""

from forwardforward.baselines.backpropagation import Backpropagation
from forwardforward.baselines.baseline import Baseline
from forwardforward.baselines.direct import DirectFeedbackAlignment, DirectRandomTargetProjection
from forwardforward.baselines.feedback_alignment import FeedbackAlignment
from forwardforward.baselines.pepita import Pepita
from forwardforward.baselines.sign_symmetry import SignSymmetry

__all__ = [
    "Backpropagation",
    "Baseline",
    "DirectFeedbackAlignment",
    "DirectRandomTargetProjection",
    "FeedbackAlignment",
    "Pepita",
    "SignSymmetry",
]
