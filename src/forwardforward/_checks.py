"""Checks of numbers and shapes that many constructors share."""

from __future__ import annotations

from collections.abc import Sequence


class InputShapeError(ValueError):
    """A network takes no inputs of this shape."""


def check_positive(name: str, value: float) -> float:
    """Return ``value``.

    Raises:
        ValueError: If it is not above 0.
    """
    if not value > 0:
        raise ValueError(f"{name} must be positive, got {value}")
    return value


def check_not_negative(name: str, value: float) -> float:
    """Return ``value``.

    Raises:
        ValueError: If it is below 0.
    """
    if not value >= 0:
        raise ValueError(f"{name} must be at least 0, got {value}")
    return value


def check_num_classes(num_classes: int) -> int:
    """Return ``num_classes``.

    Raises:
        ValueError: If it is below 2.
    """
    if num_classes < 2:
        raise ValueError(f"num_classes must be at least 2, got {num_classes}")
    return num_classes


def check_image_shape(input_shape: Sequence[int], what: str) -> None:
    """Refuse inputs that are no images.

    Args:
        input_shape: Shape of one input.
        what: What needs images.

    Raises:
        InputShapeError: If they are of another form.
    """
    if len(input_shape) != 3:
        raise InputShapeError(f"input_shape must be (channels, height, width) for {what}, got {tuple(input_shape)}")
