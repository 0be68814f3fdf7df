"""MNIST and Fashion-MNIST, read by torchvision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from forwardforward.data.sources._extras import import_extra
from forwardforward.data.sources._official import DIGITS, download_files, last_as_validation
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


def mnist(data_dir: Path, download: bool) -> Splits:
    """Return handwritten digits, shape (1, 28, 28), from the idx files in ``data_dir/MNIST/raw``.

    Source: Y. LeCun, C. Cortes and C. Burges, The MNIST database of handwritten digits, 1998.
    """
    return _load("mnist", "MNIST", DIGITS, data_dir, download)


def fashion_mnist(data_dir: Path, download: bool) -> Splits:
    """Return images of clothes, shape (1, 28, 28), from the idx files in ``data_dir/FashionMNIST/raw``.

    Source: H. Xiao, K. Rasul and R. Vollgraf, Fashion-MNIST, arXiv:1708.07747, 2017.
    """
    return _load("fashion-mnist", "FashionMNIST", CLOTHES, data_dir, download)


def _load(name: str, dataset_name: str, class_names: tuple[str, ...], data_dir: Path, download: bool) -> Splits:
    dataset = getattr(import_extra("torchvision.datasets", name, "torchvision", "vision"), dataset_name)
    _ensure_files(name, dataset, data_dir, download)
    train, test = (_read(dataset, class_names, data_dir, train) for train in (True, False))
    # A sixth gives the usual 10,000 of 60,000.
    return last_as_validation(name, data_dir, train, test, fraction=6)


def _ensure_files(name: str, dataset: Any, data_dir: Path, download: bool) -> None:
    folder = data_dir / dataset.__name__ / "raw"
    files = [url.removesuffix(".gz") for url, _ in dataset.resources]
    missing = [file for file in files if not (folder / file).is_file()]
    if not missing:
        return
    if not download:
        raise FileNotFoundError(
            f"the data set {name!r} is not in {folder}: missing {', '.join(missing)} "
            f"(unpacked, without .gz); pass download=True to download it"
        )
    instructions = f"the unpacked files {', '.join(files)} into DIR/{dataset.__name__}/raw"
    download_files(name, lambda: dataset(str(data_dir), download=True), instructions)


def _read(dataset: Any, class_names: tuple[str, ...], data_dir: Path, train: bool) -> TensorData:
    try:
        images = dataset(str(data_dir), train=train)
        return TensorData(images.data.unsqueeze(1), images.targets, class_names=class_names)
    except (AssertionError, EOFError, KeyError, IndexError, RuntimeError, TypeError, ValueError) as error:
        folder = data_dir / dataset.__name__ / "raw"
        part = "train" if train else "t10k"
        raise ValueError(
            f"the {part}-* files in {folder} are corrupted: {error!r}; delete them to download them again"
        ) from error
