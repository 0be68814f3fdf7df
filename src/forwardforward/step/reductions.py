"""Whether the loss of a batch is the mean or the sum over its samples, so that it can be computed in parts."""

from __future__ import annotations

import copy
from collections.abc import Container, Sequence
from typing import Literal

import torch
from torch import Tensor

from forwardforward._utils.modes import autocast_to, eval_mode
from forwardforward.batches import Batch
from forwardforward.layers import FFLayer
from forwardforward.layers.chain import run_layers
from forwardforward.objectives import Objective

__all__ = ["LossReduction", "loss_reductions", "two_targets"]

LossReduction = Literal["mean", "sum"]

#: Relative tolerance of the comparison of losses in float64.
TOLERANCE = 1e-9


@torch.no_grad()
def loss_reductions(
    layers: Sequence[FFLayer],
    batch: Batch,
    autocast: torch.dtype | None = None,
    known: Container[Objective] = (),
) -> dict[Objective, LossReduction | None]:
    """Return whether the loss of each objective is a mean or a sum over samples, None if it is neither.

    The loss of four samples with random activations is compared with the losses of the first two and of the last two.

    Args:
        layers: The layers.
        batch: A batch, of which the first two samples give the shapes of activations.
        autocast: Compute precision of the layers; None for that of the weights.
        known: Objectives to leave out.
    """
    targets = two_targets(batch.targets)
    batch = batch.part(slice(0, 2))
    activations: list[Tensor] = []

    def visit(layer: FFLayer, x: object, skip: Tensor | None) -> tuple[Tensor, None]:
        values = layer.outputs(x, skip)  # type: ignore[arg-type]
        activations.append(values.goodness_input)
        return values.output, None

    with eval_mode(*layers), autocast_to(autocast, batch.inputs.device):
        for _ in run_layers(layers, batch.inputs, visit):
            pass
    # Classes that repeat across the halves, for losses that compare samples of a class; and different ones, for a mean
    # that is weighted by class.
    halves: list[tuple[Tensor | None, Tensor | None]] = [(targets, targets)]
    if targets is not None:
        halves.append((targets[[0, 0]], targets[[1, 1]]))
    reductions: dict[Objective, LossReduction | None] = {}
    for layer, values in zip(layers, activations, strict=True):
        if layer.objective is None or layer.objective in known:
            continue
        of_halves = {_reduction_of(layer.objective, values, pair, batch.has_negatives) for pair in halves}
        reductions[layer.objective] = of_halves.pop() if len(of_halves) == 1 else None
    return reductions


def two_targets(targets: Tensor | None) -> Tensor | None:
    """Return two targets of a batch, different ones if there are any.

    Args:
        targets: Targets ``(batch, ...)``, or None.
    """
    if targets is None:
        return None
    different = (targets != targets[0]).flatten(1).any(1) if targets.dim() > 1 else targets != targets[0]
    return targets[[0, int(different.int().argmax()) or min(1, len(targets) - 1)]]


def _reduction_of(
    objective: Objective, activations: Tensor, targets: tuple[Tensor | None, Tensor | None], has_negatives: bool
) -> LossReduction | None:
    """Return whether a loss is a mean or sum over samples, None if it is neither.

    Args:
        objective: The objective.
        activations: Of two samples, and of their negatives; only the shape is used.
        targets: Of the first two samples, and of the last two.
        has_negatives: Whether there are negatives.
    """
    objective = copy.deepcopy(objective).double().eval()
    generator = torch.Generator().manual_seed(0)

    def loss(rows: Tensor, labels: Tensor | None) -> float:
        inputs = torch.zeros(len(rows), 1, dtype=torch.float64, device=rows.device)
        return float(objective(rows, Batch(inputs, labels, has_negatives)).loss)

    with torch.autocast(activations.device.type, enabled=False):
        for scale in (1.0, 0.1, 10.0):  # a loss may be constant, such as zero, where its samples are far from a margin
            draws = torch.rand(2, *activations.shape, generator=generator, dtype=torch.float64, device="cpu")
            first, second = (scale * draws).to(activations.device)
            joined = torch.cat([first, second])
            if has_negatives:
                (positive, negative), (other_positive, other_negative) = first.chunk(2), second.chunk(2)
                joined = torch.cat([positive, other_positive, negative, other_negative])
            labels = torch.cat([targets[0], targets[1]]) if targets[0] is not None and targets[1] is not None else None
            both, parts = loss(joined, labels), (loss(first, targets[0]), loss(second, targets[1]))
            tolerance = TOLERANCE * max(map(abs, (both, *parts)))
            is_mean = abs(both - sum(parts) / 2) <= tolerance
            is_sum = abs(both - sum(parts)) <= tolerance
            if is_mean != is_sum:
                return "mean" if is_mean else "sum"
            if not is_mean:
                return None
    return "mean"  # the loss is zero everywhere
