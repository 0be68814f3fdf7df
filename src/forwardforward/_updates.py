"""One training step's way through the stack: forward, backward and update, group by group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from forwardforward._utils.modes import autocast_to, eval_mode
from forwardforward.batches import Batch, LabelledInput
from forwardforward.objectives import LocalLoss
from forwardforward.optimizers import LocalOptimizer
from forwardforward.update_schedules import Group, Groups

if TYPE_CHECKING:
    from forwardforward.sequential import FFSequential

__all__ = ["StepResult", "Walk"]


@dataclass
class StepResult:
    """What one training step found; tensors stay on the device.

    Attributes:
        layers: By layer, the local loss (detached); layers that were in no group are missing.
        head: Loss and accuracy of the one-pass head, where there is one.
        gradient_norms: By layer, the norm of its gradient; filled where the step was asked to monitor.
    """

    layers: dict[int, LocalLoss] = field(default_factory=dict)
    head: LocalLoss | None = None
    gradient_norms: dict[int, Tensor] = field(default_factory=dict)


class _Visited(NamedTuple):
    """A layer whose graph is kept until the last of its groups has gone backward."""

    leaf: Tensor | LabelledInput
    activations: Tensor
    loss: Tensor


class Walk:
    """One pass over the stack.

    Every layer runs once, on a leaf tensor that cuts its graph from the layer before. When a group's last layer has
    run, the group goes backward layer by layer: a leaf's gradient is relayed to the layer before, down to the group's
    first. A layer is updated after the last of its groups, when its graph is gone, so that no update touches what a
    gradient still needs, and what it has passed on are its activations of before the update.

    Args:
        model: The stack.
        optimizer: Its local optimizers.
        batch: What the step trains on.
        autocast: Precision of the products.
        monitor: Whether to measure gradient norms.
        samples: Number of images, whose activations a head without labels reads.
    """

    def __init__(
        self,
        model: FFSequential,
        optimizer: LocalOptimizer,
        batch: Batch,
        autocast: torch.dtype | None,
        monitor: bool,
        samples: int,
    ) -> None:
        self.result = StepResult()
        self.rows: dict[int, Tensor] = {}
        self._model = model
        self._stack = model.stack
        self._optimizer = optimizer
        self._batch = batch
        self._autocast = autocast
        self._device = next(model.parameters()).device
        self._monitor = monitor
        self._samples = samples
        self._x: Tensor | LabelledInput = batch.inputs
        self._position = 0
        self._visited: dict[int, _Visited] = {}

    def update(self, groups: Groups) -> None:
        """Run and update the groups' layers, and run those between them."""
        wanted = _checked(groups, len(self._stack))
        uses = Counter(layer for group in wanted for layer in group.layers)
        overlapping = any(count > 1 for count in uses.values())
        relayed = {layer for group in wanted for layer in group.layers[1:]}
        position = 0
        for group in wanted:
            for layer in range(position, group.layers[-1] + 1):
                if layer in uses:
                    self._visit(layer, layer in relayed)
                else:
                    self.pass_on(layer + 1)
            position = group.layers[-1] + 1
            uses.subtract(group.layers)
            self._backward(group, {layer for layer in group.layers if uses[layer]})
            done = [layer for layer in group.layers if not uses[layer]]
            self._step([(layer,) for layer in done] if overlapping else [tuple(done)])

    def pass_on(self, stop: int) -> None:
        """Run the layers before ``stop`` that have not run yet, which stand still in this step."""
        if self._position < stop:
            with autocast_to(self._autocast, self._device), torch.no_grad(), eval_mode(self._model):
                for layer in range(self._position, stop):
                    self._go_on(layer, self._stack[layer](self._x))

    def _visit(self, layer: int, relayed: bool) -> None:
        leaf = self._x.detach().requires_grad_() if relayed and isinstance(self._x, Tensor) else self._x
        self._optimizer.zero_grad(*self._units(layer))
        with autocast_to(self._autocast, self._device):
            h, local = self._stack[layer].local_loss(leaf, self._batch)
        self._visited[layer] = _Visited(leaf, h, local.loss)
        self.result.layers[layer] = local._replace(loss=local.loss.detach())
        self._go_on(layer, h.detach())

    def _go_on(self, layer: int, h: Tensor) -> None:
        self._x = h
        self._position = layer + 1
        head = self._model.head
        if head is not None and self._model.labels is None and layer in head.indices:
            with autocast_to(self._autocast, self._device):
                self.rows[layer] = head.rows(h[: self._samples])

    def _backward(self, group: Group, keep: set[int]) -> None:
        """Send the group's losses back to its first layer; the graphs of ``keep`` serve another group."""
        relay: Tensor | None = None
        for layer in reversed(group.layers):
            leaf, h, loss = self._visited[layer] if layer in keep else self._visited.pop(layer)
            roots: list[tuple[Tensor, Tensor | None]] = []
            if layer in group.objectives and loss.requires_grad:
                roots.append((loss, None))
            if relay is not None and h.requires_grad:
                roots.append((h, relay))
            first = layer == group.layers[0]
            # The first layer's leaf may serve another group; this one does not need its gradient.
            inputs = self._learning(layer) if first and isinstance(leaf, Tensor) and leaf.requires_grad else None
            if roots and inputs != []:  # a layer may have nothing to learn
                torch.autograd.backward(
                    [root for root, _ in roots],
                    [gradient for _, gradient in roots],
                    retain_graph=layer in keep,
                    inputs=inputs,
                )
            relay = None
            if not first and isinstance(leaf, Tensor):
                relay, leaf.grad = leaf.grad, None

    def _step(self, groups: Sequence[tuple[int, ...]]) -> None:
        for group in groups:
            if self._monitor:
                self.result.gradient_norms |= {layer: gradient_norm(self._stack[layer]) for layer in group}
            self._optimizer.step([unit for layer in group for unit in self._units(layer)])

    def _units(self, layer: int) -> list[str]:
        """Return what a layer is updated with: itself, and labels that are learned with the first."""
        return [str(layer), "labels"] if layer == 0 and "labels" in self._model.parameter_groups() else [str(layer)]

    def _learning(self, layer: int) -> list[nn.Parameter]:
        return [p for p in self._stack[layer].parameters() if p.requires_grad]


def _checked(groups: Groups, depth: int) -> list[Group]:
    """Return the groups with their objectives, in an order that one pass can follow."""
    found = [group if isinstance(group, Group) else Group(group, group) for group in groups]
    for group in found:
        layers, objectives = group
        if not layers or layers.step != 1 or layers[0] < 0 or layers[-1] >= depth:
            raise ValueError(f"groups must be runs of neighbouring layers of 0..{depth - 1}, got {layers}")
        if not set(objectives) <= set(layers):
            raise ValueError(f"groups must hold the layers whose objectives count, got {group}")
    lasts = [group.layers[-1] for group in found]
    if lasts != sorted(set(lasts)):
        raise ValueError(f"groups must come in the order of their last layers, got {list(groups)}")
    return found


def gradient_norm(module: nn.Module) -> Tensor:
    """Return the norm of a module's gradients, 0 where it has none."""
    norms = [torch.linalg.vector_norm(p.grad) for p in module.parameters() if p.grad is not None]
    whole: Tensor = torch.linalg.vector_norm(torch.stack(norms)) if norms else torch.zeros(())
    return whole
