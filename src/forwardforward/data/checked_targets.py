"""Checks of the targets of a whole data set, which return them as a tensor."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from forwardforward._utils.annotations import describe
from forwardforward._utils.checks import all_finite, check_label_type, extremes, label_remedy
from forwardforward.data.class_names import samples
from forwardforward.preprocessing import to_tensor

__all__ = ["checked_num_classes", "checked_targets"]


def checked_targets(value: Any, inputs: Tensor) -> Tensor:
    """Return targets as a tensor; class labels as int64."""
    if isinstance(value, list | tuple | Dataset):
        value = _listed_targets(value, inputs.device)
    targets = to_tensor(value, "targets")
    if targets.is_floating_point() and not isinstance(value, Tensor):
        targets = targets.float()  # as of inputs, float64 is numpy's default
    shape = tuple(targets.shape)
    if targets.ndim not in (1, 2) or (targets.ndim == 2 and (not shape[1] or _is_column_of_labels(targets))):
        remedy = label_remedy("targets", shape, len(inputs))
        raise ValueError(f"targets must be 1-D, one label per sample, or (N, K), got shape {shape}{remedy}")
    if len(targets) != len(inputs):
        raise ValueError(f"targets must have one label for each of the {len(inputs)} inputs, got {len(targets)}")
    if targets.device != inputs.device:
        raise ValueError(f"targets must be on the inputs' device {inputs.device}, got {targets.device}")
    if targets.is_floating_point():
        if not all_finite(targets):
            sample = int(targets.view(len(targets), -1).isfinite().all(1).logical_not().nonzero()[0])
            raise ValueError(f"targets must be finite, got NaN or infinity, first in sample {sample}")
        return targets
    if targets.ndim == 2:
        return _checked_label_rows(targets)
    check_label_type(targets, "targets", "integer class labels, strings or real numbers")
    targets = targets.long()
    if (lowest := int(targets.min())) < 0:
        raise ValueError(f"targets must be class labels of at least 0, got {lowest}")
    return targets


def checked_num_classes(num_classes: int | None, targets: Tensor | None) -> int | None:
    """Return the number of classes, None for real values; default: the highest label + 1, or the number of columns."""
    if targets is None:
        return num_classes
    if targets.ndim == 2:
        if num_classes is not None and num_classes != targets.shape[1]:
            raise ValueError(f"targets must have num_classes={num_classes} columns, got shape {tuple(targets.shape)}")
        return targets.shape[1]
    if targets.is_floating_point():
        if num_classes is not None:
            raise ValueError(f"num_classes must be None for targets that are real numbers, got {num_classes}")
        return None
    highest = int(targets.max())
    if num_classes is None:
        return highest + 1
    if highest >= num_classes:
        raise ValueError(f"targets must be below num_classes={num_classes}, got label {highest}")
    return num_classes


def _listed_targets(targets: Any, device: torch.device) -> Tensor:
    """Return a list of whole or real numbers, of rows of numbers, or a data set of these, as a tensor."""
    numbers: list[Any] = []
    for sample, label in enumerate(samples(targets)):
        try:
            label = int(operator.index(label))  # also of a boolean
        except TypeError:
            label = label.tolist() if isinstance(label, Tensor | np.ndarray | np.generic) else label
        if not isinstance(label, int | float | list | tuple):
            raise TypeError(f"targets must be numbers or strings, got {describe(label)} for sample {sample}")
        if numbers and type(numbers[0]) is not type(label):
            raise TypeError(f"targets must be all integers or all real numbers, got {label!r} for sample {sample}")
        numbers.append(label)
    try:
        return torch.tensor(numbers, dtype=None if numbers else torch.int64, device=device)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError("targets must be numbers of one kind, or rows of equal length, got a mixture") from None


def _is_column_of_labels(targets: Tensor) -> bool:
    return targets.shape[1] == 1 and not targets.is_floating_point()


def _checked_label_rows(targets: Tensor) -> Tensor:
    """Return several labels per sample, of integers or booleans, unchanged."""
    if targets.is_complex():
        raise TypeError(f"targets must be integers, booleans or real numbers, got {targets.dtype}")
    if targets.dtype != torch.bool:
        lowest, highest = extremes(targets)
        if lowest < 0 or highest > 1:
            raise ValueError(f"targets of shape (N, K) must be 0 and 1 if they are integers, got {lowest}..{highest}")
    return targets
