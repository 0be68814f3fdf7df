"""Refusal of tensors that do not fit into memory."""

from __future__ import annotations

import contextlib
import math
import os

__all__ = ["check_memory"]


def check_memory(name: str, *shape: int) -> None:
    """Refuse a size that no machine like this one could store, before torch or the operating system fails on it.

    Args:
        name: Name of the argument that determines the size, for the message.
        *shape: Shape of the largest tensor that is created, of float32.

    Raises:
        ValueError: If the tensor is larger than the memory of the machine.
    """
    size, memory = 4 * math.prod(shape), _memory()
    if size > memory:
        raise ValueError(
            f"{name} must lead to tensors that fit into the {memory / 1e9:,.0f} GB of memory, "
            f"got shape {shape} of {size / 1e9:,.0f} GB"
        )


def _memory() -> float:
    """Return the bytes of memory that the process may use, infinity if that is unknown."""
    try:
        import resource  # not part of Python on Windows

        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    except (ImportError, AttributeError, ValueError, OSError):
        return math.inf
    if limit == resource.RLIM_INFINITY:
        return memory
    with contextlib.suppress(OSError), open("/proc/self/statm", "rb") as file:  # Linux only
        limit -= int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    return min(memory, limit)
