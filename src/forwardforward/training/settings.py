"""What decides a run's result, in words that a checkpoint can hold and a later run be compared with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import nn


def described(value: object) -> str:
    """Return the ``repr``, without the addresses in it: a function or an object without one goes by its name."""
    return _cleaned(repr(value))


def _cleaned(text: str) -> str:
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)


def model_settings(model: nn.Module) -> dict[str, str]:
    """Return every module's type and arguments, and its plug-ins that are no modules, by their place in the model."""
    settings = {}
    for place, module in model.named_modules(remove_duplicate=False):  # a Skip stands where it begins and ends
        settings[place or "model"] = _cleaned(f"{type(module).__name__}({module.extra_repr()})")
        plugins = {name: one for name, one in vars(module).items() if callable(one) and not name.startswith("_")}
        if options := getattr(module, "optimizer_options", None):
            plugins["optimizer"] = options
        settings |= {".".join(filter(None, (place, name))): described(one) for name, one in plugins.items()}
    return settings


def first_difference(kept: Mapping[str, Any], own: Mapping[str, Any]) -> str | None:
    """Return the first name under which the two say something else, None if they are equal."""
    return next((name for name in {**own, **kept} if kept.get(name) != own.get(name)), None)
