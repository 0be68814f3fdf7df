"""The whole form of the step: one pure function of all layers, then one update."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from forwardforward._utils.arguments import checked
from forwardforward._utils.modes import autocast_to, eval_mode
from forwardforward._utils.snapshots import Snapshot
from forwardforward.batches import Batch, LabeledInput
from forwardforward.optimizers import LocalOptimizer
from forwardforward.step.function import Gradients, WholeFunction
from forwardforward.step.stack import Stack, StepResult, check_groups, gradient_norm
from forwardforward.step.updates import Updates, UpdatingFunction
from forwardforward.update_schedules import Group, Groups

__all__ = ["CompilationError", "Gradients", "WholeStep"]


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
        self._plans: dict[Any, _Plan] = {}
        self._compiled: dict[Any, dict[Any, Callable[..., Any]]] = {}
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
        plan = self._plan(stack, batch, checked, autocast)
        compiled: Callable[..., Any] | None = None
        # The gradient of learned codes goes on to their encoder, outside of the function.
        if self.compile and not plan.function.learned_codebook and plan.set_updates(optimizer, stack.updates(checked)):
            assert plan.updates is not None
            function = UpdatingFunction(plan.function, plan.updates)
            compiled = self._compiled_function(function, (plan.key, plan.updates.key), batch)
        if compiled is None:
            result, outputs = self._separate_update(stack, optimizer, batch, plan, checked, autocast, monitor)
        else:
            result, outputs = self._joint_update(compiled, batch, plan, monitor)
        with torch.no_grad(), autocast_to(autocast, batch.inputs.device):
            return result, {index: stack.observe(output) for index, output in outputs.items()}

    def _joint_update(
        self, compiled: Callable[..., Any], batch: Batch, plan: _Plan, monitor: bool
    ) -> tuple[StepResult, dict[int, Tensor]]:
        """Compute gradients and update in one compiled function."""
        assert plan.updates is not None
        for values in plan.parameters:
            for parameter in values.values():
                parameter.grad = None
        arguments = (*plan.arguments(batch), plan.updates.states, plan.updates.rates())
        with eval_mode(*plan.inactive), torch.no_grad(), _compiler_errors():
            losses, outputs, norms = compiled(*arguments)
        torch.clear_autocast_cache()  # of weights from before the update, in a caller's context of autocast
        return StepResult(layers=losses, gradient_norms=norms if monitor else {}), outputs

    def _separate_update(
        self,
        stack: Stack,
        optimizer: LocalOptimizer,
        batch: Batch,
        plan: _Plan,
        groups: Sequence[Group],
        autocast: torch.dtype | None,
        monitor: bool,
    ) -> tuple[StepResult, dict[int, Tensor]]:
        """Compute gradients in one function, then update with torch's optimizers."""
        gradients = self._gradients(plan, batch)
        result = StepResult(layers={index: local.detach() for index, local in gradients.losses.items()})
        with torch.no_grad():
            for index, new_values in gradients.buffers.items():
                buffers = dict(stack.layers[index].named_buffers())
                for name, value in new_values.items():
                    buffers[name].copy_(value)
        for index, values in gradients.parameters.items():
            optimizer.zero_grad(*stack.names[index])
            for name, gradient in values.items():
                parameter = plan.parameters[index][name]
                parameter.grad = _laid_out(gradient.detach(), parameter)
            if monitor:
                result.gradient_norms[index] = gradient_norm(stack.layers[index])
        if gradients.codebook is not None and isinstance(batch.inputs, LabeledInput):
            torch.autograd.backward(batch.inputs.codebook, gradients.codebook.detach())
        for names in stack.updates(groups):
            optimizer.step(names)
        return result, gradients.outputs

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
        return self._gradients(self._plan(stack, batch, groups, autocast), batch)

    def _gradients(self, plan: _Plan, batch: Batch) -> Gradients:
        with eval_mode(*plan.inactive):
            if not self.compile:
                return plan.function(*plan.arguments(batch))
            compiled = self._compiled_function(plan.function, plan.key, batch)
            with _compiler_errors():
                gradients: Gradients = (plan.function if compiled is None else compiled)(*plan.arguments(batch))
            return gradients

    def _plan(self, stack: Stack, batch: Batch, groups: Sequence[Group], autocast: torch.dtype | None) -> _Plan:
        key = (
            tuple(map(id, stack.layers)),
            tuple(
                (group.layers.start, group.layers.stop, group.objectives.start, group.objectives.stop)
                for group in groups
            ),
            autocast,
            stack.observed,
            batch.has_negatives,
            _learned_codebook(batch),
            stack.layers[0].training,
        )
        plan = self._plans.get(key)
        if plan is None or not plan.snapshot.is_current():
            plan = self._plans[key] = _Plan(key, stack, groups)
        return plan

    def _compiled_function(
        self, function: Callable[..., Any], key: tuple[Any, ...], batch: Batch
    ) -> Callable[..., Any] | None:
        """Return the compiled function for a batch, None for a shape that is not worth compiling."""
        shape = (batch.inputs.shape, batch.inputs.dtype)
        by_shape = self._compiled.setdefault(key, {})
        repeated = self._last_shape.get(key) == shape
        self._last_shape[key] = shape
        if shape not in by_shape and (not by_shape or (repeated and len(by_shape) == 1)):
            with _compiler_errors():
                by_shape[shape] = _compile(function)
        return by_shape.get(shape)


