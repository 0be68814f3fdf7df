"""Random numbers that do not depend on earlier draws: one generator per (seed, epoch, purpose)."""

from __future__ import annotations

import hashlib
import random

import numpy as np
import torch


def derive_seed(seed: int, epoch: int, purpose: str) -> int:
    """Return a seed that depends on the three arguments only."""
    digest = hashlib.sha256(f"{seed}/{epoch}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:7], "big")


def derive_generator(seed: int, epoch: int, purpose: str, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a new generator on ``device``, seeded by :func:`derive_seed`."""
    return torch.Generator(device).manual_seed(derive_seed(seed, epoch, purpose))


def seed_global_generators(seed: int, epoch: int, purpose: str) -> None:
    """Seed the global generators of torch, ``random`` and ``numpy.random``, which blocks and data sets may use."""
    derived = derive_seed(seed, epoch, purpose)
    torch.manual_seed(derived)
    random.seed(derived)
    np.random.seed(derived % 2**32)
