"""The local training step, as a function of layers, batch and groups, in two forms with equal results.

*Layerwise* (:class:`LayerwiseStep`): the layers of one group run forward, backward and their update, and their graph is
freed before the next layer runs. Memory does not grow with depth.

*Whole* (:class:`WholeStep`): one pure function from parameters, buffers and batch to gradients, new buffers and local
losses of all layers, composed of :mod:`torch.func` transforms. ``torch.compile(fullgraph=True)`` compiles it as one
graph. One update of all layers follows. The graphs of all layers of overlapping groups exist at once.

In both forms every layer runs once per step, also if groups overlap, so buffers are updated once and random numbers
drawn once; and every layer reads the outputs of the layers before from before their update.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from forwardforward._utils.modes import autocast_to, eval_mode
from forwardforward.batches import Batch, LabelledInput
from forwardforward.layers import FFLayer
from forwardforward.layers.chain import skip_tensors
from forwardforward.objectives import LocalLoss
from forwardforward.optimizers import LocalOptimizer
from forwardforward.update_schedules import Group, Groups

__all__ = ["LayerwiseStep", "StepResult", "WholeStep"]


@dataclass
class StepResult:
    """The figures of one training step; tensors stay on the device.

    Attributes:
        layers: Local loss (detached) by layer, without layers that were in no group.
        head: Loss and accuracy of the one-pass head, if there is one.
        gradient_norms: Norm of the gradient by layer, if the step monitored it.

    Example:
        >>> StepResult().layers
        {}
    """

    layers: dict[int, LocalLoss] = field(default_factory=dict)
    head: LocalLoss | None = None
    gradient_norms: dict[int, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Stack:
    """The layers of a step, and what is updated with them.

    Attributes:
        layers: The layers, in order.
        names: For each layer, the names of the parameter groups that are updated with it.
        observed: Layers whose outputs the caller reads, such as for a head.
        observe: What is kept of an observed layer's output; default: the output. Pooled rows need less memory.
    """

    layers: Sequence[FFLayer]
    names: Sequence[tuple[str, ...]]
    observed: frozenset[int] = frozenset()
    observe: Callable[[Tensor], Tensor] = torch.Tensor.detach

    def updates(self, groups: Sequence[Group]) -> list[list[str]]:
        """Return the parameter groups that are updated together, in order.

        Overlapping groups update each layer by itself, after the last group that contains it.
        """
        overlap = any(count > 1 for count in Counter(i for group in groups for i in group.layers).values())
        if overlap:
            layers = sorted({i for group in groups for i in group.layers})
            return [list(self.names[i]) for i in layers]
        return [[name for i in group.layers for name in self.names[i]] for group in groups]


class _Visited(NamedTuple):
    """A layer whose graph is kept until backward has run for its last group."""

    leaf: Tensor | LabelledInput
    output: Tensor
    loss: Tensor


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
    """

    def __init__(
        self,
        stack: Stack,
        optimizer: LocalOptimizer,
        batch: Batch,
        autocast: torch.dtype | None = None,
        monitor: bool = False,
    ) -> None:
        self.result = StepResult()
        self.outputs: dict[int, Tensor] = {}
        self._stack = stack
        self._layers = stack.layers
        self._optimizer = optimizer
        self._batch = batch
        self._autocast = autocast
        self._monitor = monitor
        self._x: Tensor | LabelledInput = batch.inputs
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
                self.outputs[layer] = self._stack.observe(output)

    def _backward(self, group: Group, keep: set[int]) -> None:
        """Run backward from the group's losses to its first layer; other groups need the graphs of ``keep``."""
        gradient: Tensor | None = None
        for layer in reversed(group.layers):
            leaf, output, loss = self._visited[layer] if layer in keep else self._visited.pop(layer)
            roots: list[tuple[Tensor, Tensor | None]] = []
            if layer in group.objectives and loss.requires_grad:
                roots.append((loss, None))
            if gradient is not None and output.requires_grad:
                roots.append((output, gradient))
            first = layer == group.layers[0]
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

    def _update(self, groups: Sequence[Sequence[int]]) -> None:
        for layers in groups:
            if self._monitor:
                self.result.gradient_norms |= {layer: gradient_norm(self._layers[layer]) for layer in layers}
            if layers:
                self._optimizer.step([name for layer in layers for name in self._stack.names[layer]])

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        return autocast_to(self._autocast, _device_of(self._batch.inputs))


