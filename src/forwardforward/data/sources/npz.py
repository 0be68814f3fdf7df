"""A user's own data in an ``.npz`` file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from forwardforward._utils.arrays import is_channels_last, read_arrays
from forwardforward.data.class_names import string_labels
from forwardforward.data.splits import Splits, stratified
from forwardforward.data.tensors import TensorData

__all__ = ["npz"]

OFFICIAL = ("x_train", "y_train", "x_test", "y_test")
SINGLE = ("x", "y")
FRACTIONS = (0.6, 0.2, 0.2)
SEED = 0  # random seed of the split, the same for every file


def npz(path: Path) -> Splits:
    """Return splits of the arrays x_train, y_train, x_test and y_test, or x and y.

    Args:
        path: The file; :func:`forwardforward.data.load` documents the arrays.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it is not an ``.npz`` file, arrays are missing, or they are not inputs and labels.
        TypeError: If an array has the wrong type.
    """
    arrays = read_arrays(path, OFFICIAL, SINGLE)
    labels = [f"y{name[1:]}" for name in arrays if name.startswith("x")]
    _check_labels(path, {name: arrays[name] for name in labels})
    if set(arrays) == set(SINGLE):
        return _stratified(path, _tensor_data(path, arrays, "x", "y", None), FRACTIONS)
    class_names = _shared_class_names(path, arrays["y_train"], arrays["y_test"])
    train = _tensor_data(path, arrays, "x_train", "y_train", class_names)
    test = _tensor_data(path, arrays, "x_test", "y_test", class_names)
    if train.input_shape != test.input_shape:
        raise ValueError(
            f"{path}: x_train and x_test must have inputs of the same shape, "
            f"got {train.input_shape} and {test.input_shape}"
        )
    num_classes = train.num_classes if class_names else _num_classes(train, test)
    train, test = (
        TensorData(data.inputs, data.targets, num_classes, class_names=class_names) for data in (train, test)
    )
    validation_size = len(train) // 6
    return _stratified(path, train, (len(train) - validation_size, validation_size), test)


def _num_classes(train: TensorData, test: TensorData) -> int:
    """Return the number of classes of both parts, either of which may leave out some."""
    assert train.targets is not None
    assert test.targets is not None
    labels = torch.cat((train.targets, test.targets))
    return TensorData(torch.zeros(len(labels), 1), labels).num_classes


def _shared_class_names(path: Path, y_train: NDArray[Any], y_test: NDArray[Any]) -> tuple[str, ...] | None:
    """Return the sorted distinct strings of both arrays, None if they contain integers."""
    try:
        train, test = string_labels(y_train), string_labels(y_test)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if train is None and test is None:
        return None
    if train is None or test is None:
        raise TypeError(
            f"{path}: y_train and y_test must both be strings or both be integers, "
            f"got {y_train.dtype} and {y_test.dtype}"
        )
    return tuple(sorted({*train, *test}))


def _tensor_data(
    path: Path, arrays: dict[str, NDArray[Any]], x_name: str, y_name: str, class_names: tuple[str, ...] | None
) -> TensorData:
    x, y = arrays[x_name], arrays[y_name]
    if x.ndim not in (2, 3, 4):
        raise ValueError(
            f"{path}: {x_name} must have shape (N, D), (N, H, W), (N, C, H, W) or (N, H, W, C), got {x.shape}"
        )
    if x.dtype.kind in "biu" and x.dtype != np.uint8:
        raise TypeError(
            f"{path}: {x_name} must be uint8 (0 to 255) or floating-point, got {x.dtype}; {_remedy(x_name, x)}"
        )
    if x.ndim == 3:
        x = x[:, None]
    elif is_channels_last(x.shape):
        x = x.transpose(0, 3, 1, 2)
    try:
        return TensorData(x, y, class_names=class_names)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{path}, inputs={x_name}, targets={y_name}: {error}") from None


def _remedy(name: str, x: NDArray[Any]) -> str:
    """Return how to save integers as a type that is accepted."""
    if x.size and x.dtype != bool and x.min() >= 0 and x.max() <= 255:
        return f"its values are from 0 to 255: save {name}.astype('uint8')"
    return f"save {name}.astype('float32'), divided by the largest possible value"


def _check_labels(path: Path, labels: dict[str, NDArray[Any]]) -> None:
    """Check that labels are strings or integers from 0, and name the remedy if they are not."""
    for name, y in labels.items():
        message = f"{path}: {name} must contain one string or one integer from 0 per sample, got"
        if y.ndim == 2 and y.shape[1] > 1 and y.dtype.kind in "biuf":
            raise ValueError(f"{message} shape {y.shape}; of scores or one-hot labels, save {name}.argmax(1)")
        if y.ndim != 1:
            remedy = f"; save {name}.reshape(-1)" if y.ndim and y.size and y.size == len(y) else ""
            raise ValueError(f"{message} shape {y.shape}{remedy}")
        if y.dtype.kind in "bf":
            is_whole = y.dtype.kind == "b" or bool((y == np.floor(y)).all())
            remedy = f"; save {name}.astype('int64')" if is_whole else ", which are no classes"
            raise TypeError(f"{message} {y.dtype}{remedy}")
    numbers = [y for y in labels.values() if y.size and y.dtype.kind in "iu"]
    if len(numbers) == len(labels) and (lowest := min(int(y.min()) for y in numbers)) != 0:
        example = f"{next(iter(labels))} - {lowest}" if lowest == 1 else "numpy.unique(y, return_inverse=True)[1]"
        raise ValueError(
            f"{path}: {' and '.join(labels)} must count classes from 0, got labels from {lowest}; save {example}"
        )


def _stratified(
    path: Path, data: TensorData, sizes: tuple[int, ...] | tuple[float, ...], test: TensorData | None = None
) -> Splits:
    try:
        return stratified(path.stem, data, sizes, SEED, test)
    except ValueError as error:
        raise ValueError(f"{path} is too small to split: {error}") from None
