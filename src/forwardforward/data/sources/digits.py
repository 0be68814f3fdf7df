"""The 8x8 digits of scikit-learn: small enough for tests and first steps, no download."""

from __future__ import annotations

from pathlib import Path

from forwardforward._utils.extras import import_extra
from forwardforward.data.sources._official import DIGITS
from forwardforward.data.splits import Splits, stratified
from forwardforward.data.tensors import TensorData

__all__ = ["digits"]

SIZES = (1077, 360, 360)
SEED = 1797  # random seed of the split; changing it changes the data set


def digits(data_dir: Path, download: bool) -> Splits:
    """Return 1,797 digits, shape (1, 8, 8), scaled from 0..16 to [0, 1]; needs neither a folder nor a download.

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
    Repository, 1998 (its test set, as in :func:`sklearn.datasets.load_digits`).
    """
    bunch = import_extra("sklearn.datasets", "the data set 'digits'", "scikit-learn").load_digits()
    data = TensorData(bunch.images[:, None] / 16, bunch.target, class_names=DIGITS)
    return stratified("digits", data, SIZES, SEED)
