"""Two digits side by side: several labels per image, made of the digits of scikit-learn without a download."""

from __future__ import annotations

from pathlib import Path

import torch

from forwardforward.data.sources._official import DIGITS
from forwardforward.data.sources.digits import digits
from forwardforward.data.splits import Splits
from forwardforward.data.tensors import TensorData

__all__ = ["digit_pairs"]

#: Number of pairs of the training, validation and test split.
SIZES = (2000, 500, 500)
SEED = 1797  # random seed of the pairs; changing it changes the data set


def digit_pairs(data_dir: Path, download: bool) -> Splits:
    """Return pairs of the 8x8 digits, shape (1, 8, 16), with one label per digit: whether it is one of the two.

    The digits of a pair are drawn at random from one split of the data set ``digits``, so that no digit of the test
    pairs occurs in the training pairs.
    """
    singles = digits(data_dir, download)
    generator = torch.Generator().manual_seed(SEED)
    train, validation, test = (
        _pairs(part, count, generator)
        for part, count in zip((singles.train, singles.validation, singles.test), SIZES, strict=True)
    )
    return Splits("digit-pairs", train, validation, test, num_classes=singles.num_classes, input_shape=(1, 8, 16))


def _pairs(data: TensorData, count: int, generator: torch.Generator) -> TensorData:
    assert data.targets is not None
    left, right = torch.randint(len(data), (2, count), generator=generator, device="cpu")
    images = torch.cat([data.inputs[left], data.inputs[right]], dim=3)
    classes = torch.stack([data.targets[left], data.targets[right]], dim=1)
    labels = torch.zeros(count, data.num_classes, dtype=torch.bool).scatter(1, classes, True)
    return TensorData(images, labels, class_names=DIGITS)
