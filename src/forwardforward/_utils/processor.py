"""What the CPU computes in hardware."""

from __future__ import annotations

import platform

import torch

__all__ = ["has_fast_bf16", "has_matrix_tiles"]


def has_fast_bf16() -> bool:
    """Return whether the CPU multiplies bfloat16 in hardware; True if this torch cannot tell.

    Example:
        >>> isinstance(has_fast_bf16(), bool)
        True
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return True
    # private, and not in every version; torch has no public ones
    checks = [getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")]
    known = [check for check in checks if check is not None]
    return not known or any(check() for check in known)


def has_matrix_tiles() -> bool:
    """Return whether the CPU has AMX units for products of matrices; False if this torch cannot tell.

    Example:
        >>> isinstance(has_matrix_tiles(), bool)
        True
    """
    check = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return check is not None and check()
