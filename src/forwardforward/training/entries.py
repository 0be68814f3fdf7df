"""Checks of what a checkpoint contains, since a damaged or foreign file may contain anything."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

DEEPEST = 16  # levels of nested containers


def wrong_entry(content: Mapping[Any, Any]) -> str | None:
    """Return why the content of a checkpoint is refused, None if every entry is of the right kind.

    Args:
        content: The content, with tensors on one device.
    """
    tensors: dict[str, Tensor] = {}
    for name, value in content.items():
        if reason := _not_plain(str(name), value, tensors, DEEPEST):
            return reason
    for name, (check, expected) in ENTRIES.items():
        if name in content and not check(content[name]):
            return f"{name} must be {expected}, got {_kind(content[name])}"
    if "history" in content:
        for index, record in enumerate(content["history"]):
            if not _is_record(record, index):
                return f"history[{index}] must be the record of epoch {index + 1}"
        if content.get("epoch", len(content["history"])) != len(content["history"]):
            return f"epoch must be the number of epochs in history, {len(content['history'])}, got {content['epoch']}"
    floating = {name: value for name, value in tensors.items() if value.is_floating_point()}
    if floating:
        finite = torch.stack([value.isfinite().all() for value in floating.values()]).tolist()
        for name, is_finite in zip(floating, finite, strict=True):
            if not is_finite:
                return f"{name} must be finite, got NaN or infinity"
    return None


def _not_plain(place: str, value: Any, tensors: dict[str, Tensor], depth: int) -> str | None:
    """Return why a value is neither plain nor a container of plain values; collect its tensors by place."""
    if isinstance(value, Tensor):
        tensors[place] = value
        return _odd_tensor(place, value)
    if value is None or isinstance(value, bool | int | str):
        return None
    if isinstance(value, float):
        return None if math.isfinite(value) else f"{place} must be finite, got {value}"
    if not isinstance(value, list | tuple | dict) or not depth:
        return f"{place} must be a number, string, tensor or container of them, got {_kind(value)}"
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        if not isinstance(key, str | int):
            return f"keys of {place} must be strings, got {_kind(key)}"
        if reason := _not_plain(f"{place}.{key}", item, tensors, depth - 1):
            return reason
    return None


def _odd_tensor(place: str, value: Tensor) -> str | None:
    if type(value) not in (Tensor, nn.Parameter) or value.layout != torch.strided or value.is_quantized:
        return f"{place} must be a dense tensor, got {_kind(value)}"
    if value.is_complex() or value.is_meta:
        return f"{place} must contain real numbers, got {_kind(value)}"
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():  # an expanded view of any size
        return f"{place} must store every element, got shape {tuple(value.shape)}"
    return None


def _kind(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a {type(value).__name__} of {value.dtype} on {value.device}, {value.layout}"
    return str(value) if isinstance(value, int) else f"an object of type {type(value).__name__}"


def _is_whole(lowest: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and value >= lowest


def _is_tensors(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in value.items())


def _is_record(value: Any, index: int) -> bool:
    return (
        isinstance(value, dict)
        and {"epoch", "seconds", "steps", "layers", "head", "validation"} <= set(value)
        and type(value["epoch"]) is int
        and value["epoch"] == index + 1
        and isinstance(value["seconds"], float | int)
        and _is_whole(1)(value["steps"])
        and isinstance(value["layers"], list)
        and all(isinstance(entry, dict | None) for entry in (*value["layers"], value["head"], value["validation"]))
        and (value["validation"] is None or isinstance(value["validation"].get("error"), float | int))
    )


def _is_callbacks(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str) and isinstance(entry[1], dict)
        for entry in value
    )


#: Checks of the entries that the library reads, with what they must be.
ENTRIES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "model": (_is_tensors, "a dictionary of tensors"),
    "optimizer": (lambda value: isinstance(value, dict), "a dictionary"),
    "schedule": (lambda value: isinstance(value, str), "a string"),
    "epoch": (_is_whole(0), "a whole number of at least 0"),
    "epochs": (_is_whole(1), "a whole number of at least 1"),
    "first_epoch": (_is_whole(0), "a whole number of at least 0"),
    "batch_size": (_is_whole(1), "a whole number of at least 1"),
    "seed": (lambda value: type(value) is int, "a whole number"),
    "settings": (lambda value: isinstance(value, dict), "a dictionary"),
    "history": (lambda value: isinstance(value, list), "a list of epochs"),
    "finished": (lambda value: isinstance(value, bool), "True or False"),
    "unfinished": (lambda value: value is None or isinstance(value, dict), "None or a dictionary"),
    "callbacks": (_is_callbacks, "a list of names and states"),
}
