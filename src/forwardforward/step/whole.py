"""The whole form of the step: one pure function of all layers, then one update."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from forwardforward._utils.arguments import checked
from forwardforward._utils.compilation import CompilationError, compile_function
from forwardforward._utils.cuda_graphs import CapturedFunction, RecordingError
from forwardforward._utils.modes import autocast_to, eval_mode
from forwardforward._utils.snapshots import Snapshot
from forwardforward.batches import Batch, LabeledInput
from forwardforward.objectives import LocalLoss
from forwardforward.optimizers import LocalOptimizer
from forwardforward.step.function import Gradients, WholeFunction
from forwardforward.step.stack import Stack, StepResult, check_groups, gradient_norm
from forwardforward.step.updates import Updates, UpdatingFunction
from forwardforward.update_schedules import Group, Groups

__all__ = ["CompilationError", "Gradients", "RecordingError", "WholeStep"]


#: Positions of the functions' arguments whose memory stays the same: parameters, constants, buffers and states.
PERSISTENT = (0, 1, 2, 5)

#: Plans for the same groups that may follow each other without a replay, before the step counts as not recordable.
MOST_PLANS = 5


@checked
class WholeStep:
    """One training step as one function of all layers' parameters and buffers, then one update.

    Args:
        compile: Whether to compile the function with ``torch.compile(fullgraph=True)``, once for each set of groups and
            mode. A batch of another shape is computed without the compiler; if it occurs twice in succession, its
            shape is compiled too.
        cuda_graph: Whether to record the kernels of the function, compiled or not, in a CUDA graph, whose replay starts
            all of them at once: for networks on a GPU whose kernels take less time than their start. Nothing in the
            step may wait for the device. As with ``compile``, one shape is recorded at first.

    Torch's guards, which look at every attribute that the function has read before each call, would take longer than
    everything else on the host. In their place, parameters, buffers and all attributes of the layers are compared with
    those at compilation; once something has changed, functions are compiled anew, with guards. A CUDA graph has no
    guards: after each change it is recorded anew, and a step in which something changes every time is refused. Values
    that a plug-in reads from globals or from a function's closure must not change.

    Attributes:
        on_compile: Called before a step that is compiled first, which takes seconds.
        recorded: Recorded functions of replicas, whose memory is freed with this object.

    Raises:
        CompilationError: On a step with ``compile``, if the compiler fails.
        RecordingError: On a step with ``cuda_graph``, if it waits for the device or cannot be recorded for
            another reason.

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

    def __init__(self, compile: bool = False, cuda_graph: bool = False) -> None:
        self.compile = compile
        self.cuda_graph = cuda_graph
        self.on_compile: Callable[[], None] = lambda: None
        self.recorded: dict[Any, Any] = {}
        self._plans: dict[Any, _Plan] = {}

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
        # The gradient of learned codes goes on to their encoder, outside of the function.
        updates = None
        if (self.compile or self.cuda_graph) and not plan.function.learned_codebook:
            updates = plan.updates_of(optimizer, stack.updates(checked), on_device=self.cuda_graph)
        if updates is None:
            compiled = self._compiled_gradients(plan, batch)
        else:
            compiled = self._compiled_function(plan, UpdatingFunction(plan.function, updates), updates.key, batch)
        if updates is None or compiled is None:
            gradients = _gradients(plan, batch, None if updates is not None else compiled)
            result, outputs = _update(stack, optimizer, batch, plan, checked, gradients, monitor)
        else:
            result, outputs = _joint_update(compiled, plan, updates, batch, monitor)
        return result, _observed(stack, batch, outputs, autocast)

    def run_parts(
        self,
        stack: Stack,
        optimizer: LocalOptimizer,
        batch: Batch,
        parts: Sequence[Batch],
        factors: Sequence[float],
        groups: Groups,
        autocast: torch.dtype | None = None,
        monitor: bool = False,
    ) -> tuple[list[tuple[dict[int, LocalLoss], dict[int, Tensor]]], dict[int, Tensor]]:
        """Update the layers of the groups once, by the sum of the gradients of several batches.

        Args:
            stack: The layers.
            optimizer: Their local optimizers.
            batch: The whole batch, whose learned codes the parts share.
            parts: The batches.
            factors: Factor on the gradient of each.
            groups: The groups to update.
            autocast: Compute precision; None for that of the weights.
            monitor: Whether to measure gradient norms.

        Returns:
            The local losses and what is kept of the observed layers' outputs, for each batch; and gradient norms.
        """
        checked = check_groups(groups, len(stack.layers))
        total: Gradients | None = None
        results = []
        for part, factor in zip(parts, factors, strict=True):
            plan = self._plan(stack, part, checked, autocast)
            gradients = _gradients(plan, part, self._compiled_gradients(plan, part))
            _update_buffers(plan, gradients)
            total = _sum(total, gradients, factor)
            observed = _observed(stack, part, gradients.outputs, autocast)
            results.append((gradients.losses, _cloned(observed) if self.cuda_graph else observed))
        assert total is not None
        result, _ = _update(stack, optimizer, batch, plan, checked, total, monitor)
        return results, result.gradient_norms

    def gradients(
        self, stack: Stack, batch: Batch, groups: Sequence[Group], autocast: torch.dtype | None = None
    ) -> Gradients:
        """Return the gradients, new buffers and local losses of a step, without changing anything.

        Args:
            stack: The layers.
            batch: The batch.
            groups: The groups to update.
            autocast: Compute precision; None for that of the weights.

        Returns:
            The result; with ``cuda_graph``, the next step overwrites its tensors.
        """
        plan = self._plan(stack, batch, groups, autocast)
        return _gradients(plan, batch, self._compiled_gradients(plan, batch))

    def _compiled_gradients(self, plan: _Plan, batch: Batch) -> Callable[..., Any] | None:
        is_needed = self.compile or self.cuda_graph
        return self._compiled_function(plan, plan.function, (), batch) if is_needed else None

    def _plan(self, stack: Stack, batch: Batch, groups: Sequence[Group], autocast: torch.dtype | None) -> _Plan:
        """Return what is the same in all steps of these groups, as long as the layers do not change."""
        learned_codebook = _learned_codebook(batch)
        key = (
            tuple(map(id, stack.layers)),
            tuple((*_bounds(group.layers), *_bounds(group.objectives)) for group in groups),
            autocast,
            stack.observed,
            batch.has_negatives,
            learned_codebook,
            torch_state(batch.inputs.device),
        )
        plan = self._plans.get(key)
        if plan is None or not plan.snapshot.is_current():
            plan = _Plan(stack, groups, autocast, batch.has_negatives, learned_codebook, plan, self.cuda_graph)
            self._plans[key] = plan
            if plan.unused > MOST_PLANS:
                raise RecordingError("something about the layers changes in every step")
        return plan

    def _compiled_function(
        self, plan: _Plan, function: Callable[..., Any], key: tuple[Any, ...], batch: Batch
    ) -> Callable[..., Any] | None:
        """Return the compiled function for a batch, None for a shape that is not worth compiling.

        Args:
            plan: The plan, which keeps the compiled functions.
            function: The function.
            key: What it depends on beside the plan and the batch.
            batch: The batch.
        """
        shape = (batch.inputs.shape, batch.inputs.dtype)
        by_shape = plan.compiled.setdefault(key, {})
        repeated = plan.last_shape.get(key) == shape
        plan.last_shape[key] = shape
        if shape not in by_shape and (not by_shape or (repeated and len(by_shape) == 1)):
            with _compiler_errors():
                by_shape[shape] = self._made(function, plan)
        return by_shape.get(shape)

    def _made(self, function: Callable[..., Any], plan: _Plan) -> Callable[..., Any]:
        """Return the compiled function, the recorded one, or both."""
        if self.compile:
            self.on_compile()
            function = compile_function(function, plan.guarded)
        if not self.cuda_graph:
            return function
        if not plan.snapshot.has_attributes:  # changes of them would be missed
            raise RecordingError("the layers have too many attributes to notice their changes")
        return CapturedFunction(function, PERSISTENT)


