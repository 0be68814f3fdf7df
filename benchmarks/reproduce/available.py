"""Whether the files of a data set are at hand, without reading them."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["is_available"]

#: Files below the data folder, any of which is enough, by data set; others need no files.
FILES: dict[str, tuple[str, ...]] = {
    "mnist": ("MNIST/raw/train-images-idx3-ubyte*",),
    "fashion-mnist": ("FashionMNIST/raw/train-images-idx3-ubyte*",),
    "cifar10": ("cifar-10-batches-*/*",),
    "cifar100": ("cifar-100-*/*",),
    "svhn": ("train_32x32.mat",),
    "imdb": ("aclImdb",),
}


def is_available(data: str, data_dir: str | None) -> bool:
    """Return whether a data set can be read from a folder; without one, it may be downloaded.

    Args:
        data: Name of the data set.
        data_dir: Folder of the data sets' files, None for the cache.
    """
    if data_dir is None or data not in FILES:
        return True
    folder = Path(os.path.expanduser(data_dir))
    return any(True for pattern in FILES[data] for _ in folder.glob(pattern))
