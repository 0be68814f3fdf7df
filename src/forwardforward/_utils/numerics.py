"""Precision of sums and of products that must not be computed in a lower precision."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["accumulator", "full_precision"]


def accumulator(x: Tensor) -> torch.dtype:
    """Return the dtype for sums over ``x``, at least float32: bfloat16's three digits are too few for a layer."""
    return torch.promote_types(x.dtype, torch.float32)


def full_precision(x: Tensor) -> torch.autocast:
    """Return a context in which products keep ``x``'s precision, inside a context of autocast too."""
    return torch.autocast(x.device.type, enabled=False)
