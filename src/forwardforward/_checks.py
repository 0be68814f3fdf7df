"""Checks of numbers that many constructors share."""

from __future__ import annotations


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