class Gradients(NamedTuple):
    """The result of the whole step's function.

    Attributes:
        parameters: For each layer, the gradient by parameter.
        codebook: Gradient of the label codes, if they are learned.
        buffers: For each layer, the new value by buffer.
        losses: For each layer, its local loss.
        outputs: Outputs of the observed layers.
    """

    parameters: dict[int, dict[str, Tensor]]
    codebook: Tensor | None
    buffers: dict[int, dict[str, Tensor]]
    losses: dict[int, LocalLoss]
    outputs: dict[int, Tensor]


class WholeStep:
    """One training step as one function of all layers' parameters and buffers, then one update.

    Args:
        compile: Whether to compile the function with ``torch.compile(fullgraph=True)``, once for each set of groups and
            mode; a batch of another shape than the first one is computed without the compiler.

    Example:
        >>> import forwardforward as ff
        >>> model = ff.FFSequential(
        ...     ff.FFLinear(8, 6), goodness=ff.goodness.LearnedProjection(3), loss=ff.losses.CrossEntropy()
        ... )
        >>> optimizer = ff.LocalOptimizer(torch.optim.SGD, lr=0.1)
        >>> result = model.step((torch.rand(4, 8), torch.tensor([0, 1, 2, 0])), optimizer, whole=WholeStep())
        >>> sorted(result.layers)
        [0]
    """

    def __init__(self, compile: bool = False) -> None:
        self.compile = compile
        self._compiled: dict[Any, tuple[Any, Callable[..., Gradients]]] = {}

    def run(
        self,
        stack: Stack,
        optimizer: LocalOptimizer,
        batch: Batch,
        groups: Groups,
        autocast: torch.dtype | None = None,
        monitor: bool = False,
    ) -> tuple[StepResult, dict[int, Tensor]]:
        """Update the layers of the groups, and return the figures and what is kept of the observed layers' outputs.

        Args:
            stack: The layers.
            optimizer: Their local optimizers.
            batch: The batch.
            groups: The groups to update.
            autocast: Compute precision; None for that of the weights.
            monitor: Whether to measure gradient norms.
        """
        checked = check_groups(groups, len(stack.layers))
        updated = {layer for group in checked for layer in group.layers}
        gradients = self._gradients(stack, batch, checked, autocast, updated)
        result = StepResult(layers={index: local.detach() for index, local in gradients.losses.items()})
        with torch.no_grad():
            for index, buffers in gradients.buffers.items():
                own = dict(stack.layers[index].named_buffers())
                for name, value in buffers.items():
                    own[name].copy_(value)
        for index, values in gradients.parameters.items():
            optimizer.zero_grad(*stack.names[index])
            own_parameters = dict(stack.layers[index].named_parameters())
            for name, gradient in values.items():
                own_parameters[name].grad = gradient.detach()
            if monitor:
                result.gradient_norms[index] = gradient_norm(stack.layers[index])
        if gradients.codebook is not None and isinstance(batch.inputs, LabelledInput):
            torch.autograd.backward(batch.inputs.codebook, gradients.codebook.detach())
        for names in stack.updates(checked):
            optimizer.step(names)
        with torch.no_grad(), autocast_to(autocast, _device_of(batch.inputs)):
            return result, {index: stack.observe(output) for index, output in gradients.outputs.items()}

    def _gradients(
        self, stack: Stack, batch: Batch, groups: list[Group], autocast: torch.dtype | None, updated: set[int]
    ) -> Gradients:
        layers = stack.layers
        still = [layer for index, layer in enumerate(layers) if index not in updated]
        parameters = [
            {name: p.detach() for name, p in layer.named_parameters() if p.requires_grad and index in updated}
            for index, layer in enumerate(layers)
        ]
        constants = [
            {name: p.detach() for name, p in layer.named_parameters() if name not in trainable}
            for layer, trainable in zip(layers, parameters, strict=True)
        ]
        buffers = [dict(layer.named_buffers()) for layer in layers]
        arguments = (parameters, constants, buffers, batch.inputs, batch.targets)
        function = _WholeFunction(stack, groups, batch.has_negatives, autocast, _learned_codebook(batch))
        with eval_mode(*still), torch.no_grad():
            if self.compile:
                key = (
                    tuple(map(id, layers)),
                    tuple(map(_ranges, groups)),
                    autocast,
                    stack.observed,
                    layers[0].training,
                )
                shape = (batch.inputs.shape, _dtype(batch.inputs))
                if key not in self._compiled:
                    self._compiled[key] = shape, _compile(function)
                first_shape, compiled = self._compiled[key]
                if first_shape == shape:
                    return compiled(*arguments)
            return function(*arguments)


