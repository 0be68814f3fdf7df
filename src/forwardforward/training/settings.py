"""Descriptions of the settings that determine a run's result, for comparison with a later run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import nn

from forwardforward._utils.arguments import checked


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


@checked
def differences(saved: Mapping[str, Any], current: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the settings that differ, by name, as pairs (saved, current); None stands for a missing one.

    Example:
        >>> differences({"lr": "0.1", "seed": 0}, {"lr": "0.2", "seed": 0, "peer": "PeerNormalization()"})
        {'lr': ('0.1', '0.2'), 'peer': (None, 'PeerNormalization()')}
    """
    pairs = {name: (saved.get(name), current.get(name)) for name in {**saved, **current}}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
