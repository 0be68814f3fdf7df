"""The layerwise form of the step: forward, backward and update, group by group."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from forwardforward._utils.modes import autocast_to, eval_mode
from forwardforward.batches import Batch, LabeledInput
from forwardforward.layers.chain import skip_tensors
from forwardforward.optimizers import LocalOptimizer
from forwardforward.step.share import Reduction, Share
from forwardforward.step.stack import Stack, StepResult, check_groups, gradient_norm
from forwardforward.update_schedules import Group, Groups

__all__ = ["LayerwiseStep"]


class _Visited(NamedTuple):
    """A layer whose graph is kept until backward has run for its last group."""

    leaf: Tensor | LabeledInput
    output: Tensor
    loss: Tensor


class _Reduced(NamedTuple):
    """Layers to update together once their gradients are summed over the processes."""

    groups: Sequence[Sequence[int]]
    reductions: dict[int, Reduction]


class LayerwiseStep:
    """One training step, group by group.

    Every layer runs once, on a leaf tensor that cuts its graph from the layer before. After a group's last layer,
    backward runs from layer to layer: the gradient of a leaf is passed to the output of the layer before, down to the
    group's first.

    Args:
        stack: The layers.
        optimizer: Their local optimizers.
        batch: The batch.
        autocast: Compute precision, such as ``torch.bfloat16``; None for that of the weights.
        monitor: Whether to measure gradient norms.
        factor: Factor on the losses.
        first: Whether gradients are those of this batch only, and not added to those of the batches before.
        last: Whether to update the layers.
        share: The samples of the batch that this process computes, if several processes train together. The gradients
            of a layer are summed over the processes while the next layer is computed, and the layer is updated after
            that.

    Example:
        >>> import forwardforward as ff
        >>> model = ff.FFSequential(
        ...     ff.FFLinear(8, 6), goodness=ff.goodness.LearnedProjection(3), loss=ff.losses.CrossEntropy()
        ... )
        >>> optimizer = ff.LocalOptimizer(torch.optim.SGD, lr=0.1).attach(model)
        >>> batch = ff.Batch(torch.rand(4, 8), torch.tensor([0, 1, 2, 0]))
        >>> result = LayerwiseStep(ff.step.Stack(model.stack, [("0",)]), optimizer, batch).run([range(1)])
        >>> sorted(result.layers)
        [0]
    """

    def __init__(
        self,
        stack: Stack,
        optimizer: LocalOptimizer,
        batch: Batch,
        autocast: torch.dtype | None = None,
        monitor: bool = False,
        factor: float = 1.0,
        first: bool = True,
        last: bool = True,
        share: Share | None = None,
    ) -> None:
        self.result = StepResult()
        self.outputs: dict[int, Tensor] = {}
        self._stack = stack
        self._layers = stack.layers
        self._optimizer = optimizer
        self._batch = batch
        self._autocast = autocast
        self._monitor = monitor
        self._factor = factor if share is None else factor * share.weight
        self._first = first
        self._last = last
        self._share = share
        self._reduced: _Reduced | None = None
        self._x: Tensor | LabeledInput = batch.inputs
        self._position = 0
        self._skips = skip_tensors(stack.layers)
        self._visited: dict[int, _Visited] = {}

    def run(self, groups: Groups) -> StepResult:
        """Run and update the layers of the groups, and run the layers between them.

        Args:
            groups: The groups to update, see :mod:`forwardforward.update_schedules`.
        """
        checked = check_groups(groups, len(self._layers))
        remaining = Counter(layer for group in checked for layer in group.layers)
        overlap = any(count > 1 for count in remaining.values())
        relayed = {layer for group in checked for layer in group.layers[1:]}
        for group in checked:
            for layer in range(self._position, group.layers[-1] + 1):
                if layer in remaining:
                    self._forward(layer, layer in relayed)
                else:
                    self.advance(layer + 1)
            remaining.subtract(group.layers)
            self._backward(group, {layer for layer in group.layers if remaining[layer]})
            # A layer is updated after its last group, when its graph is freed: no update changes a tensor that a later
            # gradient needs, and the outputs that later layers read are those from before the update.
            finished = [layer for layer in group.layers if not remaining[layer]]
            self._update([[layer] for layer in finished] if overlap else [finished])
        self._finish_reduction()
        self.advance(max(self._stack.observed, default=-1) + 1)
        return self.result

    def advance(self, stop: int) -> None:
        """Run the layers before ``stop`` that have not run yet, without an update.

        Args:
            stop: Index after the last layer to run.
        """
        for layer in range(self._position, stop):
            with eval_mode(self._layers[layer]), torch.no_grad(), self._precision():
                self._set_output(layer, self._layers[layer](self._x, skip=self._skips.get(layer)))

    def _forward(self, layer: int, relayed: bool) -> None:
        leaf = self._x.detach().requires_grad_() if relayed and isinstance(self._x, Tensor) else self._x
        if self._first:
            self._optimizer.zero_grad(*self._stack.names[layer])
        with self._precision():
            output, local = self._layers[layer].local_loss(leaf, self._batch, self._skips.get(layer))
        self._visited[layer] = _Visited(leaf, output, local.loss)
        self.result.layers[layer] = local.detach()
        self._set_output(layer, output.detach())

    def _set_output(self, layer: int, output: Tensor) -> None:
        self._x = output
        self._position = layer + 1
        self._skips.store(layer, output)
        if layer in self._stack.observed:
            with torch.no_grad(), self._precision():
                self.outputs[layer] = self._stack.observe(output[: self._batch.samples])

    def _backward(
        self, group: Group, keep: set[int], gradient: Tensor | None = None, begins_earlier: bool = False
    ) -> Tensor | None:
        """Run backward from the group's losses to its first layer; other groups need the graphs of ``keep``.

        Args:
            group: The group.
            keep: The layers whose graphs are kept.
            gradient: Gradient of the last layer's output, of a group that continues in another process.
            begins_earlier: Whether the group begins in another process; then the gradient of the input is returned.
        """
        for layer in reversed(group.layers):
            leaf, output, loss = self._visited[layer] if layer in keep else self._visited.pop(layer)
            roots: list[tuple[Tensor, Tensor | None]] = []
            if layer in group.objectives and loss.requires_grad:
                roots.append((loss, None if self._factor == 1.0 else torch.full_like(loss, self._factor)))
            if gradient is not None and output.requires_grad:
                roots.append((output, gradient))
            first = layer == group.layers[0] and not begins_earlier
            # The first layer's leaf may serve another group; this group does not need its gradient.
            inputs = (
                _trainable(self._layers[layer]) if first and isinstance(leaf, Tensor) and leaf.requires_grad else None
            )
            if roots and inputs != []:  # a layer may have no trainable parameters
                torch.autograd.backward(
                    [root for root, _ in roots],
                    [root_gradient for _, root_gradient in roots],
                    retain_graph=layer in keep,
                    inputs=inputs,
                )
            gradient = None
            if not first and isinstance(leaf, Tensor):
                gradient, leaf.grad = leaf.grad, None
        return gradient

    def _update(self, groups: Sequence[Sequence[int]]) -> None:
        if not self._last:
            return
        if self._share is None:
            self._apply(groups)
            return
        reductions = {
            layer: self._share.reduce(self._optimizer.parameters(*self._stack.names[layer]), self.result.layers[layer])
            for layers in groups
            for layer in layers
        }
        # The layers before are updated only now: their gradients were summed while these layers were computed.
        self._finish_reduction()
        self._reduced = _Reduced(groups, reductions)

    def _finish_reduction(self) -> None:
        if self._reduced is not None:
            groups, reductions = self._reduced
            self._reduced = None
            self.result.layers |= {layer: reduction.wait() for layer, reduction in reductions.items()}
            self._apply(groups)

    def _apply(self, groups: Sequence[Sequence[int]]) -> None:
        for layers in groups:
            if self._monitor:
                self.result.gradient_norms |= {layer: gradient_norm(self._layers[layer]) for layer in layers}
            if layers:
                self._optimizer.step([name for layer in layers for name in self._stack.names[layer]])

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        return autocast_to(self._autocast, self._batch.inputs.device)


def _trainable(layer: nn.Module) -> list[nn.Parameter]:
    return [p for p in layer.parameters() if p.requires_grad]
