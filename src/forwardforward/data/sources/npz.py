"""A user's own data in an ``.npz`` file."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forwardforward.data.splits import Splits, stratified
from forwardforward.data.tensors import TensorData, string_labels

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
    arrays = _read(path)
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
    num_classes = max(train.num_classes, test.num_classes)
    train, test = (
        TensorData(data.inputs, data.targets, num_classes, class_names=class_names) for data in (train, test)
    )
    validation_size = len(train) // 6
    return _stratified(path, train, (len(train) - validation_size, validation_size), test)


def _read(path: Path) -> dict[str, NDArray[Any]]:
    if not path.is_file():
        raise FileNotFoundError(f"file {path} does not exist")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} must be an .npz file (written by numpy.savez), got another format")
    with np.load(path, allow_pickle=False) as archive:
        names = next((names for names in (OFFICIAL, SINGLE) if set(names) <= set(archive.files)), None)
        if names is None:
            expected = f"{', '.join(OFFICIAL)}, or {', '.join(SINGLE)}"
            raise ValueError(f"{path} must contain the arrays {expected}, got {', '.join(archive.files) or 'none'}")
        return {name: _array(path, archive, name) for name in names}


def _array(path: Path, archive: Any, name: str) -> NDArray[Any]:
    try:
        array = archive[name]
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        # Python objects are refused: unpickling them could run arbitrary code.
        raise ValueError(
            f"{path}: {name} must be an array of numbers or strings, got Python objects or corrupted data"
        ) from error
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{path}: {name} must be an array, got another kind of file")
    return array


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
        raise ValueError(f"{path}: {x_name} must have shape (N, D), (N, H, W) or (N, C, H, W), got {x.shape}")
    try:
        return TensorData(x[:, None] if x.ndim == 3 else x, y, class_names=class_names)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{path}, inputs={x_name}, targets={y_name}: {error}") from None


def _stratified(
    path: Path, data: TensorData, sizes: tuple[int, ...] | tuple[float, ...], test: TensorData | None = None
) -> Splits:
    try:
        return stratified(path.stem, data, sizes, SEED, test)
    except ValueError as error:
        raise ValueError(f"{path} is too small to split: {error}") from None
