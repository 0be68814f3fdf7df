"""The training step of one process of a pipeline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from forwardforward.batches import Batch
from forwardforward.optimizers import LocalOptimizer
from forwardforward.step import LayerwiseStep, Stack, StepResult, check_groups, gradient_norm
from forwardforward.update_schedules import Group, Groups

__all__ = ["StageStep"]


class StageStep(LayerwiseStep):
    """One training step of a run of layers, whose input is the output of another process.

    Args:
        stack: All layers, of which only those of this process have values.
        optimizer: Their local optimizers.
        batch: The batch; its inputs are those of the first of the own layers.
        layers: The own layers.
        skips: Outputs of earlier layers that skip connections read.
        rows: What is kept of the observed outputs of earlier layers.
        send: Called with the last own layer's output, what is kept of observed outputs and the outputs that later skip
            connections read, before backward runs.
        exchange: Sends the gradient of the input to the process before, and receives that of the output from the
            process after: ``exchange(None) -> gradient`` and ``exchange(gradient)``.
        **options: Those of :class:`~forwardforward.step.LayerwiseStep`.
    """

    def __init__(
        self,
        stack: Stack,
        optimizer: LocalOptimizer,
        batch: Batch,
        layers: range,
        skips: Mapping[int, Tensor],
        rows: Mapping[int, Tensor],
        send: Callable[[Tensor, Mapping[int, Tensor], Mapping[int, Tensor]], None],
        exchange: Callable[[Tensor | None, Tensor], Tensor],
        **options: Any,
    ) -> None:
        super().__init__(stack, optimizer, batch, **options)
        self._own = layers
        self._position = layers.start
        self._skips.outputs.update(skips)
        self.outputs.update(rows)
        self._send = send
        self._exchange = exchange

    def run(self, groups: Groups) -> StepResult:
        """Run and update the own layers of the groups, and run the own layers between them.

        Args:
            groups: The groups to update of the whole network.
        """
        checked = check_groups(groups, len(self._layers))
        remaining = Counter(layer for group in checked for layer in group.layers)
        overlap = any(count > 1 for count in remaining.values())
        relayed = {layer for group in checked for layer in group.layers[1:]}
        for group in checked:
            remaining.subtract(group.layers)
            layers = [layer for layer in group.layers if layer in self._own]
            if not layers:
                continue
            for layer in range(self._position, layers[-1] + 1):
                if layer in remaining:
                    self._forward(layer, layer in relayed)
                else:
                    self.advance(layer + 1)
            unfinished = {layer for layer in layers if remaining[layer]}
            self._backward_own(group, range(layers[0], layers[-1] + 1), unfinished)
            finished = [layer for layer in layers if layer not in unfinished]
            self._update_own(group, finished, overlap)
        later = max([*(group.layers[-1] for group in checked), *self._stack.observed], default=-1)
        self.advance(min(self._own.stop, later + 1))
        return self.result

    def _backward_own(self, group: Group, own: range, keep: set[int]) -> None:
        """Run backward through the own layers of a group, and exchange gradients with the processes of the others."""
        begins_earlier = own.start > group.layers.start
        gradient: Tensor | None = None
        if own.stop < group.layers.stop:
            output = self._visited[own[-1]].output
            gradient = self._exchange(None, output.detach())
        clipped = Group(own, range(max(own.start, group.objectives.start), min(own.stop, group.objectives.stop)))
        leaf = self._visited[own[0]].leaf
        gradient = self._backward(clipped, keep, gradient, begins_earlier)
        if begins_earlier:
            assert isinstance(leaf, Tensor)
            self._exchange(torch.zeros_like(leaf) if gradient is None else gradient, leaf)

    def _update_own(self, group: Group, finished: list[int], overlap: bool) -> None:
        if self._monitor:
            self.result.gradient_norms |= {layer: gradient_norm(self._layers[layer]) for layer in finished}
        # A group's optimizer has the state of all its layers; those of other processes have no gradients.
        updates = [[layer] for layer in finished] if overlap else [list(group.layers)] if finished else []
        for layers in updates:
            self._optimizer.step([name for layer in layers for name in self._stack.names[layer]])

    def _set_output(self, layer: int, output: Tensor) -> None:
        super()._set_output(layer, output)
        if layer == self._own[-1] and self._own.stop < len(self._layers):
            self._send(output, self.outputs, self._skips.outputs)