class _Plan:
    """What is the same in all steps of one set of groups, until the layers change.

    Args:
        key: What the function depends on beside its arguments: layers, groups, compute precision, observed layers,
            whether there are negatives, whether codes are learned, whether the layers are in training mode.
        stack: The layers.
        groups: The groups to update.
    """

    def __init__(self, key: tuple[Any, ...], stack: Stack, groups: Sequence[Group]) -> None:
        self.key = key
        _, _, autocast, _, has_negatives, learned_codebook, _ = key
        self.function = WholeFunction(stack, groups, has_negatives, autocast, learned_codebook)
        layers = stack.layers
        self.snapshot = Snapshot(*layers)
        self.inactive = [layer for index, layer in enumerate(layers) if index not in self.function.updated]
        self.parameters = [
            {name: p for name, p in layer.named_parameters() if p.requires_grad and self.function.trains(index, name)}
            for index, layer in enumerate(layers)
        ]
        self.constants = [
            {name: p for name, p in layer.named_parameters() if name not in trainable}
            for layer, trainable in zip(layers, self.parameters, strict=True)
        ]
        self.buffers = [dict(layer.named_buffers()) for layer in layers]
        self.updates: Updates | None = None

    def arguments(self, batch: Batch) -> tuple[Any, ...]:
        """Return the arguments of the function.

        None of them requires a gradient, so no graph is recorded outside of the function's own transforms; under
        no_grad, PyTorch's LSTM would not store what the transforms need.
        """
        inputs = batch.inputs
        if isinstance(inputs, LabeledInput) and inputs.codebook.requires_grad:
            inputs = inputs.replace_codebook(inputs.codebook.detach())
        return _detached(self.parameters), _detached(self.constants), self.buffers, inputs, batch.targets

    def set_updates(self, optimizer: LocalOptimizer, names: Sequence[Sequence[str]]) -> bool:
        """Find the rules of the optimizers, and return whether all are known."""
        optimizers = optimizer.optimizers(*names)
        if self.updates is None or not self.updates.is_current(optimizers):
            self.updates = Updates(optimizers, self.parameters)
        return self.updates.are_known


@contextlib.contextmanager
def _compiler_errors() -> Iterator[None]:
    """Context manager that turns errors into :class:`CompilationError`."""
    try:
        yield
    except Exception as error:  # compilers fail with exceptions of many types
        raise CompilationError(str(error) or type(error).__name__) from error


def _detached(tensors: Sequence[Mapping[str, Tensor]]) -> list[dict[str, Tensor]]:
    return [{name: tensor.detach() for name, tensor in named.items()} for named in tensors]


def _laid_out(gradient: Tensor, parameter: Tensor) -> Tensor:
    """Return a gradient in the memory layout of its parameter, as autograd does; fused optimizers need it."""
    if gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)


def _compile(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the compiled function."""

    def call(*arguments: Any) -> Any:
        return function(*arguments)

    # torch gives up after eight versions of one code object, and schedules have more sets of groups: one object each
    call.__code__ = call.__code__.replace(co_name=f"whole_step_{id(function)}")
    compiled: Callable[..., Any] = torch.compile(call, fullgraph=True)
    return compiled


def _learned_codebook(batch: Batch) -> bool:
    return isinstance(batch.inputs, LabeledInput) and batch.inputs.codebook.requires_grad
