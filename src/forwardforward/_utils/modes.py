"""Context managers for the mode of a module and the precision of its products."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["autocast_to", "eval_mode", "recordable"]


@contextlib.contextmanager
def eval_mode(*modules: nn.Module) -> Iterator[None]:
    """Put modules into evaluation mode, and restore the mode of each submodule at the end.

    Args:
        *modules: The modules; all their submodules are included.
    """
    changed = [part for module in modules for part in module.modules() if part.training]
    for part in changed:
        part.__dict__["training"] = False  # train() takes 20 times as long, and this runs in every step
    try:
        yield
    finally:
        for part in changed:
            part.__dict__["training"] = True


def recordable(x: Tensor) -> Tensor:
    """Return a tensor that autograd can save: outside inference mode, a copy of a tensor that was made in it."""
    return x.clone() if x.is_inference() and not torch.is_inference_mode_enabled() else x


def autocast_to(dtype: torch.dtype | None, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Return a context of autocast, or one without effect.

    Args:
        dtype: Compute precision, such as ``torch.bfloat16``; None keeps the caller's context.
        device: Where the products are computed.
    """
    return contextlib.nullcontext() if dtype is None else torch.autocast(device.type, dtype=dtype)
