"""A step whose gradients are computed in parts of the batch and accumulated."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from forwardforward._utils.arguments import PositiveInt, checked
from forwardforward._utils.modes import autocast_to, eval_mode
from forwardforward.batches import Batch
from forwardforward.data.tensors import batch_slices
from forwardforward.layers import FFLayer
from forwardforward.layers.chain import run_layers
from forwardforward.objectives import LocalLoss, Objective
from forwardforward.optimizers import LocalOptimizer
from forwardforward.step.layerwise import LayerwiseStep
from forwardforward.step.stack import Stack, StepResult
from forwardforward.step.whole import WholeStep
from forwardforward.update_schedules import Groups

__all__ = ["MicroBatches"]

Reduction = Literal["mean", "sum"]

#: Relative tolerance of the comparison of losses in float64.
TOLERANCE = 1e-9


@checked
class MicroBatches:
    r"""Gradient accumulation: a step's gradients are computed in parts of the batch, and added up before one update.

    The result is that of the whole batch within rounding, in the memory of one part: of a batch of :math:`N` samples in
    parts of :math:`n_i`, the gradient is :math:`\sum_i \frac{n_i}{N} g_i` if the loss is a mean over samples, and
    :math:`\sum_i g_i` if it is a sum; which of them is measured at the first step. Negatives are drawn, and a head is
    updated, for the whole batch at once. Two things differ from a step without parts: batch normalization normalizes by
    the statistics of a part, and running statistics, those of peer normalization too, are updated once per part; and
    dropout inside a block draws its masks per part.

    Args:
        size: Samples of a part; a last part of one sample joins the part before it.

    Raises:
        ValueError: In a step, if the loss of a batch is neither the mean nor the sum over its samples, as that of a
            contrastive loss, or both kinds occur in one network.

    Example:
        >>> import forwardforward as ff
        >>> model = ff.FFSequential(
        ...     ff.FFLinear(8, 6), goodness=ff.goodness.LearnedProjection(3), loss=ff.losses.CrossEntropy()
        ... )
        >>> optimizer = ff.LocalOptimizer(torch.optim.SGD, lr=0.1)
        >>> batch = torch.rand(6, 8), torch.tensor([0, 1, 2, 0, 1, 2])
        >>> result = model.step(batch, optimizer, micro_batches=MicroBatches(2))
        >>> sorted(result.layers)
        [0]
    """

    def __init__(self, size: PositiveInt) -> None:
        self.size = size
        self._measured: weakref.WeakKeyDictionary[Objective, Reduction] = weakref.WeakKeyDictionary()

    def run(
        self,
        stack: Stack,
        optimizer: LocalOptimizer,
        batch: Batch,
        groups: Groups,
        autocast: torch.dtype | None = None,
        monitor: bool = False,
        whole_step: WholeStep | None = None,
    ) -> tuple[StepResult, dict[int, Tensor]]:
        """Update the layers of the groups once, and return the figures and what is kept of the observed outputs.

        Args:
            stack: The layers.
            optimizer: Their local optimizers.
            batch: The batch.
            groups: The groups to update.
            autocast: Compute precision; None for that of the weights.
            monitor: Whether to measure gradient norms.
            whole_step: Computes the gradients of all layers in one function; default: layer by layer.
        """
        parts = [batch.part(part) for part in batch_slices(batch.samples, self.size)]
        shares = [part.samples / batch.samples for part in parts]
        factors = [1.0] * len(parts)
        if len(parts) > 1 and self._reduction(stack.layers, batch, autocast) == "mean":
            factors = shares
        if whole_step is not None:
            results, norms = whole_step.run_parts(stack, optimizer, batch, parts, factors, groups, autocast, monitor)
        else:
            results = []
            for index, (part, factor) in enumerate(zip(parts, factors, strict=True)):
                step = LayerwiseStep(stack, optimizer, part, autocast, monitor, factor, index == 0, part is parts[-1])
                results.append((step.run(groups).layers, step.outputs))
            norms = step.result.gradient_norms
        losses = [losses for losses, _ in results]
        layers = {layer: _total([local[layer] for local in losses], factors, shares) for layer in losses[0]}
        outputs = {layer: torch.cat([rows[layer] for _, rows in results]) for layer in results[0][1]}
        return StepResult(layers, gradient_norms=norms), outputs

    def _reduction(self, layers: Sequence[FFLayer], batch: Batch, autocast: torch.dtype | None) -> Reduction:
        """Return whether the layers' losses are means or sums over samples."""
        objectives = [layer.objective for layer in layers if layer.objective is not None]
        if any(objective not in self._measured for objective in objectives):
            self._measure(layers, batch, autocast)
        reductions = [self._measured[objective] for objective in objectives]
        for index, (layer, reduction) in enumerate(zip(layers, reductions, strict=True)):
            if reduction != reductions[0]:
                raise ValueError(
                    "losses must all be means over samples, or all sums, for micro-batches, got "
                    f"a {reductions[0]} in layer 0 and a {reduction} in layer {index}"
                )
            if reduction == "sum" and layer.peer is not None:
                raise ValueError(
                    "loss must be a mean over samples for micro-batches and peer normalization, whose term is one, "
                    f"got a sum in layer {index}"
                )
        return reductions[0]

    @torch.no_grad()
    def _measure(self, layers: Sequence[FFLayer], batch: Batch, autocast: torch.dtype | None) -> None:
        """Compare the loss of four samples with the losses of the first two and of the last two."""
        targets = _two_targets(batch.targets)
        batch = batch.part(slice(0, 2))
        activations: list[Tensor] = []

        def visit(layer: FFLayer, x: object, skip: Tensor | None) -> tuple[Tensor, None]:
            values = layer.outputs(x, skip)  # type: ignore[arg-type]
            activations.append(values.goodness_input)
            return values.output, None

        with eval_mode(*layers), autocast_to(autocast, batch.inputs.device):
            for _ in run_layers(layers, batch.inputs, visit):
                pass
        for index, (layer, values) in enumerate(zip(layers, activations, strict=True)):
            if layer.objective is None or layer.objective in self._measured:
                continue
            # Classes that repeat across the halves, for losses that compare samples of a class; and different ones, for
            # a mean that is weighted by class.
            halves: list[tuple[Tensor | None, Tensor | None]] = [(targets, targets)]
            if targets is not None:
                halves.append((targets[[0, 0]], targets[[1, 1]]))
            reductions = {_reduction_of(layer.objective, values, pair, batch.has_negatives) for pair in halves}
            reduction = reductions.pop() if len(reductions) == 1 else None
            if reduction is None:
                raise ValueError(
                    f"loss must be a mean or sum over samples for micro-batches, got {layer.objective.term_name} in "
                    f"layer {index}, which compares the samples of a batch: leave micro_batch_size out"
                )
            self._measured[layer.objective] = reduction


