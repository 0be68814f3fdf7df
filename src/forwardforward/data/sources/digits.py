"""The 8x8 digits of scikit-learn: small enough for tests and first steps, no download."""

from __future__ import annotations

from pathlib import Path

from forwardforward.data.sources._extras import import_extra
from forwardforward.data.splits import Splits, stratified
from forwardforward.data.tensors import TensorData

__all__ = ["digits"]

SIZES = (1077, 360, 360)
SEED = 1797  # of the split; changing it changes the data set


def digits(data_dir: Path, download: bool) -> Splits:
    """1,797 digits, shape (1, 8, 8), scaled from 0..16 to [0, 1]; needs no folder and no download.

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
    Repository, 1998 (its test part, as in :func:`sklearn.datasets.load_digits`).
    """
    bunch = import_extra("sklearn.datasets", "digits", "scikit-learn", "data").load_digits()
    data = TensorData(bunch.images[:, None] / 16, bunch.target, num_classes=10)
    return stratified("digits", data, SIZES, SEED)
