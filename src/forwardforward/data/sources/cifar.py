"""CIFAR-10 and CIFAR-100, from the binary release or, with torchvision, from the pickled release."""

from __future__ import annotations

import shutil
import tarfile
import warnings
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forwardforward._utils.extras import import_extra
from forwardforward._utils.files import replacing
from forwardforward.data.class_names import check_class_names
from forwardforward.data.sources._official import download_file, download_files, last_as_validation
from forwardforward.data.splits import Splits
from forwardforward.data.tensors import TensorData

__all__ = ["cifar10", "cifar100"]

SHAPE = (3, 32, 32)
PIXELS = 3 * 32 * 32
URL = "https://www.cs.toronto.edu/~kriz"
FINE_NAMES = "fine_label_names.txt"  # one name per line
ANIMALS_AND_VEHICLES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)


@dataclass(frozen=True)
class _Release:
    """Files of a data set.

    A record of the binary files contains the labels of an image, then its 3,072 pixels.
    """

    name: str
    num_classes: int
    class_names: tuple[str, ...] | None  # None: read from the release's files
    label_bytes: int  # the last byte is the label; in CIFAR-100, the byte before it is the coarse label
    binary_folder: str
    train_files: tuple[str, ...]
    train_images: int  # per file
    test_file: str
    test_images: int
    archive: str
    sha256: str
    torchvision_class: str
    pickled_folder: str


CIFAR10 = _Release(
    name="cifar10",
    num_classes=10,
    class_names=ANIMALS_AND_VEHICLES,
    label_bytes=1,
    binary_folder="cifar-10-batches-bin",
    train_files=tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    train_images=10_000,
    test_file="test_batch.bin",
    test_images=10_000,
    archive="cifar-10-binary.tar.gz",
    sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    torchvision_class="CIFAR10",
    pickled_folder="cifar-10-batches-py",
)
CIFAR100 = _Release(
    name="cifar100",
    num_classes=100,
    class_names=None,
    label_bytes=2,
    binary_folder="cifar-100-binary",
    train_files=("train.bin",),
    train_images=50_000,
    test_file="test.bin",
    test_images=10_000,
    archive="cifar-100-binary.tar.gz",
    sha256="58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
    torchvision_class="CIFAR100",
    pickled_folder="cifar-100-python",
)


def cifar10(data_dir: Path, download: bool) -> Splits:
    """Return photographs of ten classes, shape (3, 32, 32).

    They are read from the binary release in ``data_dir/cifar-10-batches-bin`` if it is complete, which needs no other
    package and is also the one that is downloaded, else from the pickled release in ``data_dir/cifar-10-batches-py``. A
    file of the binary release with more or fewer images than the official file causes a warning.

    Source: A. Krizhevsky, Learning multiple layers of features from tiny images, 2009.
    """
    return _load(CIFAR10, data_dir, download)


def cifar100(data_dir: Path, download: bool) -> Splits:
    """Return photographs of a hundred classes, shape (3, 32, 32), with the fine labels.

    They are read in the same way as CIFAR-10, from ``data_dir/cifar-100-binary`` or ``data_dir/cifar-100-python``. The
    class names come from ``fine_label_names.txt`` or ``meta`` in that folder; the binary release may lack them.

    Source: A. Krizhevsky, Learning multiple layers of features from tiny images, 2009.
    """
    return _load(CIFAR100, data_dir, download)


def _load(release: _Release, data_dir: Path, download: bool) -> Splits:
    folder = data_dir / release.binary_folder
    missing = _missing(release, folder)
    pickled = data_dir / release.pickled_folder
    if missing and download and not pickled.is_dir():
        files = ", ".join((*release.train_files, release.test_file))
        instructions = f"the files {files} of the binary release into DIR/{release.binary_folder}"
        download_files(release.name, lambda: _download(release, data_dir), instructions)
        missing = _missing(release, folder)
    if missing:
        train, test = _pickled(release, data_dir, missing)
    else:
        names = _binary_class_names(release, folder)
        train, test = (_binary(release, folder, files, names) for files in (release.train_files, (release.test_file,)))
    # A tenth gives the usual 5,000 of 50,000.
    return last_as_validation(release.name, data_dir, train, test, fraction=10)


