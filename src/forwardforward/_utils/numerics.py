"""The precision of goodness and losses."""

from __future__ import annotations

import torch
from torch import Tensor


def accumulator(x: Tensor) -> torch.dtype:
    """Return ``x``'s type, float32 at least: bfloat16 keeps three digits, too few for a sum over a layer."""
    return torch.promote_types(x.dtype, torch.float32)


def full_precision(x: Tensor) -> torch.autocast:
    """Return the context in which products with ``x`` keep its precision, whatever the layer's products have."""
    return torch.autocast(x.device.type, enabled=False)
