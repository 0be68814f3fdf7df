"""The modes in which a network is run: looking without training, and the precision of the products."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

__all__ = ["autocast_to", "eval_mode"]


@contextlib.contextmanager
def eval_mode(network: nn.Module) -> Iterator[None]:
    """Put every module into evaluation mode, and back into its own mode at the end.

    Args:
        network: Any module.
    """
    changed = [module for module in network.modules() if module.training]
    for module in changed:
        module.__dict__["training"] = False  # train() costs 20 times as much, and this runs in every step
    try:
        yield
    finally:
        for module in changed:
            module.__dict__["training"] = True


def autocast_to(dtype: torch.dtype | None, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Return the context in which products are computed in another precision than the weights'.

    Args:
        dtype: Such as ``torch.bfloat16``; None changes nothing, so that an autocast of the caller's holds.
        device: Where the products run.
    """
    return contextlib.nullcontext() if dtype is None else torch.autocast(device.type, dtype=dtype)