def _missing(release: _Release, folder: Path) -> list[str]:
    return [file for file in (*release.train_files, release.test_file) if not (folder / file).is_file()]


def _download(release: _Release, data_dir: Path) -> None:
    """Download the binary release, and unpack its files of images and names."""
    archive, folder = data_dir / release.archive, data_dir / release.binary_folder
    download_file(f"{URL}/{release.archive}", release.sha256, archive)
    folder.mkdir(exist_ok=True)
    files = {*release.train_files, release.test_file, FINE_NAMES}
    with tarfile.open(archive) as tar:
        for member in tar:
            name = PurePosixPath(member.name).name  # no path of an archive is used
            source = tar.extractfile(member) if name in files else None
            if source is not None:
                with source, replacing(folder / name, "wb") as file:
                    shutil.copyfileobj(source, file)
    archive.unlink()


def _binary_class_names(release: _Release, folder: Path) -> tuple[str, ...] | None:
    path = folder / FINE_NAMES
    if release.class_names is not None or not path.is_file():
        return release.class_names
    try:
        return check_class_names(path.read_text(encoding="utf-8").split(), release.num_classes)
    except ValueError as error:
        raise ValueError(f"{path} is corrupted: {error}; delete it to load without class names") from error


def _binary(release: _Release, folder: Path, files: tuple[str, ...], class_names: tuple[str, ...] | None) -> TensorData:
    records = np.concatenate([_records(release, folder / file) for file in files])
    images = records[:, release.label_bytes :].reshape(-1, *SHAPE)
    try:
        return TensorData(images, records[:, release.label_bytes - 1], release.num_classes, class_names=class_names)
    except ValueError as error:
        raise ValueError(
            f"{', '.join(files)} in {folder} are corrupted: {error}; delete them to download them again"
        ) from error


def _records(release: _Release, path: Path) -> NDArray[np.uint8]:
    size = release.label_bytes + PIXELS
    content = np.fromfile(path, np.uint8)
    if len(content) == 0 or len(content) % size:
        raise ValueError(
            f"{path} is corrupted: it must have {size} bytes per image, got {len(content)} bytes; "
            "delete it to download it again"
        )
    count = len(content) // size
    official = release.test_images if path.name == release.test_file else release.train_images
    if count != official:
        warnings.warn(
            f"{path} may be corrupted: it has {count:,} images, the official file has {official:,}; "
            "delete it to download it again, or ignore this warning if it was changed on purpose",
            stacklevel=2,
        )
    return content.reshape(-1, size)


def _pickled(release: _Release, data_dir: Path, missing_binary: list[str]) -> tuple[TensorData, TensorData]:
    folder = data_dir / release.pickled_folder
    if not folder.is_dir():
        raise FileNotFoundError(
            f"the data set {release.name!r} is not in {data_dir}: missing the folder {release.pickled_folder}, and "
            f"{', '.join(missing_binary)} in {release.binary_folder}; pass download=True to download it"
        )
    datasets = import_extra("torchvision.datasets", f"the data set {release.name!r}", "torchvision")
    dataset = getattr(datasets, release.torchvision_class)
    files = [file for file, _ in (*dataset.train_list, *dataset.test_list)] + [dataset.meta["filename"]]
    missing = [file for file in files if not (folder / file).is_file()]
    if missing:
        raise FileNotFoundError(
            f"the data set {release.name!r} is not in {folder}: missing {', '.join(missing)}; "
            f"delete the folder and pass download=True to download it"
        )
    train, test = (_read_pickled(release, dataset, data_dir, train) for train in (True, False))
    return train, test


def _read_pickled(release: _Release, dataset: Any, data_dir: Path, train: bool) -> TensorData:
    try:
        # torchvision compares checksums before it unpickles, so code in an unofficial file never runs.
        images = dataset(str(data_dir), train=train)
        inputs, targets = images.data.transpose(0, 3, 1, 2), np.asarray(images.targets)
        return TensorData(inputs, targets, release.num_classes, class_names=release.class_names or images.classes)
    except MemoryError:
        raise
    except Exception as error:  # unpickling a corrupted file raises many kinds of errors
        folder = data_dir / release.pickled_folder
        raise ValueError(
            f"the files in {folder} are corrupted: {error!r}; delete them to download them again"
        ) from error
