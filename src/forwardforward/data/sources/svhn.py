"""SVHN, the Street View House Numbers, read by torchvision and scipy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from forwardforward.data.sources._extras import import_extra
from forwardforward.data.sources._official import DIGITS, download_files, last_as_validation
from forwardforward.data.splits import Splits
from forwardforward.data.tensors import TensorData

__all__ = ["svhn"]

PARTS = ("train", "test")


def svhn(data_dir: Path, download: bool) -> Splits:
    """Return digits of house numbers, shape (3, 32, 32), from ``data_dir/train_32x32.mat`` and ``test_32x32.mat``.

    Class k is the digit k; in the files, the digit 0 has label 10. The split "extra" is not used.

    Source: Y. Netzer, T. Wang, A. Coates, A. Bissacco, B. Wu and A. Y. Ng, Reading digits in natural images with
    unsupervised feature learning, NIPS workshop on deep learning and unsupervised feature learning, 2011.
    """
    dataset = import_extra("torchvision.datasets", "svhn", "torchvision", "vision").SVHN
    import_extra("scipy.io", "svhn", "scipy", "data")  # fail here: torchvision imports it only after the download
    _ensure_files(dataset, data_dir, download)
    train, test = (_read(dataset, data_dir, part) for part in PARTS)
    return last_as_validation("svhn", data_dir, train, test, fraction=10)


def _ensure_files(dataset: Any, data_dir: Path, download: bool) -> None:
    files = [dataset.split_list[part][1] for part in PARTS]
    missing = [file for file in files if not (data_dir / file).is_file()]
    if not missing:
        return
    if not download:
        raise FileNotFoundError(
            f"the data set 'svhn' is not in {data_dir}: missing {', '.join(missing)}; pass download=True to download it"
        )
    download_files("svhn", lambda: _download(dataset, data_dir), f"the files {', '.join(files)} into DIR")


def _download(dataset: Any, data_dir: Path) -> None:
    for part in PARTS:
        dataset(str(data_dir), split=part, download=True)  # keeps existing files


def _read(dataset: Any, data_dir: Path, part: str) -> TensorData:
    try:
        images = dataset(str(data_dir), split=part)
        return TensorData(images.data, images.labels, class_names=DIGITS)
    except (EOFError, KeyError, IndexError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        path = data_dir / dataset.split_list[part][1]
        raise ValueError(f"{path} is corrupted: {error!r}; delete it to download it again") from error
