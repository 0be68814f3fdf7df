"""Normalization of a layer's input, and peer normalization.

Without normalization a layer could read the goodness of the layer before from the length of its activity vector, and
would have nothing to learn. Any module from ``(batch, ...)`` to the same shape serves; one that derives from
:class:`Normalization` and implements ``as_affine(labeled)`` lets a linear first layer share its product among an
image's labels.
"""

from forwardforward.normalization.affine import Affine, Identity, Normalization
from forwardforward.normalization.batch_norm import BatchNorm
from forwardforward.normalization.peer_normalization import PeerNormalization
from forwardforward.normalization.per_sample import GroupNorm, LayerNorm, RMSNorm, UnitLength

__all__ = [
    "Affine",
    "BatchNorm",
    "GroupNorm",
    "Identity",
    "LayerNorm",
    "Normalization",
    "PeerNormalization",
    "RMSNorm",
    "UnitLength",
]
