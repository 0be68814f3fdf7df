"""The precision of the products in a training."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator

import torch

from forwardforward._utils.processor import has_fast_bf16

__all__ = ["AUTOCAST", "products_in"]

#: Dtype of autocast, by the name of the precision.
AUTOCAST = {"float32": None, "tf32": None, "bf16": torch.bfloat16}


@contextlib.contextmanager
def products_in(precision: str, device: torch.device) -> Iterator[None]:
    """Context manager that lets products of float32 be computed in TF32, and warns of a bfloat16 that does not pay.

    Args:
        precision: ``"float32"``, ``"tf32"`` or ``"bf16"``.
        device: Device of the training.
    """
    if precision == "bf16" and device.type == "cpu" and not has_fast_bf16():
        warnings.warn(
            "precision='bf16' is slower than 'float32' on this CPU, which has no bfloat16 units (AMX or AVX512-BF16)",
            stacklevel=2,
        )
    previous = torch.get_float32_matmul_precision()
    if precision == "tf32":
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        if precision == "tf32":
            torch.set_float32_matmul_precision(previous)
