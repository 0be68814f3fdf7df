"""States of networks of which each process has some layers only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from forwardforward.network import Network
from forwardforward.optimizers import LocalOptimizer

__all__ = ["Constant", "constants", "merged_meters", "merged_states", "own_states", "own_weights"]


class Constant(NamedTuple):
    """A buffer that a state dict does not contain.

    Attributes:
        module: Its module.
        name: Its name.
        value: Its value.
    """

    module: nn.Module
    name: str
    value: Tensor


def constants(module: nn.Module) -> Iterator[Constant]:
    """Iterate over a module's buffers that a state dict does not contain.

    Args:
        module: The module.
    """
    for part in module.modules():
        for name, value in part.named_buffers(recurse=False):
            if name in part._non_persistent_buffers_set:
                yield Constant(part, name, value)


def own_weights(network: Network) -> dict[str, Tensor]:
    """Return the weights and statistics that this process has, on the CPU.

    Args:
        network: The network.
    """
    return {name: value.cpu() for name, value in network.state_dict().items() if not value.is_meta}


def own_states(network: Network, optimizer: LocalOptimizer) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the weights and the states of optimizers that this process has, on the CPU.

    Args:
        network: The network.
        optimizer: Its local optimizers.
    """
    return own_weights(network), _on_cpu(optimizer.state_dict())


def merged_states(
    names: Sequence[str], parts: Sequence[tuple[dict[str, Any], dict[str, Any]]]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the states of a whole network and its optimizers.

    Args:
        names: Names of its weights and statistics, in order.
        parts: The states that each process has; what all have is taken from the first.
    """
    model: dict[str, Any] = dict.fromkeys(names)
    optimizers: dict[str, Any] = {}
    for state, groups in reversed(parts):
        model |= state
        for name, group in groups.items():
            merged = optimizers.setdefault(name, group)
            # parameters of other processes have no state
            merged["state"] = dict(sorted({**merged["state"], **group["state"]}.items()))
    return model, optimizers


def merged_meters(meters: Sequence[Mapping[str, Any]], layers: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Return the sums of an unfinished epoch's figures, each from the process that has the layer.

    Args:
        meters: The states of the meters of all processes.
        layers: The layers of each process; the head is in the last one.
    """
    merged: dict[str, Any] = {**meters[0], "sums": {}, "pending": {}}
    for rank, meter in enumerate(meters):
        names = {str(index) for index in layers[rank]} | ({"head"} if rank == len(meters) - 1 else set())
        for part in ("sums", "pending"):
            merged[part] |= {key: value for key, value in meter[part].items() if key.split("/")[0] in names}
    return merged


def _on_cpu(value: Any) -> Any:
    """Return an optimizer's state with its tensors on the CPU, without that of parameters without values.

    Some optimizers begin with a state, also of the parameters of other processes.
    """
    if isinstance(value, dict):
        return {key: _on_cpu(item) for key, item in value.items() if not _is_empty(item)}
    return value.cpu() if isinstance(value, Tensor) else value


def _is_empty(value: Any) -> bool:
    """Return whether a parameter's state has no values."""
    return isinstance(value, dict) and any(isinstance(item, Tensor) and item.is_meta for item in value.values())
