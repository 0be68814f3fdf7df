"""Checks of the inputs of a whole data set, which return them as a tensor."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from forwardforward._utils.checks import all_finite, extremes
from forwardforward.preprocessing import to_tensor

__all__ = ["checked_indices", "checked_inputs"]


def checked_inputs(value: Tensor | NDArray[Any]) -> Tensor:
    """Return inputs as a floating-point tensor."""
    inputs = to_tensor(value, "inputs")
    if inputs.dtype != torch.uint8 and not inputs.is_floating_point():
        raise TypeError(
            f"inputs must be floating-point or uint8 (images, divided by 255), got {inputs.dtype}; "
            "for embedding indices, such as word indices, set num_embeddings="
        )
    _check_shape(inputs)
    if inputs.dtype == torch.uint8:
        return inputs.float().div_(255)
    if not isinstance(value, Tensor):
        inputs = inputs.float()  # float64 is numpy's default, so it is rarely a deliberate choice
    if not all_finite(inputs):
        sample = int(inputs.flatten(1).isfinite().all(1).logical_not().nonzero()[0])
        raise ValueError(f"inputs must be finite, got NaN or infinity, first in sample {sample}")
    return inputs


def checked_indices(value: Tensor | NDArray[Any], num_embeddings: int) -> Tensor:
    """Return the inputs of an embedding as int32."""
    inputs = to_tensor(value, "inputs")
    if inputs.is_floating_point() or inputs.is_complex() or inputs.dtype == torch.bool:
        raise TypeError(f"inputs must be integers if num_embeddings is set, got {inputs.dtype}")
    _check_shape(inputs)
    lowest, highest = extremes(inputs)
    if lowest < 0 or highest >= num_embeddings:
        raise ValueError(f"inputs must be embedding indices in 0..{num_embeddings - 1}, got {lowest}..{highest}")
    return inputs.int()


def _check_shape(inputs: Tensor) -> None:
    if inputs.is_meta:
        raise ValueError("inputs must be a tensor with values, got one on the device 'meta'")
    if inputs.ndim < 2:
        raise ValueError(f"inputs must have shape (N, ...), at least two dimensions, got {tuple(inputs.shape)}")
    if inputs.numel() == 0:
        raise ValueError(f"inputs must not be empty, got shape {tuple(inputs.shape)}")