class _Plan:
    """What is the same in all steps of one set of groups, until the layers change.

    Args:
        stack: The layers.
        groups: The groups to update.
        autocast: Compute precision; None for that of the weights.
        has_negatives: Whether the rows are positive and negative samples.
        learned_codebook: Whether the gradient of the label codes is needed.
        previous: The plan for the layers from before they changed.
        cuda_graph: Whether functions are recorded: no guards exist for these, so all changes make a new plan.

    Attributes:
        guarded: Whether torch checks before each call that what a function was compiled for is unchanged, also
            attributes. What has changed once may change in every step.
        compiled: Compiled functions, by what they depend on beside the plan and by the batch's shape.
        last_shape: Shape of the last batch, for each set of compiled functions.
        unused: Number of plans before it, without interruption, of which no recorded function was replayed.
    """

    def __init__(
        self,
        stack: Stack,
        groups: Sequence[Group],
        autocast: torch.dtype | None,
        has_negatives: bool,
        learned_codebook: bool,
        previous: _Plan | None,
        cuda_graph: bool = False,
    ) -> None:
        self.function = WholeFunction(stack, groups, has_negatives, autocast, learned_codebook)
        layers = stack.layers
        self.inactive = [layer for index, layer in enumerate(layers) if index not in self.function.updated]
        self.snapshot = Snapshot(*layers, attributes=cuda_graph or previous is None)
        self.guarded = not self.snapshot.has_attributes
        self.unused: int = 0
        if cuda_graph and previous is not None and not previous.is_replayed:
            self.unused = previous.unused + 1
        self.compiled: dict[Any, dict[Any, Callable[..., Any]]] = {}
        self.last_shape: dict[Any, Any] = {}
        if previous is not None and previous.guarded:
            self.compiled, self.last_shape = previous.compiled, previous.last_shape
        self.parameters = [
            {name: p for name, p in layer.named_parameters() if p.requires_grad and self.function.trains(index, name)}
            for index, layer in enumerate(layers)
        ]
        self.constants = [
            {name: p for name, p in layer.named_parameters() if name not in trainable}
            for layer, trainable in zip(layers, self.parameters, strict=True)
        ]
        self.buffers = [dict(layer.named_buffers()) for layer in layers]
        self._updates: Updates | None = None

    @property
    def is_replayed(self) -> bool:
        """Whether a recorded function was replayed."""
        functions = (function for by_shape in self.compiled.values() for function in by_shape.values())
        return any(isinstance(function, CapturedFunction) and function.replays > 0 for function in functions)

    def arguments(self, batch: Batch) -> tuple[Any, ...]:
        """Return the arguments of the function.

        None of them requires a gradient, so no graph is recorded outside of the function's own transforms; under
        no_grad, PyTorch's LSTM would not store what the transforms need.
        """
        inputs = batch.inputs
        if isinstance(inputs, LabeledInput) and inputs.codebook.requires_grad:
            inputs = inputs.replace_codebook(inputs.codebook.detach())
        return _detached(self.parameters), _detached(self.constants), self.buffers, inputs, batch.targets

    def updates_of(
        self, optimizer: LocalOptimizer, names: Sequence[Sequence[str]], on_device: bool = False
    ) -> Updates | None:
        """Return the updates of the groups' parameters, None if the rule of one is not known.

        Args:
            optimizer: The local optimizers.
            names: Names of the groups' parameter groups.
            on_device: Whether all states must be on the parameters' device, also the numbers of steps.
        """
        optimizers = optimizer.optimizers(*names)
        if self._updates is None or not self._updates.is_current(optimizers):
            self._updates = Updates(optimizers, self.parameters)
        is_usable = self._updates.are_known and not (on_device and self._updates.counts_on_host)
        return self._updates if is_usable else None


