"""What a module consists of, to find out in microseconds whether it has changed."""

from __future__ import annotations

import operator
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

__all__ = ["Snapshot"]


class Snapshot:
    """The submodules, parameters and buffers of modules, by identity, with what ``model.to`` and freezing change.

    Walking through ``named_parameters`` of every layer takes longer than the step of a small network.

    Args:
        *modules: The modules; all their submodules are included.

    Example:
        >>> layer = nn.Linear(2, 2)
        >>> snapshot = Snapshot(layer)
        >>> layer.bias = None
        >>> snapshot.is_current()
        False
    """

    def __init__(self, *modules: nn.Module) -> None:
        parts = {id(part): part for module in modules for part in module.modules()}
        self._contents: list[dict[str, Any]] = [
            content for part in parts.values() for content in (part._modules, part._parameters, part._buffers)
        ]
        self._values = self._current_values()
        self._tensors = [value for value in self._values if isinstance(value, Tensor)]
        self._properties = [_properties(tensor) for tensor in self._tensors]

    def is_current(self) -> bool:
        """Return whether nothing has been replaced, moved, frozen or unfrozen."""
        values = self._current_values()
        return (
            len(values) == len(self._values)
            and all(map(operator.is_, values, self._values))
            and all(map(operator.eq, map(_properties, self._tensors), self._properties))
        )

    def _current_values(self) -> list[Any]:
        return [value for content in self._contents for value in content.values()]


def _properties(tensor: Tensor) -> tuple[Any, ...]:
    if is_lazy(tensor):
        return (tensor.requires_grad,)
    return tensor.requires_grad, tensor.dtype, tensor.device, tensor.shape, tensor.stride()
