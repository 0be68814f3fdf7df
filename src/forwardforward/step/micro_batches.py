"""A step whose gradients are computed in parts of the batch and accumulated."""

from __future__ import annotations

import weakref
from collections.abc import Sequence

import torch
from torch import Tensor

from forwardforward._utils.arguments import PositiveInt, checked
from forwardforward.batches import Batch
from forwardforward.data.tensors import batch_slices
from forwardforward.layers import FFLayer
from forwardforward.objectives import LocalLoss, Objective
from forwardforward.optimizers import LocalOptimizer
from forwardforward.step.independence import check_independence
from forwardforward.step.layerwise import LayerwiseStep
from forwardforward.step.reductions import LossReduction, loss_reductions
from forwardforward.step.stack import Stack, StepResult
from forwardforward.step.whole import WholeStep
from forwardforward.update_schedules import Groups

__all__ = ["MicroBatches"]


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
            contrastive loss, both kinds occur in one network, or another part than batch and peer normalization
            depends on the other samples of the batch.

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
        self._measured: weakref.WeakKeyDictionary[Objective, LossReduction] = weakref.WeakKeyDictionary()

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

    def _reduction(self, layers: Sequence[FFLayer], batch: Batch, autocast: torch.dtype | None) -> LossReduction:
        """Return whether the layers' losses are means or sums over samples, which their goodness must not compare."""
        objectives = [layer.objective for layer in layers if layer.objective is not None]
        if any(objective not in self._measured for objective in objectives):
            check_independence(layers, batch, "micro-batches", autocast)
            measured = loss_reductions(layers, batch, autocast, known=self._measured)
            for index, objective in enumerate(objectives):
                reduction = measured.get(objective, self._measured.get(objective))
                if reduction is None:
                    raise ValueError(
                        f"loss must be a mean or sum over samples for micro-batches, got {objective.term_name} in "
                        f"layer {index}, which compares the samples of a batch: leave micro_batch_size out"
                    )
                self._measured[objective] = reduction
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
