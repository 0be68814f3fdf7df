"""What sources with an official test set share: the download, and a validation part off the training images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from forwardforward.data.splits import Splits
from forwardforward.data.tensors import TensorData


def download_files(data_set: str, download: Callable[[], object], by_hand: str) -> None:
    """Call ``download``, or raise a ``ConnectionError`` that says where to put the files by hand."""
    try:
        download()
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ConnectionError(
            f"could not download the data set {data_set!r} ({reason}); without a network, put {by_hand} "
            f"and pass data_dir=DIR"
        ) from error


def last_as_validation(data_set: str, data_dir: Path, train: TensorData, test: TensorData, fraction: int) -> Splits:
    """Splits whose validation part is the last ``1 / fraction`` of the official training images, rounded down."""
    border = len(train) - len(train) // fraction
    if border == len(train):
        raise ValueError(
            f"the data set {data_set!r} in {data_dir} must have {fraction} training images or more, got {len(train)}"
        )
    return Splits(data_set, train[:border], train[border:], test, train.num_classes, train.input_shape)
