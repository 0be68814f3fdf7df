"""Sharded tensors, of which each process has a part: torch's ``DTensor``, whose import takes a while."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["is_sharded", "name_failures", "sharded_like", "total_norm", "whole"]

#: Context manager of messages between processes, which names the cause if one fails.
_naming: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext


def name_failures(context: Callable[[], contextlib.AbstractContextManager[None]]) -> None:
    """Set the context manager of messages between processes.

    Args:
        context: Makes the context manager.
    """
    global _naming
    _naming = context


def is_sharded(x: Tensor) -> bool:
    """Return whether each process has a part of a tensor."""
    return hasattr(x, "full_tensor")


def whole(x: Tensor) -> Tensor:
    """Return a tensor with all parts, which every process must ask for at the same time.

    Args:
        x: The tensor; one that is not sharded is returned unchanged.
    """
    gather = getattr(x, "full_tensor", None)
    if gather is None:
        return x
    with _naming():
        gathered: Tensor = gather()
    return gathered


def sharded_like(x: Tensor, other: Tensor) -> Tensor:
    """Return a tensor, sharded as another one of the same shape is.

    Args:
        x: The tensor, the same in all processes or sharded.
        other: The other one.
    """
    if not is_sharded(other):
        return whole(x)
    if is_sharded(x):
        return x
    from torch.distributed.tensor import distribute_tensor

    like: Any = other
    return distribute_tensor(x, like.device_mesh, like.placements)


def total_norm(tensors: Sequence[Tensor]) -> Tensor:
    """Return the norm of all numbers of tensors, some of which may be sharded.

    Args:
        tensors: The tensors, at least one.
    """
    norm: Tensor = torch.linalg.vector_norm(torch.stack([whole(torch.linalg.vector_norm(x)) for x in tensors]))
    return norm
