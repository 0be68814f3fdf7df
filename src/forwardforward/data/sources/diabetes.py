"""The diabetes data of scikit-learn: regression on ten features, no download."""

from __future__ import annotations

from pathlib import Path

from forwardforward._utils.extras import import_extra
from forwardforward.data.splits import Splits, stratified
from forwardforward.data.tensors import TensorData

__all__ = ["diabetes"]

SIZES = (264, 89, 89)
SEED = 442  # random seed of the split; changing it changes the data set


def diabetes(data_dir: Path, download: bool) -> Splits:
    """Return 442 patients: ten features in their own units, and the progression of the disease after one year.

    Source: Efron et al., Least Angle Regression (2004), as in :func:`sklearn.datasets.load_diabetes`.
    """
    bunch = import_extra("sklearn.datasets", "the data set 'diabetes'", "scikit-learn").load_diabetes(scaled=False)
    return stratified("diabetes", TensorData(bunch.data, bunch.target), SIZES, SEED)
