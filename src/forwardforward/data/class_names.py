"""Names of classes, and labels that are names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence, Sized
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from forwardforward._utils.annotations import describe

__all__ = ["check_class_names", "label_indices", "shortened", "string_labels"]

#: With more class names, a text contains the first three and the last.
MOST_NAMES = 10


def check_class_names(class_names: Sequence[str] | NDArray[Any], num_classes: int | None) -> tuple[str, ...]:
    """Return class names as a tuple of Python strings.

    Args:
        class_names: One name per class.
        num_classes: Expected number of names. Default: any.

    Raises:
        TypeError: If they are not a sequence of strings.
        ValueError: If names are empty or repeated, or their number is not ``num_classes``.
    """
    names = () if isinstance(class_names, (str, bytes)) else tuple(class_names)
    if isinstance(class_names, (str, bytes)) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"class_names must be a sequence of strings, got {describe(class_names)}")
    names = tuple(str(name) for name in names)  # numpy's strings become Python's
    if not names or "" in names:
        raise ValueError(f"class_names must not be empty, got {names}")
    if len(set(names)) < len(names):
        raise ValueError(f"class_names must be distinct, got {Counter(names).most_common(1)[0][0]!r} more than once")
    if num_classes is not None and len(names) != num_classes:
        raise ValueError(f"class_names must have one name for each of the {num_classes} classes, got {len(names)}")
    return names


def samples(targets: Any) -> Iterator[Any]:
    """Return the samples of a list, a tuple or a data set, which ends at its length if it has one."""
    is_iterable = hasattr(type(targets), "__iter__")
    if isinstance(targets, Dataset) and isinstance(targets, Sized) and not is_iterable:  # would end at an IndexError
        return (targets[index] for index in range(len(targets)))
    return iter(targets)


def string_labels(targets: Any) -> list[str] | None:
    """Return string labels as Python strings, or None if the targets are not strings.

    Bytes (numpy's dtype "S") are decoded as UTF-8.

    Raises:
        TypeError: If some of the labels are strings and some are not.
        ValueError: If the labels are not 1-D, not UTF-8 or empty.
    """
    if isinstance(targets, np.ndarray) and targets.dtype.kind in "SUTO":
        if targets.ndim != 1:
            raise ValueError(f"targets must be 1-D, one label per sample, got shape {targets.shape}")
        try:
            labels = [label.decode() if isinstance(label, bytes) else label for label in targets.tolist()]
        except UnicodeDecodeError as error:
            raise ValueError(f"targets must be text in UTF-8, got {error.object!r}") from None
    elif isinstance(targets, list | tuple | Dataset):
        labels = [str(label) if isinstance(label, str) else label for label in samples(targets)]  # numpy's become str
    else:
        return None
    if not any(isinstance(label, str) for label in labels):
        return None
    for sample, label in enumerate(labels):
        if not isinstance(label, str):
            raise TypeError(f"targets must be all strings or all integers, got {label!r} for sample {sample}")
        if not label:
            raise ValueError(f"targets must be class names or integers, got an empty string for sample {sample}")
    return labels


def label_indices(labels: list[str], class_names: tuple[str, ...]) -> Tensor:
    """Return string labels as the indices of their names."""
    index_of = {name: index for index, name in enumerate(class_names)}
    if unknown := next((label for label in labels if label not in index_of), None):
        raise ValueError(f"targets must be among the class names {shortened(class_names)}, got {unknown!r}")
    return torch.tensor([index_of[label] for label in labels], device="cpu")


def shortened(class_names: tuple[str, ...]) -> str:
    """Return class names as text, of many the first three and the last."""
    if len(class_names) <= MOST_NAMES:
        return repr(class_names)
    return f"({', '.join(map(repr, class_names[:3]))}, ..., {class_names[-1]!r})"
