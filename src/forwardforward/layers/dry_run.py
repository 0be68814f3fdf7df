"""The run of a layer on one sample, in which its plug-ins are set up and checked."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from forwardforward._utils.annotations import describe
from forwardforward._utils.plugins import ERRORS, one_line
from forwardforward.specs import LayerSpec, setup_plugin

__all__ = ["PLUGINS", "DryRun"]

#: The plug-ins that are applied in the operations, by the name of their argument.
PLUGINS = {
    "normalize": "normalization",
    "add": "residual",
    "activate": "activation",
    "pool": "pool",
    "goodness": "goodness",
}


class DryRun:
    """The checks and setups between the operations of a layer.

    Args:
        index: Index of the layer.
        sample: The sample, ``(1, ...)``.
        weight: A tensor of the layer's device and dtype.
        plugins: The plug-ins to set up, by the operation before which that happens.

    Attributes:
        sizes: Numbers of values per sample that the operations and the parts of the block compute.
    """

    def __init__(self, index: int, sample: Tensor, weight: Tensor, plugins: Mapping[str, object]) -> None:
        self.sizes: list[int] = [sample[0].numel()]
        self._index = index
        self._weight = weight
        self._plugins = plugins
        self._operation = "input"
        self._value = sample

    def before(self, operation: str, value: Tensor) -> None:
        """Check the result of the operation before, and set up the plug-in of the next.

        Args:
            operation: Name of the next operation.
            value: Its input.
        """
        if self._operation == "normalize":
            _check_normalized(value, self._value, self._plugins["normalize"])
        _check_rows(self._operation, value)
        self._operation, self._value = operation, value
        self.sizes.append(value[0].numel())
        weight = self._weight
        spec = LayerSpec(self._index, tuple(value.shape[1:]), None, weight.device, weight.dtype)
        setup_plugin(self._plugins.get(operation), spec)

    def after(self, output: Tensor) -> None:
        """Check the result of the last operation; what follows is the goodness of the setup.

        Args:
            output: The layer's output.
        """
        _check_rows(self._operation, output)
        self._operation = "goodness"

    @contextlib.contextmanager
    def recording_sizes(self, block: nn.Module) -> Iterator[None]:
        """Context manager in which the sizes of all outputs within a block are recorded.

        Args:
            block: The block.
        """

        def record(module: nn.Module, inputs: Any, output: Any) -> None:
            for value in output if isinstance(output, tuple) else (output,):
                if isinstance(value, Tensor):
                    self.sizes.append(value.numel())

        parts = [part for part in block.modules() if not isinstance(part, torch.jit.ScriptModule)]
        hooks = [part.register_forward_hook(record) for part in parts]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    @contextlib.contextmanager
    def naming_plugins(self) -> Iterator[None]:
        """Context manager that names the plug-in of the current operation in an error.

        Raises:
            ValueError: If a plug-in raises one.
            TypeError: If a plug-in fails otherwise.
        """
        try:
            yield
        except (ValueError, *ERRORS) as error:
            name, reason = PLUGINS.get(self._operation), one_line(error)
            if name is None:
                raise
            named = isinstance(error, ValueError) or error.__cause__ is not None or reason.startswith("goodness must")
            if name == "goodness" and named:
                raise  # an objective names its parts
            if isinstance(error, ValueError):
                if name in reason:
                    raise
                raise ValueError(f"{name}: {reason}") from error
            raise TypeError(f"{name} does not accept what this layer passes to it: {reason}") from error


def _check_rows(operation: str, value: object) -> None:
    if not isinstance(value, Tensor) or value.dim() < 2:
        got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else describe(value)
        raise ValueError(f"{PLUGINS.get(operation, 'block')} must return a tensor (rows, features, ...), got {got}")


def _check_normalized(value: object, before: Tensor, normalization: object) -> None:
    if not isinstance(value, Tensor) or value.shape[1:] != before.shape[1:]:
        got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else describe(value)
        raise ValueError(
            f"normalization must return a tensor of its input's shape {tuple(before.shape)}, got {got} "
            f"from {describe(normalization)}"
        )
