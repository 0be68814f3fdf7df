"""The number of CPU threads."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch

__all__ = ["cpu_threads"]


@contextlib.contextmanager
def cpu_threads(number: int | None) -> Iterator[None]:
    """Context manager that sets the number of CPU threads.

    Args:
        number: The number; None changes nothing.

    Raises:
        ValueError: If it is far larger than the number of cores.
    """
    highest = max(64, 2 * (os.cpu_count() or 1))  # far more threads end the process, without an error
    if number is not None and number > highest:
        raise ValueError(f"threads must be at most {highest} on this machine, got {number}")
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
