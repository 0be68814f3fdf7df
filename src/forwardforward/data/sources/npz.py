"""A user's own data in an ``.npz`` file."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forwardforward.data.splits import Splits, stratified
from forwardforward.data.tensors import TensorData

__all__ = ["npz"]

OFFICIAL = ("x_train", "y_train", "x_test", "y_test")
WHOLE = ("x", "y")
FRACTIONS = (0.6, 0.2, 0.2)
SEED = 0  # of the split, the same for every file


def npz(path: Path) -> Splits:
    """Splits from the arrays x_train, y_train, x_test and y_test, or x and y; :func:`load` says of what form.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not an ``.npz`` file, arrays are missing or do not hold data and labels.
        TypeError: arrays are of a wrong type.
    """
    arrays = _read(path)
    if set(arrays) == set(WHOLE):
        data = _tensor_data(path, arrays, "x", "y")
        return _stratified(path, data, FRACTIONS)
    train = _tensor_data(path, arrays, "x_train", "y_train")
    test = _tensor_data(path, arrays, "x_test", "y_test")
    if train.input_shape != test.input_shape:
        raise ValueError(
            f"{path}: x_train and x_test must have inputs of one shape, got {train.input_shape} and {test.input_shape}"
        )
    num_classes = max(train.num_classes, test.num_classes)
    train, test = (TensorData(data.inputs, data.targets, num_classes) for data in (train, test))
    validation_size = len(train) // 6
    return _stratified(path, train, (len(train) - validation_size, validation_size), test)


def _read(path: Path) -> dict[str, NDArray[Any]]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} must be an .npz file (as numpy.savez writes), got something else")
    with np.load(path, allow_pickle=False) as archive:
        names = next((names for names in (OFFICIAL, WHOLE) if set(names) <= set(archive.files)), None)
        if names is None:
            takes = f"{', '.join(OFFICIAL)}, or {', '.join(WHOLE)}"
            raise ValueError(f"{path} must hold the arrays {takes}, got {', '.join(archive.files) or 'none'}")
        return {name: _array(path, archive, name) for name in names}


def _array(path: Path, archive: Any, name: str) -> NDArray[Any]:
    try:
        array = archive[name]
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        # Python objects would have to be unpickled, and unpickling runs whatever the file says.
        raise ValueError(f"{path}: {name} must be an array of numbers, got objects or damaged bytes") from error
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{path}: {name} must be an array, got a file of another kind")
    return array


def _tensor_data(path: Path, arrays: dict[str, NDArray[Any]], x_name: str, y_name: str) -> TensorData:
    x, y = arrays[x_name], arrays[y_name]
    if x.ndim not in (2, 3, 4):
        raise ValueError(f"{path}: {x_name} must have shape (N, D), (N, H, W) or (N, C, H, W), got {x.shape}")
    try:
        return TensorData(x[:, None] if x.ndim == 3 else x, y)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{path}, inputs={x_name}, targets={y_name}: {error}") from None


def _stratified(
    path: Path, data: TensorData, sizes: tuple[int, ...] | tuple[float, ...], test: TensorData | None = None
) -> Splits:
    try:
        return stratified(path.stem, data, sizes, SEED, test)
    except ValueError as error:
        raise ValueError(f"{path} is too small to split: {error}") from None
