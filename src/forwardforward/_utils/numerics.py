"""Precision of sums, of products and of logarithms."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["accumulator", "full_precision", "log_probabilities", "saturated"]

#: Argument of a softplus below which its slope, under 2e-22, changes no weight.
SATURATION = -50.0


def accumulator(x: Tensor) -> torch.dtype:
    """Return the dtype for sums over ``x``, at least float32: bfloat16's three digits are too few for a layer."""
    return torch.promote_types(x.dtype, torch.float32)


def full_precision(x: Tensor) -> torch.autocast:
    """Return a context in which products keep ``x``'s precision, inside a context of autocast too."""
    return torch.autocast(x.device.type, enabled=False)


def saturated(x: Tensor) -> Tensor:
    """Return ``x`` with values below -50 as constants, for a function whose slope there is that of ``exp``.

    The slope at the pairs that a layer separates well would soon be a subnormal number, below 1.2e-38 in float32, and
    CPUs multiply matrices that contain subnormal numbers much more slowly.
    """
    return x.clamp(min=SATURATION)


def log_probabilities(scores: Tensor) -> Tensor:
    """Return the log-probabilities of scores of classes, ``(batch, classes)``; that of a probability of 0 is finite.

    So the average of several classifiers is defined where each excludes what another predicts.

    Args:
        scores: The scores.
    """
    return scores.log_softmax(1).clamp(min=math.log(torch.finfo(scores.dtype).tiny))
