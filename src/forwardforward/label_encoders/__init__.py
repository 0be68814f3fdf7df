"""Labels: how a class label becomes part of a network's input.

An encoder gives each class a code and says where in the input it goes. What it returns, a
:class:`~forwardforward.batches.LabelledInput`, keeps image and code apart until the first layer joins them.
"""

from forwardforward.label_encoders.channels import LabelChannel, LearnedChannel, RandomChannel, WaveChannel
from forwardforward.label_encoders.encoder import LabelEncoder
from forwardforward.label_encoders.pixels import Border, Concatenation, Overlay

__all__ = [
    "Border",
    "Concatenation",
    "LabelChannel",
    "LabelEncoder",
    "LearnedChannel",
    "Overlay",
    "RandomChannel",
    "WaveChannel",
]
