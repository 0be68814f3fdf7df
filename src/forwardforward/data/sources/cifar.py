"""CIFAR-10 and CIFAR-100, from the binary release or, by torchvision, from the pickled one."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forwardforward.data.sources._extras import import_extra
from forwardforward.data.sources._official import download_files, last_as_validation
from forwardforward.data.splits import Splits
from forwardforward.data.tensors import TensorData

__all__ = ["cifar10", "cifar100"]

SHAPE = (3, 32, 32)
PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class _Release:
    """How a set is stored: labels, then 3,072 pixels for each image in the binary files; pickles in the other form."""

    name: str
    num_classes: int
    label_bytes: int  # the last one is the label; CIFAR-100 has one of 20 groups of classes before it
    binary_folder: str
    train_files: tuple[str, ...]
    train_images: int  # in each of these files
    test_file: str
    test_images: int
    class_name: str  # torchvision's, for the pickled form
    pickled_folder: str


CIFAR10 = _Release(
    name="cifar10",
    num_classes=10,
    label_bytes=1,
    binary_folder="cifar-10-batches-bin",
    train_files=tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    train_images=10_000,
    test_file="test_batch.bin",
    test_images=10_000,
    class_name="CIFAR10",
    pickled_folder="cifar-10-batches-py",
)
CIFAR100 = _Release(
    name="cifar100",
    num_classes=100,
    label_bytes=2,
    binary_folder="cifar-100-binary",
    train_files=("train.bin",),
    train_images=50_000,
    test_file="test.bin",
    test_images=10_000,
    class_name="CIFAR100",
    pickled_folder="cifar-100-python",
)


def cifar10(data_dir: Path, download: bool) -> Splits:
    """Photographs of ten classes, shape (3, 32, 32).

    Read from the binary release in ``data_dir/cifar-10-batches-bin`` where it is complete, which needs no other
    package, else from the pickled one in ``data_dir/cifar-10-batches-py``, which is also what is downloaded.
    Files of the binary release with more or fewer images than the official ones are read with a warning.

    Source: A. Krizhevsky, Learning multiple layers of features from tiny images, 2009.
    """
    return _load(CIFAR10, data_dir, download)


def cifar100(data_dir: Path, download: bool) -> Splits:
    """Photographs of a hundred classes, shape (3, 32, 32), with the fine labels.

    Read as CIFAR-10 is, from ``data_dir/cifar-100-binary`` or ``data_dir/cifar-100-python``.

    Source: A. Krizhevsky, Learning multiple layers of features from tiny images, 2009.
    """
    return _load(CIFAR100, data_dir, download)


def _load(release: _Release, data_dir: Path, download: bool) -> Splits:
    folder = data_dir / release.binary_folder
    missing = [file for file in (*release.train_files, release.test_file) if not (folder / file).is_file()]
    if missing:
        train, test = _pickled(release, data_dir, download, missing)
    else:
        train, test = (_binary(release, folder, files) for files in (release.train_files, (release.test_file,)))
    # A tenth is the customary 5,000 of 50,000.
    return last_as_validation(release.name, data_dir, train, test, fraction=10)


def _binary(release: _Release, folder: Path, files: tuple[str, ...]) -> TensorData:
    records = np.concatenate([_records(release, folder / file) for file in files])
    images = records[:, release.label_bytes :].reshape(-1, *SHAPE)
    try:
        return TensorData(images, records[:, release.label_bytes - 1], release.num_classes)
    except ValueError as error:
        raise ValueError(f"{', '.join(files)} in {folder}: damaged ({error}); delete them to start anew") from error


def _records(release: _Release, path: Path) -> NDArray[np.uint8]:
    size = release.label_bytes + PIXELS
    content = np.fromfile(path, np.uint8)
    if len(content) == 0 or len(content) % size:
        raise ValueError(
            f"{path} is damaged: it must hold {size} bytes an image, got {len(content)} bytes; delete it to start anew"
        )
    count = len(content) // size
    official = release.test_images if path.name == release.test_file else release.train_images
    if count != official:
        warnings.warn(
            f"{path} may be damaged: it holds {count:,} images, where the official file has {official:,}; "
            "delete it to start anew, unless it is meant so",
            stacklevel=2,
        )
    return content.reshape(-1, size)


def _pickled(
    release: _Release, data_dir: Path, download: bool, missing_binary: list[str]
) -> tuple[TensorData, TensorData]:
    folder = data_dir / release.pickled_folder
    if not download and not folder.is_dir():
        raise FileNotFoundError(
            f"the data set {release.name!r} is not in {data_dir}: found neither the folder {release.pickled_folder} "
            f"nor {', '.join(missing_binary)} in {release.binary_folder}; pass download=True to download it"
        )
    dataset = getattr(import_extra("torchvision.datasets", release.name, "torchvision", "vision"), release.class_name)
    files = [file for file, _ in (*dataset.train_list, *dataset.test_list)] + [dataset.meta["filename"]]
    missing = [file for file in files if not (folder / file).is_file()]
    if missing and not download:
        raise FileNotFoundError(
            f"the data set {release.name!r} is not in {folder}: found no {', '.join(missing)}; "
            f"pass download=True to download it"
        )
    if missing:
        by_hand = (
            f"the files {', '.join((*release.train_files, release.test_file))} of the binary release "
            f"into DIR/{release.binary_folder}"
        )
        download_files(release.name, lambda: dataset(str(data_dir), download=True), by_hand)
    train, test = (_read_pickled(release, dataset, data_dir, train) for train in (True, False))
    return train, test


def _read_pickled(release: _Release, dataset: Any, data_dir: Path, train: bool) -> TensorData:
    try:
        # torchvision compares checksums before it unpickles, so a file that is not the official one runs nothing.
        part = dataset(str(data_dir), train=train)
        return TensorData(part.data.transpose(0, 3, 1, 2), np.asarray(part.targets), release.num_classes)
    except (EOFError, KeyError, IndexError, RuntimeError, TypeError, ValueError) as error:
        folder = data_dir / release.pickled_folder
        raise ValueError(f"the files in {folder} are damaged: {error!r}; delete them to start anew") from error
