"""Shared by the sources with an official test set: download, and a validation split of the training images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from forwardforward.data.splits import Splits
from forwardforward.data.tensors import TensorData

DIGITS = tuple("0123456789")


def download_files(data_set: str, download: Callable[[], object], instructions: str) -> None:
    """Call ``download``.

    Args:
        data_set: Name of the data set.
        download: Downloads the files.
        instructions: Which files to put where without a network, for the error message.

    Raises:
        ConnectionError: If the download fails.
    """
    try:
        download()
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ConnectionError(
            f"could not download the data set {data_set!r} ({reason}); without a network, put {instructions} "
            f"and pass data_dir=DIR"
        ) from error


def last_as_validation(data_set: str, data_dir: Path, train: TensorData, test: TensorData, fraction: int) -> Splits:
    """Return splits whose validation split is the last ``1 / fraction`` of the training images, rounded down.

    Args:
        data_set: Name of the data set.
        data_dir: Folder of the data set, for the error message.
        train: Official training images.
        test: Official test images.
        fraction: Training images per validation image.

    Raises:
        ValueError: If the validation split would be empty.
    """
    border = len(train) - len(train) // fraction
    if border == len(train):
        raise ValueError(
            f"the data set {data_set!r} in {data_dir} must have at least {fraction} training images, got {len(train)}"
        )
    return Splits(data_set, train[:border], train[border:], test, train.num_classes, train.input_shape)