def _gradients(plan: _Plan, batch: Batch, compiled: Callable[..., Any] | None) -> Gradients:
    """Return the result of the plan's function, computed by its compiled form if there is one."""
    with eval_mode(*plan.inactive):
        if compiled is None:
            return plan.function(*plan.arguments(batch))
        with _compiler_errors():
            gradients: Gradients = compiled(*plan.arguments(batch))
        if isinstance(compiled, CapturedFunction):
            return gradients._replace(losses=_cloned(gradients.losses))
        return gradients


def _update(
    stack: Stack,
    optimizer: LocalOptimizer,
    batch: Batch,
    plan: _Plan,
    groups: Sequence[Group],
    gradients: Gradients,
    monitor: bool,
) -> tuple[StepResult, dict[int, Tensor]]:
    """Update buffers, and parameters with torch's optimizers."""
    result = StepResult(layers={index: local.detach() for index, local in gradients.losses.items()})
    _update_buffers(plan, gradients)
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


@torch.no_grad()
def _update_buffers(plan: _Plan, gradients: Gradients) -> None:
    for index, new_values in gradients.buffers.items():
        for name, value in new_values.items():
            plan.buffers[index][name].copy_(value)


@torch.no_grad()
def _sum(total: Gradients | None, gradients: Gradients, factor: float) -> Gradients:
    """Return a sum of gradients with further ones, which a compiled function may overwrite in its next call."""
    parameters = {
        index: {
            name: factor * value if total is None else total.parameters[index][name].add_(value, alpha=factor)
            for name, value in values.items()
        }
        for index, values in gradients.parameters.items()
    }
    codebook = gradients.codebook
    if codebook is not None:
        codebook = factor * codebook
        codebook = codebook if total is None or total.codebook is None else total.codebook + codebook
    return Gradients(parameters, codebook, {}, {}, {})


