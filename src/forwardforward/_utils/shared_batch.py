"""Means over a batch of which each process computes a part."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from torch import Tensor

__all__ = ["is_shared", "mean_of_parts", "shared_batch", "sum_of_parts", "whole_count"]


class _Part(NamedTuple):
    """This process's part of the batch."""

    sum: Callable[[Tensor], Tensor]
    weight: float


#: None if this process computes the whole batch. A plain global, since torch.compile cannot trace a context variable.
_part: _Part | None = None


def is_shared() -> bool:
    """Return whether the batch is divided among processes."""
    return _part is not None


def mean_of_parts(mean: Tensor) -> Tensor:
    """Return the mean over the whole batch.

    Args:
        mean: The mean over this process's part.
    """
    return mean if _part is None else _part.sum(mean * _part.weight)


def sum_of_parts() -> Callable[[Tensor], Tensor]:
    """Return the function that sums a tensor over the processes, for use after the context has ended."""
    assert _part is not None
    return _part.sum


def whole_count(count: int) -> int:
    """Return the number of values of the whole batch.

    Args:
        count: Number of values of this process's part, proportional to its samples.
    """
    return count if _part is None else round(count / _part.weight)


@contextlib.contextmanager
def shared_batch(function: Callable[[Tensor], Tensor], weight: float) -> Iterator[None]:
    """Context manager in which a batch is divided among processes.

    Args:
        function: Sums a tensor over the processes, with the gradient of a sum.
        weight: This process's share of the samples.
    """
    global _part
    before, _part = _part, _Part(function, weight)
    try:
        yield
    finally:
        _part = before
