"""Units that are the same for every sample, measured once per epoch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from forwardforward._utils.modes import eval_mode
from forwardforward.data.batching import Source, tensors_of
from forwardforward.network import Network
from forwardforward.replicas import Replicas

__all__ = ["dead_units"]

#: Enough that a unit of one sample in 30 is rarely taken for a dead one, and few enough to cost little.
SAMPLES = 128

#: Range of a dead unit's activations, relative to the largest.
TOLERANCE = 1e-6


@torch.no_grad()
def dead_units(model: Network, data: Source) -> list[float] | None:
    """Return the share of dead units of each layer: those whose activation is the same for 128 training samples.

    One pass in evaluation mode, under the neutral label if labels are part of the input; of maps and sequences, a unit
    is a channel. None for replicas, and for data that are not tensors, whose samples would be loaded again.

    Args:
        model: The network.
        data: The training data.
    """
    tensors = tensors_of(data)
    if tensors is None or isinstance(model, Replicas):
        return None
    # Spread over the data, which may be sorted by class.
    count = len(tensors.inputs)
    rows = torch.linspace(0, count - 1, min(SAMPLES, count), dtype=torch.float64).long().to(tensors.inputs.device)
    shares: list[Tensor] = []
    # Hooks, so that each layer's output is freed before the next layer runs.
    hooks = [layer.register_forward_hook(_appending(shares)) for layer in model.layers]
    try:
        with eval_mode(model):
            model(tensors.inputs[rows])
    finally:
        for hook in hooks:
            hook.remove()
    return [float(share) for share in torch.stack(shares).tolist()] if shares else []


def _appending(shares: list[Tensor]) -> Callable[[nn.Module, Any, Tensor], None]:
    def hook(layer: nn.Module, inputs: Any, output: Tensor) -> None:
        values = output.flatten(2).transpose(1, 2).flatten(0, 1) if output.dim() > 2 else output
        lowest, highest = values.amin(0), values.amax(0)
        largest = torch.maximum(lowest.abs(), highest.abs())
        shares.append((highest - lowest <= TOLERANCE * largest).float().mean())

    return hook
