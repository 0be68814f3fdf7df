"""SVHN, the Street View House Numbers, read by scipy."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from forwardforward._utils.extras import import_extra
from forwardforward.data.sources._official import DIGITS, download_file, download_files, last_as_validation
from forwardforward.data.splits import Splits
from forwardforward.data.tensors import TensorData

__all__ = ["svhn"]

URL = "https://ufldl.stanford.edu/housenumbers"
SHA256 = {
    "train_32x32.mat": "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
    "test_32x32.mat": "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
}


def svhn(data_dir: Path, download: bool) -> Splits:
    """Return digits of house numbers, shape (3, 32, 32), from ``data_dir/train_32x32.mat`` and ``test_32x32.mat``.

    Class k is the digit k; in the files, the digit 0 has label 10. The split "extra" is not used.

    Source: Y. Netzer, T. Wang, A. Coates, A. Bissacco, B. Wu and A. Y. Ng, Reading digits in natural images with
    unsupervised feature learning, NIPS workshop on deep learning and unsupervised feature learning, 2011.
    """
    import_extra("scipy.io", "the data set 'svhn'", "scipy")  # before the download
    missing = [file for file in SHA256 if not (data_dir / file).is_file()]
    if missing and not download:
        raise FileNotFoundError(
            f"the data set 'svhn' is not in {data_dir}: missing {', '.join(missing)}; pass download=True to download it"
        )
    if missing:
        download_files("svhn", lambda: _download(data_dir, missing), f"the files {', '.join(SHA256)} into DIR")
    train, test = (_read(data_dir / file) for file in SHA256)
    return last_as_validation("svhn", data_dir, train, test, fraction=10)


def _download(data_dir: Path, missing: list[str]) -> None:
    for file in missing:
        download_file(f"{URL}/{file}", SHA256[file], data_dir / file)


def _read(path: Path) -> TensorData:
    try:
        content = import_extra("scipy.io", "the data set 'svhn'", "scipy").loadmat(path, variable_names=("X", "y"))
        labels = content["y"].ravel()
        return TensorData(content["X"].transpose(3, 2, 0, 1), np.where(labels == 10, 0, labels), class_names=DIGITS)
    except MemoryError:
        raise
    except Exception as error:  # scipy raises many kinds of errors for a corrupted file
        raise ValueError(f"{path} is corrupted: {error!r}; delete it to download it again") from error
