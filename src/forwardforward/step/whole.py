"""The whole form of the step: one pure function of all layers, then one update."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from forwardforward._utils.modes import autocast_to, eval_mode
from forwardforward.batches import Batch, LabeledInput
from forwardforward.layers import FFLayer
from forwardforward.layers.chain import skip_tensors
from forwardforward.objectives import LocalLoss
from forwardforward.optimizers import LocalOptimizer
from forwardforward.step.stack import Stack, StepResult, check_groups, gradient_norm
from forwardforward.update_schedules import Group, Groups

__all__ = ["Gradients", "WholeStep"]


class Gradients(NamedTuple):
    """The result of the whole step's function.

    Attributes:
        parameters: For each layer, the gradient by parameter.
        codebook: Gradient of the label codes, if they are learned.
        buffers: For each layer, the new value by buffer.
        losses: For each layer, its local loss.
        outputs: Outputs of the observed layers.

    Example:
        >>> Gradients({}, None, {}, {}, {}).parameters
        {}
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
        if gradients.codebook is not None and isinstance(batch.inputs, LabeledInput):
            torch.autograd.backward(batch.inputs.codebook, gradients.codebook.detach())
        for names in stack.updates(checked):
            optimizer.step(names)
        with torch.no_grad(), autocast_to(autocast, batch.inputs.device):
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
        inputs = batch.inputs
        if isinstance(inputs, LabeledInput):
            inputs = inputs.replace_codebook(inputs.codebook.detach())
        # No argument requires a gradient, so no graph is recorded outside of the function's own transforms; under
        # no_grad, PyTorch's LSTM would not store what the transforms need.
        arguments = (parameters, constants, buffers, inputs, batch.targets)
        function = _WholeFunction(stack, groups, batch.has_negatives, autocast, _learned_codebook(batch))
        with eval_mode(*still):
            if self.compile:
                key = (
                    tuple(map(id, layers)),
                    tuple(map(_ranges, groups)),
                    autocast,
                    stack.observed,
                    layers[0].training,
                )
                shape = (batch.inputs.shape, batch.inputs.dtype)
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
        inputs: Tensor | LabeledInput,
        targets: Tensor | None,
    ) -> Gradients:
        batch = Batch(inputs, targets, self.has_negatives)
        skips = skip_tensors(self.layers)
        result = Gradients({}, None, {}, {}, {})
        pullbacks: dict[int, tuple[Callable[..., Any] | None, Tensor, Tensor]] = {}
        x: Tensor | LabeledInput = inputs
        for index in range(self.stop):
            skip = skips.get(index)
            if index not in self.updated:
                state = {
                    f"layer.{k}": v for k, v in {**parameters[index], **constants[index], **buffers[index]}.items()
                }
                with autocast_to(self.autocast, x.device):
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
        x: Tensor | LabeledInput,
        skip: Tensor | None,
        batch: Batch,
    ) -> tuple[Tensor, Tensor, LocalLoss, dict[str, Tensor], Callable[..., Any] | None]:
        """Run one layer, and return its output, loss, figures, new buffers and the function of its gradients."""
        call = self.calls[index]

        def function(trainable: dict[str, Tensor], *source: Tensor) -> tuple[tuple[Tensor, Tensor], Any]:
            # Buffers are arguments and results: a layer changes its buffers in place, which must be copies here.
            new_buffers = {name: value.clone() for name, value in buffers.items()}
            value: Tensor | LabeledInput = x
            if source:
                value = x.replace_codebook(source[0]) if isinstance(x, LabeledInput) else source[0]
            state = {f"layer.{k}": v for k, v in {**constants, **trainable, **new_buffers}.items()}
            with autocast_to(self.autocast, value.device):
                output, local = torch.func.functional_call(call, state, (value, batch, skip))
            figures = {name: value for name, value in local._asdict().items() if value is not None and name != "parts"}
            detached = {name: value.detach() for name, value in figures.items()}
            parts = {name: value.detach() for name, value in local.parts.items()}
            return (local.loss, output), (detached, parts, new_buffers)

        source: tuple[Tensor, ...] = ()
        if isinstance(x, LabeledInput):
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
        self, x: Tensor | LabeledInput, batch: Batch | None, skip: Tensor | None
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


def _learned_codebook(batch: Batch) -> bool:
    return isinstance(batch.inputs, LabeledInput) and batch.inputs.codebook.requires_grad


def _ranges(group: Group) -> tuple[int, ...]:
    return (group.layers.start, group.layers.stop, group.objectives.start, group.objectives.stop)