class _WholeFunction:
    """The pure function of a whole step: from parameters, buffers and batch to gradients, new buffers and losses."""

    def __init__(
        self,
        stack: Stack,
        groups: Sequence[Group],
        has_negatives: bool,
        autocast: torch.dtype | None,
        learned_codebook: bool,
    ) -> None:
        self.layers = stack.layers
        self.observed = stack.observed
        self.has_negatives = has_negatives
        self.autocast = autocast
        self.learned_codebook = learned_codebook
        self.updated = sorted({layer for group in groups for layer in group.layers})
        self.relayed = {layer for group in groups for layer in group.layers[1:]}
        self.stop = max([*self.updated, *stack.observed], default=-1) + 1
        self.groups = groups
        # functional_call calls a module's forward, and a compiled function cannot create modules
        self.calls = [_LocalLossCall(layer) for layer in stack.layers]

    def __call__(
        self,
        parameters: list[dict[str, Tensor]],
        constants: list[dict[str, Tensor]],
        buffers: list[dict[str, Tensor]],
        inputs: Tensor | LabelledInput,
        targets: Tensor | None,
    ) -> Gradients:
        batch = Batch(inputs, targets, self.has_negatives)
        skips = skip_tensors(self.layers)
        result = Gradients({}, None, {}, {}, {})
        pullbacks: dict[int, tuple[Callable[..., Any] | None, Tensor, Tensor]] = {}
        x: Tensor | LabelledInput = inputs
        for index in range(self.stop):
            skip = skips.get(index)
            if index not in self.updated:
                state = {
                    f"layer.{k}": v for k, v in {**parameters[index], **constants[index], **buffers[index]}.items()
                }
                with autocast_to(self.autocast, _device_of(x)):
                    output, _ = torch.func.functional_call(self.calls[index], state, (x, None, skip))
            else:
                output, loss, figures, new_buffers, pullback = self._layer(
                    index, parameters[index], constants[index], buffers[index], x, skip, batch
                )
                pullbacks[index] = pullback, loss, output
                result.losses[index] = figures
                result.buffers[index] = new_buffers
            output = output.detach()
            skips.store(index, output)
            if index in self.observed:
                result.outputs[index] = output
            x = output
        codebook = self._backward(pullbacks, result.parameters)
        return result._replace(codebook=codebook)

    def _layer(
        self,
        index: int,
        parameters: dict[str, Tensor],
        constants: dict[str, Tensor],
        buffers: dict[str, Tensor],
        x: Tensor | LabelledInput,
        skip: Tensor | None,
        batch: Batch,
    ) -> tuple[Tensor, Tensor, LocalLoss, dict[str, Tensor], Callable[..., Any] | None]:
        """Run one layer, and return its output, loss, figures, new buffers and the function of its gradients."""
        call = self.calls[index]

        def function(trainable: dict[str, Tensor], *source: Tensor) -> tuple[tuple[Tensor, Tensor], Any]:
            # Buffers are arguments and results: a layer changes its buffers in place, which must be copies here.
            new_buffers = {name: value.clone() for name, value in buffers.items()}
            value: Tensor | LabelledInput = x
            if source:
                value = x.replace_codebook(source[0]) if isinstance(x, LabelledInput) else source[0]
            state = {f"layer.{k}": v for k, v in {**constants, **trainable, **new_buffers}.items()}
            with autocast_to(self.autocast, _device_of(value)):
                output, local = torch.func.functional_call(call, state, (value, batch, skip))
            figures = {name: value for name, value in local._asdict().items() if value is not None and name != "parts"}
            detached = {name: value.detach() for name, value in figures.items()}
            parts = {name: value.detach() for name, value in local.parts.items()}
            return (local.loss, output), (detached, parts, new_buffers)

        source: tuple[Tensor, ...] = ()
        if isinstance(x, LabelledInput):
            source = (x.codebook.detach(),) if self.learned_codebook else ()
        elif index in self.relayed:
            source = (x,)
        pullback: Callable[..., Any] | None = None
        values: Any
        if parameters or source:
            values = torch.func.vjp(function, parameters, *source, has_aux=True)
            (loss, output), pullback, (figures, parts, new_buffers) = values
        else:
            (loss, output), (figures, parts, new_buffers) = function(parameters)
        return output, loss, LocalLoss(**figures, parts=parts), new_buffers, pullback

    def _backward(
        self,
        pullbacks: dict[int, tuple[Callable[..., Any] | None, Tensor, Tensor]],
        gradients: dict[int, dict[str, Tensor]],
    ) -> Tensor | None:
        """Sum the gradients of every group into ``gradients``, and return the gradient of the codes."""
        codebook: Tensor | None = None
        for group in self.groups:
            relay: Tensor | None = None
            for index in reversed(group.layers):
                pullback, loss, output = pullbacks[index]
                counts = index in group.objectives
                gradients.setdefault(index, {})
                if pullback is None or not (counts or relay is not None):
                    relay = None
                    continue
                of_loss = torch.ones_like(loss) if counts else torch.zeros_like(loss)
                of_output = torch.zeros_like(output) if relay is None else relay
                of_parameters, *of_source = pullback((of_loss, of_output))
                total = gradients[index]
                gradients[index] = {k: total[k] + v if k in total else v for k, v in of_parameters.items()}
                relay = None
                if of_source and index in self.relayed:
                    relay = of_source[0] if index != group.layers[0] else None
                elif of_source:
                    codebook = of_source[0] if codebook is None else codebook + of_source[0]
        return codebook


