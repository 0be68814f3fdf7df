"""Checks of arguments."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import SupportsIndex

import torch
from torch import Tensor

__all__ = [
    "InputShapeError",
    "check_finite",
    "check_image_shape",
    "check_labels",
    "check_not_negative",
    "check_num_classes",
    "check_positive",
    "check_saved",
    "check_whole",
    "name_of",
]


class InputShapeError(ValueError):
    """A network does not accept inputs of this shape."""


def name_of(value: object) -> str:
    """Return a short description of an argument, for a message."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return repr(value) if isinstance(value, str) else getattr(value, "__name__", f"an object of {type(value).__name__}")


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


def check_image_shape(input_shape: Sequence[int], consumer: str) -> None:
    """Check that inputs are images.

    Args:
        input_shape: Shape of one input.
        consumer: What needs images, for the message.

    Raises:
        InputShapeError: If the shape is not ``(channels, height, width)``.
    """
    if len(input_shape) != 3:
        raise InputShapeError(f"input_shape must be (channels, height, width) for {consumer}, got {tuple(input_shape)}")


def check_finite(scores: Tensor) -> Tensor:
    """Return scores that can be compared.

    Raises:
        ValueError: If they contain NaN or infinity.
    """
    if not bool(scores.isfinite().all()):
        raise ValueError(
            "scores must be finite, got NaN or infinity: the images or the weights contain NaN or too large values"
        )
    return scores


def check_labels(labels: Tensor, num_classes: int | None) -> None:
    """Check that labels are class indices.

    Args:
        labels: Of any shape.
        num_classes: Number of classes; None for any.

    Raises:
        TypeError: If they are not of an integer type.
        ValueError: If one is negative or at least ``num_classes``.
    """
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise TypeError(f"labels must be of an integer type, got {labels.dtype}")
    if not labels.numel():
        return
    lowest, highest = torch.stack(labels.aminmax()).tolist()  # one synchronization with the device, not two
    if num_classes is None:
        if lowest < 0:
            raise ValueError(f"labels must be at least 0, got {lowest}")
    elif lowest < 0 or highest >= num_classes:
        raise ValueError(f"labels must be in 0..{num_classes - 1} for {num_classes} classes, got {lowest}..{highest}")


def check_saved(place: str, plugin: object) -> None:
    """Check that the state dict contains every tensor of a plug-in.

    Args:
        place: Place of the plug-in in the model, for the message.
        plugin: A module, or any other object.

    Raises:
        ValueError: If the plug-in, one of its modules or a list of it has a tensor as a plain attribute.
    """
    parts = plugin.named_modules() if isinstance(plugin, torch.nn.Module) else [("", plugin)]
    for path, part in parts:
        for name, value in getattr(part, "__dict__", {}).items():
            values = value if isinstance(value, list | tuple) else [value]
            if name in ("_parameters", "_buffers", "_modules"):
                continue
            if any(isinstance(item, Tensor) for item in values):
                full = ".".join(filter(None, (place, path, name)))
                remedy = (
                    f"assign an nn.Parameter, or call register_buffer({name!r}, tensor)"
                    if isinstance(part, torch.nn.Module)
                    else "derive its class from nn.Module, with a parameter or buffer"
                )
                raise ValueError(f"{full} is a plain tensor, which is not saved: {remedy}")
            if isinstance(part, torch.nn.Module) and name in ("goodness", "loss", "embedding"):
                check_saved(".".join(filter(None, (place, path, name))), value)  # a plain callable
