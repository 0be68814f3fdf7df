"""What the diagnosis reads, measured once per epoch: units that are always the same, weights that move, and chance."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from forwardforward._utils.modes import eval_mode
from forwardforward._utils.shards import whole
from forwardforward.batches import LabeledInput
from forwardforward.data.batching import Source, tensors_of
from forwardforward.layers import FFLayer
from forwardforward.layers.chain import run_layers
from forwardforward.network import Network
from forwardforward.replicas import Replicas
from forwardforward.targets import MultiLabel, RealValues

__all__ = ["chance_error", "dead_units", "weight_changes", "weight_samples"]

#: Enough that a unit of one sample in 30 is rarely taken for a dead one, and few enough to cost little.
SAMPLES = 128

#: Enough weights of a layer to estimate how far they move, and few enough to keep them for an epoch.
WEIGHTS = 1024

#: Range of a dead unit's activations, relative to the largest.
TOLERANCE = 1e-6


@torch.no_grad()
def chance_error(model: Network, data: Source) -> float | None:
    """Return the error of the best answer that is the same for every sample, in the unit of the validation's error.

    Of classes, that of a random one: one minus one over their number, in percent. Of several labels, that of the more
    frequent answer for each label of the training data; None if they are not tensors. Of real values, the standard
    deviation of the training data.

    Args:
        model: The network.
        data: The training data.
    """
    kind, tensors = model.target_kind, tensors_of(data)
    if isinstance(kind, RealValues):
        scaling = model.target_scaling
        return None if scaling is None else float(scaling.std.square().mean().sqrt())
    if isinstance(kind, MultiLabel):
        if tensors is None or tensors.targets is None:
            return None
        shares = (tensors.targets > 0.5).double().mean(0)
        return 100 * float(torch.minimum(shares, 1 - shares).mean())
    return 100 * (1 - 1 / model.num_classes) if kind.has_one_class and model.num_classes else None


@torch.no_grad()
def dead_units(
    model: Network, data: Source, run: Callable[[Network, Tensor], object] | None = None
) -> dict[int, float] | None:
    """Return the share of dead units by layer: those whose activation is the same for 128 training samples.

    One pass in evaluation mode, under the neutral label if labels are part of the input; of maps and sequences, a unit
    is a channel. None for replicas, and for data that are not tensors, whose samples would be loaded again.

    Args:
        model: The network.
        data: The training data.
        run: Runs the layers of this process on raw images; default: all layers.
    """
    tensors = tensors_of(data)
    if tensors is None or isinstance(model, Replicas):
        return None
    # Spread over the data, which may be sorted by class.
    count = len(tensors.inputs)
    rows = torch.linspace(0, count - 1, min(SAMPLES, count), dtype=torch.float64, device=tensors.inputs.device).long()
    with eval_mode(model):
        if run is None:
            shares = _shares(model, tensors.inputs[rows])
        else:
            shares = _shares_by_hooks(model, tensors.inputs[rows], run)
    values = torch.stack(list(shares.values())).tolist() if shares else []
    return dict(zip(shares, values, strict=True))


def _shares(model: Network, images: Tensor) -> dict[int, Tensor]:
    """Return the share of dead units of each layer; forward hooks of the layers are not called."""

    def output_and_share(layer: FFLayer, x: Tensor | LabeledInput, skip: Tensor | None) -> tuple[Tensor, Tensor]:
        output = layer.forward(x, skip=skip)
        return output, _share(output)

    x = model.prepare(images)
    encoder = getattr(model, "label_encoder", None)
    inputs = x if encoder is None else encoder.neutral(x)
    return dict(enumerate(run_layers(model.stack, inputs, output_and_share)))


def _shares_by_hooks(model: Network, images: Tensor, run: Callable[[Network, Tensor], object]) -> dict[int, Tensor]:
    """Return the share of dead units of the layers that this process computes."""
    shares: dict[int, Tensor] = {}

    def storing(index: int) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(layer: nn.Module, inputs: Any, output: Tensor) -> None:
            shares[index] = _share(output)

        return hook

    hooks = [layer.register_forward_hook(storing(index)) for index, layer in enumerate(model.layers)]
    try:
        run(model, images)
    finally:
        for hook in hooks:
            hook.remove()
    return shares


def _share(output: Tensor) -> Tensor:
    """Return the share of dead units in a layer's output."""
    values = output.flatten(2).transpose(1, 2).flatten(0, 1) if output.dim() > 2 else output
    lowest, highest = values.amin(0), values.amax(0)
    largest = torch.maximum(lowest.abs(), highest.abs())
    return (highest - lowest <= TOLERANCE * largest).float().mean()


@torch.no_grad()
def weight_samples(model: Network) -> dict[str, Tensor]:
    """Return a sample of each layer's weights, by the layer's index; none for replicas.

    Args:
        model: The network.
    """
    if isinstance(model, Replicas):
        return {}
    return {str(index): sample for index, layer in enumerate(model.layers) if (sample := _sample(layer)) is not None}


def weight_changes(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> dict[int, float]:
    """Return the root mean square of the change of each layer's weights, relative to that of the weights before.

    Args:
        before: Samples of :func:`weight_samples`.
        after: Later ones of the same network, which may have grown.
    """
    common = {name: values for name, values in after.items() if name in before and values.shape == before[name].shape}
    if not common:
        return {}
    sizes = [before[name].square().mean().sqrt() for name in common]
    steps = [(values - before[name].to(values.device)).square().mean().sqrt() for name, values in common.items()]
    pairs = [(step, size.to(step.device)) for step, size in zip(steps, sizes, strict=True)]
    ratios = torch.stack([torch.where(size > 0, step / size, size) for step, size in pairs])  # 0 for weights of zero
    # without those that overflow, so that a training that diverges is reported by its loss or largest weight
    values = zip(map(int, common), ratios.tolist(), strict=True)
    return {layer: value for layer, value in values if math.isfinite(value)}


def _sample(layer: nn.Module) -> Tensor | None:
    """Return weights of a layer's largest parameter at even distances, None if it has none that is learned here."""
    parameters = [p for p in layer.parameters() if p.requires_grad and p.numel() and not p.is_meta]
    if not parameters:
        return None
    weights = whole(max(parameters, key=Tensor.numel).detach()).flatten()
    return weights[:: (len(weights) // WEIGHTS) | 1].float().clone()  # odd, to meet different columns of a matrix
