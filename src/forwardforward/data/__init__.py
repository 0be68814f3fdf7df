"""Data sets as tensors with fixed splits, their sources, augmentation, pretexts, and texts."""

from forwardforward.data import pretexts, text
from forwardforward.data.augmentation import (
    Augmentation,
    Compose,
    Cutout,
    RandomCrop,
    RandomFlip,
    RandomRotation,
)
from forwardforward.data.batching import Source
from forwardforward.data.kornia import Kornia
from forwardforward.data.mixing import CutMix, Mixup
from forwardforward.data.sources import available, load, unlabeled_texts
from forwardforward.data.splits import Splits, split
from forwardforward.data.tensors import TensorData

__all__ = [
    "Augmentation",
    "Compose",
    "CutMix",
    "Cutout",
    "Kornia",
    "Mixup",
    "RandomCrop",
    "RandomFlip",
    "RandomRotation",
    "Source",
    "Splits",
    "TensorData",
    "available",
    "load",
    "pretexts",
    "split",
    "text",
    "unlabeled_texts",
]
