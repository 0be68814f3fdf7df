"""Random numbers that do not depend on earlier draws: one generator per (seed, epoch, purpose)."""

from __future__ import annotations

import hashlib

import torch


def derive_seed(seed: int, epoch: int, purpose: str) -> int:
    """Return a seed that depends on the three arguments only."""
    digest = hashlib.sha256(f"{seed}/{epoch}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:7], "big")


def derive_generator(seed: int, epoch: int, purpose: str, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a new generator on ``device``, seeded by :func:`derive_seed`."""
    return torch.Generator(device).manual_seed(derive_seed(seed, epoch, purpose))
