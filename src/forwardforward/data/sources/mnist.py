"""MNIST and Fashion-MNIST, in the idx format."""

from __future__ import annotations

import gzip
import math
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forwardforward._utils.files import replacing
from forwardforward.data.sources._official import DIGITS, download_file, download_files, last_as_validation
from forwardforward.data.splits import Splits
from forwardforward.data.tensors import TensorData

__all__ = ["fashion_mnist", "mnist"]

CLOTHES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


@dataclass(frozen=True)
class _Release:
    """Files of a data set: images and labels of the training and of the test set."""

    name: str
    folder: str
    class_names: tuple[str, ...]
    url: str
    sha256: tuple[str, str, str, str]  # of the compressed files, in the order of FILES


FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
MNIST = _Release(
    name="mnist",
    folder="MNIST",
    class_names=DIGITS,
    url="https://ossci-datasets.s3.amazonaws.com/mnist",
    sha256=(
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ),
)
FASHION_MNIST = _Release(
    name="fashion-mnist",
    folder="FashionMNIST",
    class_names=CLOTHES,
    url="https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
    sha256=(
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
)


def mnist(data_dir: Path, download: bool) -> Splits:
    """Return handwritten digits, shape (1, 28, 28), from the idx files in ``data_dir/MNIST/raw``.

    Source: Y. LeCun, C. Cortes and C. Burges, The MNIST database of handwritten digits, 1998.
    """
    return _load(MNIST, data_dir, download)


def fashion_mnist(data_dir: Path, download: bool) -> Splits:
    """Return images of clothes, shape (1, 28, 28), from the idx files in ``data_dir/FashionMNIST/raw``.

    Source: H. Xiao, K. Rasul and R. Vollgraf, Fashion-MNIST, arXiv:1708.07747, 2017.
    """
    return _load(FASHION_MNIST, data_dir, download)


def _load(release: _Release, data_dir: Path, download: bool) -> Splits:
    folder = data_dir / release.folder / "raw"
    _ensure_files(release, folder, download)
    train, test = (_read(release, folder, part) for part in ("train", "t10k"))
    # A sixth gives the usual 10,000 of 60,000.
    return last_as_validation(release.name, data_dir, train, test, fraction=6)


def _ensure_files(release: _Release, folder: Path, download: bool) -> None:
    missing = [file for file in FILES if not (folder / file).is_file()]
    if not missing:
        return
    if not download:
        raise FileNotFoundError(
            f"the data set {release.name!r} is not in {folder}: missing {', '.join(missing)} "
            f"(unpacked, without .gz); pass download=True to download it"
        )
    instructions = f"the unpacked files {', '.join(FILES)} into DIR/{release.folder}/raw"
    download_files(release.name, lambda: _download(release, folder, missing), instructions)


def _download(release: _Release, folder: Path, missing: list[str]) -> None:
    for name, sha256 in zip(FILES, release.sha256, strict=True):
        if name in missing:
            archive = folder / f"{name}.gz"
            download_file(f"{release.url}/{name}.gz", sha256, archive)
            with gzip.open(archive) as source, replacing(folder / name, "wb") as file:
                shutil.copyfileobj(source, file)
            archive.unlink()


def _read(release: _Release, folder: Path, part: str) -> TensorData:
    try:
        images, labels = _idx(folder / f"{part}-images-idx3-ubyte", 3), _idx(folder / f"{part}-labels-idx1-ubyte", 1)
        return TensorData(images[:, None], labels, class_names=release.class_names)
    except ValueError as error:
        raise ValueError(
            f"the {part}-* files in {folder} are corrupted: {error}; delete them to download them again"
        ) from error


def _idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Return the array of an idx file: a magic number with type and dimensions, the shape, and the values."""
    content = np.fromfile(path, np.uint8)
    header = 4 + 4 * dimensions
    if len(content) < header or content[:4].tolist() != [0, 0, 8, dimensions]:
        raise ValueError(f"{path.name} is not an idx file of bytes in {dimensions} dimensions")
    shape = tuple(content[4:header].view(">u4").tolist())
    if math.prod(shape) != len(content) - header:
        raise ValueError(
            f"{path.name} of shape {shape} must have {math.prod(shape)} values, got {len(content) - header}"
        )
    return content[header:].reshape(shape)
