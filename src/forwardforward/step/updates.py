"""The updates of a whole step as part of its function, for optimizers whose rule is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from forwardforward.objectives import LocalLoss
from forwardforward.optimizers.parts import clipped_with
from forwardforward.optimizers.rules import Rule, clip_factor, options_of, rule_of
from forwardforward.step.function import WholeFunction

__all__ = ["Updates", "UpdatingFunction"]

#: Values of a layer's tensors by name.
Named = dict[str, Tensor]


class _Slot(NamedTuple):
    """The rule of one parameter, its options, and the number of its param group.

    Attributes:
        rule: The rule.
        options: Its options, but the learning rate.
        group: Number of the param group, which has the learning rate.
        clip_norm: Largest norm of the gradient of the parameters that are clipped together, None for no limit.
        clipped_with: Name of these parameters.
    """

    rule: Rule
    options: dict[str, Any]
    group: int
    clip_norm: float | None
    clipped_with: str


class Updates:
    """The rules, states and learning rates of the parameters that a step updates.

    Args:
        optimizers: The torch optimizers of the step.
        parameters: For each layer, its trainable parameters by name.

    Attributes:
        are_known: Whether there is a rule for every parameter.
        counts_on_host: Whether states are on another device than the parameters, such as the numbers of Adam's steps,
            which are on the CPU by default.
        key: What the updates depend on beside tensors.
        slots: For each layer, the rule of each parameter and the number of its param group.
        states: For each layer, the optimizer's state of each parameter.
    """

    def __init__(
        self, optimizers: Sequence[torch.optim.Optimizer], parameters: Sequence[Mapping[str, nn.Parameter]]
    ) -> None:
        self.optimizers = list(optimizers)
        self._groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        self._options = self._current_options()
        self._rates: list[float] = []
        self._rate_tensors: list[Tensor] = []
        self.key: tuple[Any, ...] = ()
        self.slots: list[dict[str, _Slot]] = [{} for _ in parameters]
        self.states: list[dict[str, Named]] = [{} for _ in parameters]
        owners = [optimizer for optimizer in optimizers for _ in optimizer.param_groups]
        numbers = {id(p): number for number, group in enumerate(self._groups) for p in group["params"]}
        every = [p for named in parameters for p in named.values()]
        self.device = every[0].device if every else torch.device("cpu")
        self.counts_on_host = False
        # A function must not change two arguments that share memory.
        self.are_known = len({p.data_ptr() for p in every}) == len(every) and self.device.type in ("cpu", "cuda")
        rules = [rule_of(owner, group) for owner, group in zip(owners, self._groups, strict=True)]
        for index, named in enumerate(parameters):
            for name, p in named.items():
                number = numbers.get(id(p))
                rule = None if number is None else rules[number]
                if number is None or rule is None:
                    self.are_known = False
                    return
                options = options_of(owners[number], self._groups[number])
                state = _state(owners[number], p, rule.initial_state(p, options))
                if state is None:
                    self.are_known = False
                    return
                group = self._groups[number]
                limit, clipped = group.get("clip_norm"), clipped_with(group["parameter_group"])
                self.slots[index][name] = _Slot(rule, options, number, limit, clipped)
                self.states[index][name] = state
        tensors = [value for named in self.states for state in named.values() for value in state.values()]
        self.counts_on_host = any(value.device != self.device for value in tensors)
        self.key = tuple(
            (index, name, slot.group, slot.rule, slot.clip_norm, slot.clipped_with, *sorted(slot.options.items()))
            for index, slots in enumerate(self.slots)
            for name, slot in slots.items()
        )

    def is_current(self, optimizers: Sequence[torch.optim.Optimizer]) -> bool:
        """Return whether the optimizers and their options are those of before; rates may differ."""
        same = len(optimizers) == len(self.optimizers)
        same = same and all(a is b for a, b in zip(optimizers, self.optimizers, strict=True))
        return same and self._current_options() == self._options

    def rates(self) -> list[Tensor]:
        """Return the current learning rate of each param group."""
        rates = [group["lr"] for group in self._groups]
        if rates != self._rates:
            self._rates = rates
            self._rate_tensors = [torch.tensor(rate, dtype=torch.float64, device=self.device) for rate in rates]
        return self._rate_tensors

    def _current_options(self) -> list[Any]:
        return [value for group in self._groups for name, value in group.items() if name not in ("params", "lr")]


class UpdatingFunction:
    """The function of a whole step that changes parameters, buffers and states in place.

    Args:
        function: The pure function of gradients, new buffers and losses.
        updates: The rules.
    """

    def __init__(self, function: WholeFunction, updates: Updates) -> None:
        self.function = function
        self.slots = updates.slots

    def __call__(
        self,
        parameters: list[Named],
        constants: list[Named],
        buffers: list[Named],
        inputs: Any,
        targets: Tensor | None,
        states: list[dict[str, Named]],
        rates: list[Tensor],
    ) -> tuple[dict[int, LocalLoss], dict[int, Tensor], dict[int, Tensor]]:
        """Return local losses, outputs of the observed layers and norms of gradients."""
        result = self.function(parameters, constants, buffers, inputs, targets)
        norms: dict[int, Tensor] = {}
        for index, gradients in result.parameters.items():
            norms[index] = _norm(gradients)
            factors = self._clip_factors(index, gradients)
            for name, gradient in gradients.items():
                slot = self.slots[index][name]
                if slot.clipped_with in factors:
                    gradient = gradient * factors[slot.clipped_with]
                options = {**slot.options, "lr": rates[slot.group]}
                slot.rule.update(parameters[index][name], gradient, states[index][name], options)
        for index, new_buffers in result.buffers.items():
            for name, value in new_buffers.items():
                buffers[index][name].copy_(value)
        return result.losses, result.outputs, norms

    def _clip_factors(self, index: int, gradients: Named) -> dict[str, Tensor]:
        """Return the factors that shorten the gradients of a layer, by the parameters that are clipped together."""
        limits: dict[str, float] = {}
        together: dict[str, Named] = {}
        for name, gradient in gradients.items():
            slot = self.slots[index][name]
            if slot.clip_norm is not None:
                limits[slot.clipped_with] = slot.clip_norm
                together.setdefault(slot.clipped_with, {})[name] = gradient
        return {clipped: clip_factor(_norm(named), limits[clipped]) for clipped, named in together.items()}


def _state(optimizer: torch.optim.Optimizer, parameter: nn.Parameter, initial: Named) -> Named | None:
    """Return the optimizer's state of a parameter, ``initial`` before the first step; None for one of another form."""
    state: Named = optimizer.state.get(parameter, {})
    if not any(isinstance(value, Tensor) for value in state.values()):
        state.clear()
        state.update(initial)
        if initial:
            optimizer.state[parameter] = state
    return state if state.keys() == initial.keys() else None


def _norm(gradients: Mapping[str, Tensor]) -> Tensor:
    """Return the norm of a layer's gradients, 0 if it has none."""
    squares = [gradient.square().sum() for gradient in gradients.values()]
    return torch.stack(squares).sum().sqrt() if squares else torch.zeros(())
