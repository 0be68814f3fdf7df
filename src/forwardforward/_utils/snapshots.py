"""What modules consist of, to find out in microseconds whether they have changed."""

from __future__ import annotations

import operator
import types
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

__all__ = ["Snapshot"]

#: Objects that have attributes, but none that a step reads and that change; modules are listed by themselves.
OPAQUE = (Tensor, nn.Module, type, types.FunctionType, types.ModuleType, torch.Generator, torch.optim.Optimizer)

#: Largest number of attributes; reading more of them in every step takes too long.
MOST_ATTRIBUTES = 20_000


class Snapshot:
    """The submodules, parameters and buffers of modules, by identity, with what ``model.to`` and freezing change.

    Walking through ``named_parameters`` of every layer takes longer than the step of a small network.

    Args:
        *modules: The modules; all their submodules are included.
        attributes: Whether all other attributes are included too, such as modes, numbers and hooks, with the attributes
            of plug-ins that are not modules and the elements of lists and dictionaries. Variables in a function's
            closure and globals are not.

    Attributes:
        has_attributes: Whether all other attributes are included; not if there are too many of them.

    Example:
        >>> dropout = nn.Dropout(0.1)
        >>> snapshots = Snapshot(dropout), Snapshot(dropout, attributes=True)
        >>> dropout.p = 0.2
        >>> [snapshot.is_current() for snapshot in snapshots]
        [True, False]
    """

    def __init__(self, *modules: nn.Module, attributes: bool = False) -> None:
        parts = list({id(part): part for module in modules for part in module.modules()}.values())
        self._containers: list[Collection[Any]] = [
            content.values() for part in parts for content in (part._modules, part._parameters, part._buffers)
        ]
        reachable = _reachable(parts) if attributes else None
        self.has_attributes = reachable is not None
        self._containers += reachable or []
        self._values = self._current_values()
        tensors = {id(value): value for value in self._values if isinstance(value, Tensor)}
        self._tensors = list(tensors.values())
        self._properties = list(map(_properties, self._tensors))

    def is_current(self) -> bool:
        """Return whether nothing has been replaced, moved, frozen or unfrozen."""
        values = self._current_values()
        return (
            len(values) == len(self._values)
            and all(map(operator.is_, values, self._values))
            and all(map(operator.eq, map(_properties, self._tensors), self._properties))
        )

    def _current_values(self) -> list[Any]:
        return [value for container in self._containers for value in container]


def _reachable(parts: list[nn.Module]) -> list[Collection[Any]] | None:
    """Return the containers of all attributes of modules and of what these refer to; None if they are too many."""
    containers: dict[int, Collection[Any]] = {id(part): vars(part).values() for part in parts}
    pending = [value for container in containers.values() for value in container]
    count = len(pending)
    while pending:
        value = pending.pop()
        if id(value) in containers or isinstance(value, OPAQUE):
            continue
        if isinstance(value, dict):
            containers[id(value)] = value.values()
        elif isinstance(value, list | tuple | set | frozenset):
            containers[id(value)] = value
        elif hasattr(value, "__dict__"):
            containers[id(value)] = vars(value).values()
        else:
            continue
        count += len(containers[id(value)])
        if count > MOST_ATTRIBUTES:
            return None
        pending += containers[id(value)]
    return list(containers.values())


def _properties(tensor: Tensor) -> tuple[Any, ...]:
    if is_lazy(tensor):
        return (tensor.requires_grad,)
    stride = tensor.stride() if tensor.layout == torch.strided else None
    return tensor.requires_grad, tensor.dtype, tensor.device, tensor.shape, stride
