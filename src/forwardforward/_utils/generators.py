"""The states of the global random generators."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

__all__ = ["global_state", "restored_global_generators", "set_global_state"]


def global_state(device: torch.device) -> dict[str, Any]:
    """Return the states of the global generators, as tensors, numbers and strings.

    Args:
        device: Device of the training; the state of a GPU's generator is included.
    """
    name, keys, *position = np.random.get_state(legacy=True)
    state = {
        "torch": torch.get_rng_state(),
        "random": list(random.getstate()),
        "numpy": [name, torch.from_numpy(np.asarray(keys).astype(np.int64)), *position],
    }
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_global_state(state: dict[str, Any], device: torch.device) -> None:
    """Restore a state of :func:`global_state`; one of a CPU leaves the generator of a GPU as it is."""
    version, keys, gauss = state["random"]
    random.setstate((version, tuple(keys), gauss))
    name, words, *position = state["numpy"]
    np.random.set_state((name, words.cpu().numpy().astype(np.uint32), *position))
    torch.set_rng_state(state["torch"].cpu())
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"].cpu(), device)


@contextlib.contextmanager
def restored_global_generators(device: torch.device) -> Iterator[None]:
    """Context manager that restores the global generators of the caller.

    Args:
        device: Device whose generator is restored, beside the CPU's.
    """
    state = global_state(device)
    try:
        yield
    finally:
        set_global_state(state, device)