class _LocalLossCall(nn.Module):
    """A layer's local loss as a module's ``forward``, for ``functional_call``."""

    def __init__(self, layer: FFLayer) -> None:
        super().__init__()
        self.layer = layer

    def forward(
        self, x: Tensor | LabelledInput, batch: Batch | None, skip: Tensor | None
    ) -> tuple[Tensor, LocalLoss | None]:
        if batch is None:
            return self.layer(x, skip=skip), None
        return self.layer.local_loss(x, batch, skip)


def _compile(function: _WholeFunction) -> Callable[..., Gradients]:
    """Return the compiled function."""

    def call(*arguments: Any) -> Gradients:
        return function(*arguments)

    # torch gives up after eight versions of one piece of code, and schedules have more sets of groups: one piece for
    # each
    call.__code__ = call.__code__.replace(co_name=f"whole_step_{id(function)}")
    compiled: Callable[..., Gradients] = torch.compile(call, fullgraph=True)
    return compiled


def check_groups(groups: Groups, depth: int) -> list[Group]:
    """Return groups with their objectives, in an order that one pass can follow.

    Args:
        groups: The groups of a step.
        depth: Number of layers.

    Raises:
        ValueError: If a group is not a run of neighboring layers, or groups are not in the order of their last layers.
    """
    checked = [group if isinstance(group, Group) else Group(group, group) for group in groups]
    for group in checked:
        layers, objectives = group
        if not layers or layers.step != 1 or layers[0] < 0 or layers[-1] >= depth:
            raise ValueError(f"groups must be runs of neighboring layers of 0..{depth - 1}, got {layers}")
        if not set(objectives) <= set(layers):
            raise ValueError(f"groups must contain the layers whose objectives count, got {group}")
    lasts = [group.layers[-1] for group in checked]
    if lasts != sorted(set(lasts)):
        raise ValueError(f"groups must be in the order of their last layers, got {list(groups)}")
    return checked


def gradient_norm(module: nn.Module) -> Tensor:
    """Return the norm of a module's gradients, 0 if it has none."""
    norms = [torch.linalg.vector_norm(p.grad) for p in module.parameters() if p.grad is not None]
    total: Tensor = torch.linalg.vector_norm(torch.stack(norms)) if norms else torch.zeros(())
    return total


def _trainable(layer: nn.Module) -> list[nn.Parameter]:
    return [p for p in layer.parameters() if p.requires_grad]


def _learned_codebook(batch: Batch) -> bool:
    return isinstance(batch.inputs, LabelledInput) and batch.inputs.codebook.requires_grad


def _device_of(x: Tensor | LabelledInput) -> torch.device:
    return x.images.device if isinstance(x, LabelledInput) else x.device


def _dtype(x: Tensor | LabelledInput) -> torch.dtype:
    return x.images.dtype if isinstance(x, LabelledInput) else x.dtype


def _ranges(group: Group) -> tuple[int, ...]:
    return (group.layers.start, group.layers.stop, group.objectives.start, group.objectives.stop)
