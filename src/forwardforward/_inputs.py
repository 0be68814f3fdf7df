"""Checks of what users give to a network: images, labels, and what came of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from forwardforward.label_encoders.encoder import check_labels


def check_images(images: Any, looks_up: bool = False) -> None:
    """Refuse what is no batch of images.

    Args:
        images: What the user gave.
        looks_up: Whether the first layer looks its input up, as in a vocabulary.

    Raises:
        TypeError: If it is not a tensor, or of a type that the first layer cannot read.
        ValueError: If it is no batch, or an empty one.
    """
    if not isinstance(images, Tensor) or images.is_floating_point() == looks_up or images.dtype == torch.bool:
        got = images.dtype if isinstance(images, Tensor) else type(images).__name__
        if looks_up:
            raise TypeError(f"images must be a tensor of whole numbers, which the first layer looks up, got {got}")
        raise TypeError(f"images must be a tensor of a float type, got {got}; divide uint8 images by 255")
    if images.dim() < 2:
        raise ValueError(
            f"images must be (batch, ...), such as image[None] for a single one, got {tuple(images.shape)}"
        )
    if not len(images):
        raise ValueError("images must hold at least one image, got none")


def check_labels_of(images: Tensor, labels: Tensor, num_classes: int | None) -> None:
    """Refuse labels that do not fit the images.

    Raises:
        ValueError: If there is not one per image, or one is of no class.
        TypeError: If they are not whole numbers.
    """
    if labels.shape != (len(images),):
        raise ValueError(f"labels must be one per image, ({len(images)},), got {tuple(labels.shape)}")
    if num_classes is not None:
        check_labels(labels, num_classes)


def check_finite(scores: Tensor) -> Tensor:
    """Return scores by which one can classify.

    Raises:
        ValueError: If there is NaN in them.
    """
    if scores.isnan().any():
        raise ValueError("images must give finite scores, got NaN: there is NaN in them or in the weights")
    return scores
