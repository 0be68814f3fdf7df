"""Descriptions of the settings that determine a run's result, for comparison with a later run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import nn


def described(value: object) -> str:
    """Return the ``repr`` without memory addresses, which differ between processes."""
    return _cleaned(repr(value))


def _cleaned(text: str) -> str:
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)


def model_settings(model: nn.Module) -> dict[str, str]:
    """Return every module's type and arguments, and its plug-ins that are not modules, by their place in the model."""
    settings: dict[str, str] = {}
    for place, module in model.named_modules(remove_duplicate=False):
        plugins = {name: value for name, value in vars(module).items() if callable(value) and not name.startswith("_")}
        if options := getattr(module, "optimizer_options", None):
            plugins["optimizer"] = options
        # before the module, whose own description may contain them, so that a difference is reported by their name
        settings |= {".".join(filter(None, (place, name))): described(value) for name, value in plugins.items()}
        settings[place or "model"] = _cleaned(f"{type(module).__name__}({module.extra_repr()})")
    return settings


def first_difference(saved: Mapping[str, Any], current: Mapping[str, Any]) -> str | None:
    """Return the first name whose values differ, None if all are equal."""
    return next((name for name in {**current, **saved} if saved.get(name) != current.get(name)), None)
