"""Checks of arguments."""

from __future__ import annotations

import functools
import types
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = [
    "InputShapeError",
    "TargetKindError",
    "all_finite",
    "check_device",
    "check_finite",
    "check_image_shape",
    "check_images",
    "check_label_type",
    "check_labels",
    "check_saved",
    "extremes",
    "label_remedy",
    "name_of",
]


class InputShapeError(ValueError):
    """A network does not accept inputs of this shape."""


class TargetKindError(ValueError):
    """A recipe does not accept targets of this kind."""


def name_of(value: object) -> str:
    """Return a short description of an argument, for a message."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return repr(value) if isinstance(value, str) else getattr(value, "__name__", f"an object of {type(value).__name__}")


def check_device(device: torch.device | str, argument: str = "device", stores_data: bool = True) -> None:
    """Refuse a device that is not available.

    Args:
        device: The device.
        argument: Name of the argument, for the message.
        stores_data: Whether to refuse the device ``"meta"`` too.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{argument} {str(device)!r} is not available, use one such as 'cpu': {reason}") from error
    if stores_data and torch.device(device).type == "meta":
        raise ValueError(f"{argument} must store data, such as 'cpu', got 'meta'")


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


def all_finite(values: Tensor) -> bool:
    """Return whether no value is NaN or infinite.

    The extremes take one pass and no memory: they are NaN if a value is, and infinities are extremes.

    Args:
        values: Floating-point numbers.
    """
    return values.numel() == 0 or bool(torch.stack(values.detach().aminmax()).isfinite().all())


def check_finite(scores: Tensor) -> Tensor:
    """Return scores that can be compared.

    Raises:
        ValueError: If they contain NaN or infinity.
    """
    if not all_finite(scores):
        raise ValueError(
            "scores must be finite, got NaN or infinity: the images or the weights contain NaN or too large values"
        )
    return scores


def check_images(images: Tensor, num_embeddings: int | None = None) -> Tensor:
    """Return images whose values a network can read.

    Args:
        images: Floating or uint8, or indices.
        num_embeddings: Size of the table that indices are looked up in; None if the images are not indices.

    Raises:
        ValueError: If they contain NaN or infinity, or an index is out of range.
    """
    if num_embeddings is not None:
        lowest, highest = extremes(images)
        if lowest < 0 or highest >= num_embeddings:
            raise ValueError(
                f"images must be indices of the first layer's table, 0..{num_embeddings - 1}, got {lowest}..{highest}"
            )
    elif images.is_floating_point() and not all_finite(images):
        raise ValueError("images must be finite, got NaN or infinity")
    return images


def check_labels(labels: Tensor, num_classes: int | None) -> None:
    """Check that labels are class indices.

    Args:
        labels: Of any shape.
        num_classes: Number of classes; None for any.

    Raises:
        TypeError: If they are not of an integer type.
        ValueError: If one is negative or at least ``num_classes``.
    """
    check_label_type(labels)
    if not labels.numel():
        return
    lowest, highest = extremes(labels)
    if num_classes is None:
        if lowest < 0:
            raise ValueError(f"labels must be at least 0, got {lowest}")
    elif lowest < 0 or highest >= num_classes:
        remedy = ": count from 0, as in labels - 1" if (lowest, highest) == (1, num_classes) else ""
        raise ValueError(
            f"labels must be in 0..{num_classes - 1} for {num_classes} classes, got {lowest}..{highest}{remedy}"
        )


def check_label_type(labels: Tensor, name: str = "labels", expected: str = "of an integer type") -> None:
    """Check that labels are of an integer type.

    Args:
        labels: Of any shape.
        name: Name of the argument, for the message.
        expected: What they must be, for the message.

    Raises:
        TypeError: If they are of another type.
    """
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        is_whole = not labels.is_complex() and torch.equal(labels, labels.long().to(labels.dtype))
        remedy = f"; {name}.long() converts them" if is_whole else ""
        raise TypeError(f"{name} must be {expected}, got {labels.dtype}{remedy}")


def label_remedy(name: str, shape: Sequence[int], count: int) -> str:
    """Return how labels of a wrong shape become one per sample, for a message; empty if that is not known.

    Args:
        name: Name of the argument.
        shape: Shape of the labels.
        count: Number of samples.
    """
    if len(shape) != 2 or shape[0] != count:
        return ""
    return f"; {name}.squeeze(1) removes the column" if shape[1] == 1 else f"; of one-hot labels, {name}.argmax(1)"


def extremes(values: Tensor) -> tuple[int, int]:
    """Return the lowest and the highest of whole numbers, in one synchronization with the device."""
    if values.dtype in (torch.uint16, torch.uint32, torch.uint64):  # torch compares few unsigned types
        values = values.long()
    lowest, highest = torch.stack(values.aminmax()).tolist()
    return lowest, highest


def check_saved(place: str, plugin: object) -> None:
    """Check that the state dict contains every tensor of a plug-in.

    Args:
        place: Place of the plug-in in the model, for the message.
        plugin: A module, or any other object.

    Raises:
        ValueError: If the plug-in, one of its modules or a list of it has a tensor as a plain attribute, or a plug-in
            that is not a module has a module with tensors.
    """
    if isinstance(plugin, types.MethodType):  # a method's object is not part of the network
        owner = plugin.__self__
        if isinstance(owner, torch.nn.Module) and _has_tensors(owner):
            raise ValueError(
                f"{place} is a method of {type(owner).__name__}, whose weights are not saved: pass the module itself, "
                "with this method as its forward"
            )
        plugin = owner
    if isinstance(plugin, functools.partial):
        for part in (plugin.func, *plugin.args, *plugin.keywords.values()):
            check_saved(place, part)
            if isinstance(part, Tensor) or _has_tensors(part):
                raise ValueError(f"{place} is a partial function of tensors, which are not saved: pass an nn.Module")
    is_module = isinstance(plugin, torch.nn.Module)
    parts = plugin.named_modules() if isinstance(plugin, torch.nn.Module) else [("", plugin)]
    for path, part in parts:
        for name, value in getattr(part, "__dict__", {}).items():
            values = value if isinstance(value, list | tuple) else [value]
            if name in ("_parameters", "_buffers", "_modules"):
                continue
            if any(isinstance(item, Tensor) or (not is_module and _has_tensors(item)) for item in values):
                full = ".".join(filter(None, (place, path, name)))
                remedy = (
                    f"assign an nn.Parameter, or call register_buffer({name!r}, tensor)"
                    if isinstance(part, torch.nn.Module)
                    else "derive its class from nn.Module, with a parameter or buffer"
                )
                kind = "a module" if any(map(_has_tensors, values)) else "a plain tensor"
                raise ValueError(f"{full} is {kind}, which is not saved: {remedy}")
            if isinstance(part, torch.nn.Module) and name in ("goodness", "loss", "embedding"):
                check_saved(".".join(filter(None, (place, path, name))), value)  # a plain callable


def _has_tensors(value: object) -> bool:
    return isinstance(value, torch.nn.Module) and bool(value.state_dict())