def _two_targets(targets: Tensor | None) -> Tensor | None:
    """Return two targets of a batch, different ones if there are any."""
    if targets is None:
        return None
    different = (targets != targets[0]).flatten(1).any(1) if targets.dim() > 1 else targets != targets[0]
    return targets[[0, int(different.int().argmax()) or min(1, len(targets) - 1)]]


def _reduction_of(
    objective: Objective, activations: Tensor, targets: tuple[Tensor | None, Tensor | None], has_negatives: bool
) -> Reduction | None:
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


def _total(parts: Sequence[LocalLoss], factors: Sequence[float], shares: Sequence[float]) -> LocalLoss:
    """Return the figures of a whole batch: the loss and its terms by factors, means over samples by shares."""

    def weighted(values: Sequence[Tensor | None], weights: Sequence[float]) -> Tensor | None:
        terms = [weight * value for value, weight in zip(values, weights, strict=True) if value is not None]
        return torch.stack(terms).sum(0) if terms else None

    loss = weighted([part.loss for part in parts], factors)
    assert loss is not None
    names = parts[0].parts
    return LocalLoss(
        loss,
        weighted([part.positive for part in parts], shares),
        weighted([part.negative for part in parts], shares),
        weighted([part.accuracy for part in parts], shares),
        {name: torch.stack([f * p.parts[name] for p, f in zip(parts, factors, strict=True)]).sum(0) for name in names},
    )