def _observed(
    stack: Stack, batch: Batch, outputs: Mapping[int, Tensor], autocast: torch.dtype | None
) -> dict[int, Tensor]:
    """Return what is kept of the observed layers' outputs."""
    with torch.no_grad(), autocast_to(autocast, batch.inputs.device):
        return {index: stack.observe(output[: batch.samples]) for index, output in outputs.items()}


def _joint_update(
    compiled: Callable[..., Any], plan: _Plan, updates: Updates, batch: Batch, monitor: bool
) -> tuple[StepResult, dict[int, Tensor]]:
    """Compute gradients and update in one compiled function."""
    for values in plan.parameters:
        for parameter in values.values():
            parameter.grad = None
    arguments = (*plan.arguments(batch), updates.states, updates.rates())
    with eval_mode(*plan.inactive), torch.no_grad(), _compiler_errors():
        losses, outputs, norms = compiled(*arguments)
    torch.clear_autocast_cache()  # of weights from before the update, in a caller's context of autocast
    norms = norms if monitor else {}
    if isinstance(compiled, CapturedFunction):
        losses, norms = _cloned((losses, norms))
    return StepResult(layers=losses, gradient_norms=norms), outputs


@contextlib.contextmanager
def _compiler_errors() -> Iterator[None]:
    """Context manager that turns errors into :class:`CompilationError`."""
    try:
        yield
    except CompilationError:
        raise
    except Exception as error:  # compilers fail with exceptions of many types
        raise CompilationError(str(error) or type(error).__name__) from error


def _detached(tensors: Sequence[Mapping[str, Tensor]]) -> list[dict[str, Tensor]]:
    return [{name: tensor.detach() for name, tensor in named.items()} for named in tensors]


def _cloned(values: Any) -> Any:
    """Return copies of all tensors: the next replay of a CUDA graph overwrites its results."""
    return pytree.tree_map(lambda value: value.detach().clone() if isinstance(value, Tensor) else value, values)


def _laid_out(gradient: Tensor, parameter: Tensor) -> Tensor:
    """Return a gradient in the memory layout of its parameter, as autograd does; fused optimizers need it."""
    if gradient.layout != torch.strided or gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)


def _learned_codebook(batch: Batch) -> bool:
    return isinstance(batch.inputs, LabeledInput) and batch.inputs.codebook.requires_grad


def _bounds(layers: range) -> tuple[int, int]:
    return layers.start, layers.stop


def torch_state(device: torch.device) -> tuple[Any, ...]:
    """Return the global settings that a compiled or recorded function contains."""
    return (
        torch.is_autocast_enabled(device.type),
        torch.get_autocast_dtype(device.type),
        torch.are_deterministic_algorithms_enabled(),
        torch.get_float32_matmul_precision(),
        torch.get_default_dtype(),
    )
