"""Label encoders: class labels as a part of a network's input.

An encoder defines a code for each class and the code's place in the input. Its result, a
:class:`~forwardforward.batches.LabeledInput`, keeps images and codes apart until the first layer joins them.
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
