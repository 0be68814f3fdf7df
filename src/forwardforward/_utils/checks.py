"""Checks of numbers and shapes that many constructors share."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import SupportsIndex


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


def check_whole(name: str, value: SupportsIndex, least: int | None = None) -> int:
    """Return a whole number as Python's int.

    Raises:
        TypeError: If it is not whole.
        ValueError: If it is below ``least``.
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number, got {value!r}") from None
    if least is not None and number < least:
        raise ValueError(f"{name} must be at least {least}, got {number}")
    return number


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
        TypeError: If it is not whole.
        ValueError: If it is below 2.
    """
    return check_whole("num_classes", num_classes, 2)


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
