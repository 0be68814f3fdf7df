"""The whole form of the step: one pure function of all layers, then one update."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from forwardforward._utils.arguments import checked
from forwardforward._utils.modes import autocast_to, eval_mode
from forwardforward.batches import Batch, LabeledInput
from forwardforward.layers import FFLayer
from forwardforward.layers.chain import skip_tensors
from forwardforward.objectives import LocalLoss
from forwardforward.optimizers import LocalOptimizer
from forwardforward.step.stack import Stack, StepResult, check_groups, gradient_norm
from forwardforward.update_schedules import Group, Groups

__all__ = ["CompilationError", "Gradients", "WholeStep"]


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


class CompilationError(RuntimeError):
    """The whole step could not be compiled; nothing has been updated."""


@checked
class WholeStep:
    """One training step as one function of all layers' parameters and buffers, then one update.

    Args:
        compile: Whether to compile the function with ``torch.compile(fullgraph=True)``, once for each set of groups and
            mode. A batch of another shape is computed without the compiler; if it occurs twice in succession, its
            shape is compiled too.

    Raises:
        CompilationError: On a step with ``compile``, if the compiler fails.

    Example:
        >>> import forwardforward as ff
        >>> model = ff.FFSequential(
        ...     ff.FFLinear(8, 6), goodness=ff.goodness.LearnedProjection(3), loss=ff.losses.CrossEntropy()
        ... )
        >>> optimizer = ff.LocalOptimizer(torch.optim.SGD, lr=0.1)
        >>> result = model.step((torch.rand(4, 8), torch.tensor([0, 1, 2, 0])), optimizer, whole_step=WholeStep())
        >>> sorted(result.layers)
        [0]
    """

    def __init__(self, compile: bool = False) -> None:
        self.compile = compile
        self._compiled: dict[Any, dict[Any, Callable[..., Gradients]]] = {}
        self._last_shape: dict[Any, Any] = {}

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
        gradients = self.gradients(stack, batch, checked, autocast)
        result = StepResult(layers={index: local.detach() for index, local in gradients.losses.items()})
        with torch.no_grad():
            for index, new_values in gradients.buffers.items():
                buffers = dict(stack.layers[index].named_buffers())
                for name, value in new_values.items():
                    buffers[name].copy_(value)
        for index, values in gradients.parameters.items():
            optimizer.zero_grad(*stack.names[index])
            parameters = dict(stack.layers[index].named_parameters())
            for name, gradient in values.items():
                parameters[name].grad = gradient.detach()
            if monitor:
                result.gradient_norms[index] = gradient_norm(stack.layers[index])
        if gradients.codebook is not None and isinstance(batch.inputs, LabeledInput):
            torch.autograd.backward(batch.inputs.codebook, gradients.codebook.detach())
        for names in stack.updates(checked):
            optimizer.step(names)
        with torch.no_grad(), autocast_to(autocast, batch.inputs.device):
            return result, {index: stack.observe(output) for index, output in gradients.outputs.items()}

    def gradients(
        self, stack: Stack, batch: Batch, groups: Sequence[Group], autocast: torch.dtype | None = None
    ) -> Gradients:
        """Return the gradients, new buffers and local losses of a step, without changing anything.

        Args:
            stack: The layers.
            batch: The batch.
            groups: The groups to update.
            autocast: Compute precision; None for that of the weights.
        """
        function = _WholeFunction(stack, groups, batch.has_negatives, autocast, _learned_codebook(batch))
        layers = stack.layers
        parameters = [
            {
                name: p.detach()
                for name, p in layer.named_parameters()
                if p.requires_grad and function.trains(index, name)
            }
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
        inactive = [layer for index, layer in enumerate(layers) if index not in function.updated]
        with eval_mode(*inactive):
            if not self.compile:
                return function(*arguments)
            try:
                compiled = self._compiled_function(function, batch, layers[0].training)
                return (function if compiled is None else compiled)(*arguments)
            except Exception as error:  # compilers fail with exceptions of many types
                raise CompilationError(str(error) or type(error).__name__) from error

    def _compiled_function(
        self, function: _WholeFunction, batch: Batch, training: bool
    ) -> Callable[..., Gradients] | None:
        """Return the compiled function for a batch, None for a shape that is not worth compiling."""
        key, shape = (function.key, training), (batch.inputs.shape, batch.inputs.dtype)
        by_shape = self._compiled.setdefault(key, {})
        repeated = self._last_shape.get(key) == shape
        self._last_shape[key] = shape
        if shape not in by_shape and (not by_shape or (repeated and len(by_shape) == 1)):
            by_shape[shape] = _compile(function)
        return by_shape.get(shape)


#: A layer's function of gradients, its loss and its output.
_Pullback = tuple[Callable[..., Any] | None, Tensor, Tensor]


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
        self.with_loss = {layer for group in groups for layer in group.objectives}
        self.stop = max([*self.updated, *stack.observed], default=-1) + 1
        self.groups = groups
        last_group = {layer: group for group in groups for layer in group.layers}
        #: By a group's last layer: the group, and the layers whose graphs no later group needs.
        self.ends = {
            group.layers[-1]: (group, [layer for layer in group.layers if last_group[layer] is group])
            for group in groups
        }
        # functional_call calls a module's forward, and a compiled function cannot create modules
        self.calls = [_LocalLossCall(layer) for layer in stack.layers]

    @property
    def key(self) -> tuple[Any, ...]:
        """What the function depends on beside its arguments."""
        layers, groups = tuple(map(id, self.layers)), tuple(map(_ranges, self.groups))
        return layers, groups, self.autocast, self.observed, self.has_negatives, self.learned_codebook

    def trains(self, index: int, name: str) -> bool:
        """Return whether a step computes the gradient of a layer's parameter.

        Parameters of an objective whose loss does not count have no gradient, not a gradient of zero: an optimizer
        with weight decay would change them.
        """
        of_objective = name.startswith(("objective.", "peer."))
        return index in self.updated and (not of_objective or index in self.with_loss)

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
        pullbacks: dict[int, _Pullback] = {}
        codebook: Tensor | None = None
        x: Tensor | LabeledInput = inputs
        for index in range(self.stop):
            skip = skips.get(index)
            if index in self.updated:
                output, loss, figures, new_buffers, pullback = self._layer(
                    index, parameters[index], constants[index], buffers[index], x, skip, batch
                )
                pullbacks[index] = pullback, loss, output
                result.losses[index] = figures
                result.buffers[index] = new_buffers
            else:
                state = {**parameters[index], **constants[index], **buffers[index]}
                with autocast_to(self.autocast, x.device):
                    output, _ = torch.func.functional_call(self.calls[index], _prefixed(state), (x, None, skip))
            if index in self.ends:  # backward at once, so that graphs are freed
                group, finished = self.ends[index]
                of_codes = self._backward(group, pullbacks, result.parameters)
                if of_codes is not None:
                    codebook = of_codes if codebook is None else codebook + of_codes
                for layer in finished:
                    del pullbacks[layer]
            output = output.detach()
            skips.store(index, output)
            if index in self.observed:
                result.outputs[index] = output
            x = output
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
            copies = {name: value.clone() for name, value in buffers.items()}
            value: Tensor | LabeledInput = x
            if source:
                value = x.replace_codebook(source[0]) if isinstance(x, LabeledInput) else source[0]
            state = _prefixed({**constants, **trainable, **copies})
            with autocast_to(self.autocast, value.device):
                output, local = torch.func.functional_call(call, state, (value, batch, skip))
            # read from the state, since a layer may also assign new tensors to its buffers
            new_buffers = {name: state[f"layer.{name}"].detach() for name in buffers}
            figures = {name: figure for name, figure in local.detach()._asdict().items() if figure is not None}
            parts = figures.pop("parts")
            return (local.loss, output), (figures, parts, new_buffers)

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
        self, group: Group, pullbacks: dict[int, _Pullback], gradients: dict[int, dict[str, Tensor]]
    ) -> Tensor | None:
        """Add the gradients of one group to ``gradients``, and return the gradient of the codes."""
        relay: Tensor | None = None
        codebook: Tensor | None = None
        for index in reversed(group.layers):
            pullback, loss, output = pullbacks[index]
            counts = index in group.objectives
            total = gradients.setdefault(index, {})
            if pullback is None or not (counts or relay is not None):
                relay = None
                continue
            of_loss = torch.ones_like(loss) if counts else torch.zeros_like(loss)
            of_output = torch.zeros_like(output) if relay is None else relay
            of_parameters, *of_source = pullback((of_loss, of_output))
            gradients[index] = {k: total[k] + v if k in total else v for k, v in of_parameters.items()}
            relay = None
            if of_source and index in self.relayed:
                relay = of_source[0] if index != group.layers[0] else None
            elif of_source:
                codebook = of_source[0]
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

    # torch gives up after eight versions of one code object, and schedules have more sets of groups: one object each
    call.__code__ = call.__code__.replace(co_name=f"whole_step_{id(function)}")
    compiled: Callable[..., Gradients] = torch.compile(call, fullgraph=True)
    return compiled


def _learned_codebook(batch: Batch) -> bool:
    return isinstance(batch.inputs, LabeledInput) and batch.inputs.codebook.requires_grad


def _ranges(group: Group) -> tuple[int, ...]:
    return (group.layers.start, group.layers.stop, group.objectives.start, group.objectives.stop)


def _prefixed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a layer's state with the names that it has in :class:`_LocalLossCall`."""
    return {f"layer.{name}": value for name, value in state.items()}
