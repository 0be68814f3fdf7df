"""Checks of the states of optimizers that come from a file."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from forwardforward.optimizers.sharded import update


def checked_state(name: str, optimizer: torch.optim.Optimizer, saved: Any) -> dict[str, Any]:
    """Return a state with the structure of an optimizer's, which ``load_state_dict`` does not check.

    The structure is known for the optimizers of torch and of this library: a parameter's entries are those of a copy of
    the optimizer after one step. Options that the state lacks, such as those of a newer version, are the optimizer's.

    Args:
        name: Name of the parameter groups, for the message.
        optimizer: A new optimizer.
        saved: The state.

    Raises:
        ValueError: If the structure differs.
    """
    current = optimizer.state_dict()
    if not isinstance(saved, dict) or set(saved) != set(current):
        raise ValueError(f"optimizer.{name} must contain {' and '.join(sorted(current))}")
    groups, state = saved["param_groups"], saved["state"]
    if not isinstance(groups, list) or len(groups) != len(current["param_groups"]):
        raise ValueError(f"optimizer.{name}.param_groups must be {len(current['param_groups'])} groups")
    known = type(optimizer).__module__.startswith(("torch.optim.", "forwardforward."))
    merged = []
    for index, (group, reference) in enumerate(zip(groups, current["param_groups"], strict=True)):
        if not isinstance(group, dict):
            raise ValueError(f"optimizer.{name}.param_groups[{index}] must be a dictionary")
        merged.append({**reference, **group})
        for key in ("params", "parameter_group", *(reference if known else ())):
            if _form(key, merged[-1][key]) != _form(key, reference[key]):
                raise ValueError(
                    f"optimizer.{name}.param_groups[{index}].{key} must be like {reference[key]}, got {group[key]}"
                )
    indices = {index for group in current["param_groups"] for index in group["params"]}
    if not isinstance(state, dict) or not set(state) <= indices:
        raise ValueError(f"optimizer.{name}.state must be a dictionary of the parameters {sorted(indices)}")
    expected = _state_after_step(optimizer) if known and state else {}
    for index, entries in state.items():
        if not isinstance(entries, dict) or (known and _form("", entries) != _form("", expected.get(index))):
            raise ValueError(f"optimizer.{name}.state.{index} must be that of {type(optimizer).__name__}")
    return {"state": state, "param_groups": merged}


def _state_after_step(optimizer: torch.optim.Optimizer) -> dict[int, Any]:
    """Return the state of a copy of a new optimizer after a step with gradients of zero."""
    probe = copy.deepcopy(optimizer)
    for group in probe.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    update(probe)
    state: dict[int, Any] = probe.state_dict()["state"]
    return state


def _form(name: str, value: Any) -> Any:
    """Return names, types and shapes of a value and its parts; numbers of all types are alike."""
    if name in ("params", "parameter_group"):
        return value
    if isinstance(value, Tensor):
        return value.shape, value.is_floating_point()
    if isinstance(value, dict):
        return {key: _form(key, item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_form("", item) for item in value]
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__
