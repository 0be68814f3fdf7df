"""Normalization: what a layer sees of the one before it, and peer normalization.

Without normalization the next layer could read the goodness of the last off the length of its activity vector
and would have nothing to learn. Any module from ``(batch, ...)`` to the same shape serves. One that is an
affine map of its input may also offer ``as_affine(labelled)``, which lets a linear first layer share its product
among an image's labels.
"""

from forwardforward.normalization.affine import Affine, Identity
from forwardforward.normalization.batch_norm import BatchNorm
from forwardforward.normalization.peer_normalization import PeerNormalization
from forwardforward.normalization.per_sample import GroupNorm, LayerNorm, RMSNorm

__all__ = ["Affine", "BatchNorm", "GroupNorm", "Identity", "LayerNorm", "PeerNormalization", "RMSNorm"]
