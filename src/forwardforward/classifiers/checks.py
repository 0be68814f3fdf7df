"""Checks of what classifiers read and are fitted to."""

from __future__ import annotations

from torch import Tensor

from forwardforward._utils.checks import all_finite, check_labels


def check_goodness(goodness: Tensor) -> None:
    """Check that goodness is ``(batch, layers, classes)``.

    Args:
        goodness: The goodness.

    Raises:
        ValueError: If it has another number of dimensions.
    """
    if goodness.dim() != 3:
        raise ValueError(f"goodness must be (batch, layers, classes), got shape {tuple(goodness.shape)}")


def check_fit(name: str, scores: Tensor, labels: Tensor) -> None:
    """Check scores ``(batch, parts, classes)`` and their labels.

    Args:
        name: Name of the argument ``scores``.
        scores: The scores.
        labels: Classes, ``(batch,)``.

    Raises:
        TypeError: If the labels are not of an integer type.
        ValueError: If the scores have another shape or are not finite, or there is not one label of each sample in
            range.
    """
    if scores.dim() != 3 or not scores.numel():
        raise ValueError(f"{name} must be (batch, parts, classes), got shape {tuple(scores.shape)}")
    if not all_finite(scores):
        raise ValueError(f"{name} must be finite, got NaN or infinity")
    if labels.shape != scores.shape[:1]:
        raise ValueError(f"labels must be one per sample, ({len(scores)},), got {tuple(labels.shape)}")
    check_labels(labels, scores.shape[2])
