"""The local optimizers of replicas."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from forwardforward._utils.arguments import checked
from forwardforward._utils.compilation import compile_function
from forwardforward._utils.cuda_graphs import CapturedFunction
from forwardforward.optimizers import LocalOptimizer
from forwardforward.optimizers.local import HasParameterGroups
from forwardforward.optimizers.rules import RULES, Rule, clip_factor, options_of

__all__ = ["ReplicaOptimizer"]


class HasMembers(Protocol):
    """Replicas, as far as their optimizer knows them."""

    @property
    def members(self) -> Sequence[HasParameterGroups]:
        """The networks."""
        ...


class _Entry(NamedTuple):
    """A parameter of one member in its optimizer."""

    name: str
    parameter: torch.nn.Parameter
    optimizer: torch.optim.Optimizer
    group: Mapping[str, Any]


class _Update(NamedTuple):
    """The update of one stacked parameter."""

    name: str
    group: str
    options: dict[str, Any]


@checked
class ReplicaOptimizer(LocalOptimizer):
    """The local optimizers of :class:`Replicas`, one per member, with the updates of all members computed together.

    :func:`~forwardforward.fit` makes it of a :class:`~forwardforward.LocalOptimizer`, which then serves every member.
    Construct it for members with different learning rates or other options.

    Args:
        members: One optimizer per member, all of the same class, which is ``torch.optim.SGD``, ``torch.optim.Adam``,
            ``torch.optim.AdamW`` or :class:`~forwardforward.optimizers.SmoothedSGD`: their rules act on each number by
            itself. Options, overrides and learning-rate schedules may differ. Their states are not used.

    Raises:
        ValueError: If there is none, or their classes differ or are not supported; on attaching, if there is not one
            per member, or an option that is not a number differs.

    Example:
        >>> import forwardforward as ff
        >>> rates = [0.1, 0.01]
        >>> optimizer = ReplicaOptimizer([ff.LocalOptimizer(torch.optim.SGD, lr=lr) for lr in rates])
        >>> len(optimizer.members)
        2
    """

    def __init__(self, members: Sequence[LocalOptimizer]) -> None:
        if not members:
            raise ValueError("members must contain at least one optimizer, got none")
        for optimizer in members:
            if optimizer.factory not in RULES or optimizer.others is not None:
                raise ValueError(
                    f"optimizer must be of the class {', '.join(kind.__name__ for kind in RULES)} for replicas, whose "
                    f"rules act on each number by itself, got {optimizer}"
                )
            if optimizer.factory is not members[0].factory:
                raise ValueError(f"members must be optimizers of one class, got {members[0]} and {optimizer}")
        first = members[0]
        super().__init__(first.factory, **_arguments(first))
        self.members = [LocalOptimizer(o.factory, **_arguments(o)) for o in members]
        self._rule: Rule = RULES[first.factory]
        self._replicas: HasMembers | None = None
        self._states: dict[tuple[str, ...], dict[str, dict[str, Tensor]]] = {}
        self._plans: dict[tuple[str, ...], list[_Update]] = {}
        self._new_states: dict[tuple[tuple[str, ...], str], list[dict[str, Tensor]]] = {}
        self._compiled: dict[Any, Callable[..., None]] = {}

    def attach(self, model: Any) -> ReplicaOptimizer:
        """Follow the parameters of replicas, and return this optimizer.

        Args:
            model: The replicas.
        """
        if self._replicas is not model:
            if len(model.members) != len(self.members):
                raise ValueError(
                    f"optimizer must have one member per replica, {len(model.members)}, got {len(self.members)}"
                )
            self._replicas, self._states = model, {}
        self._plans = {}
        for optimizer, member in zip(self.members, model.members, strict=True):
            optimizer.attach(member)
        shapes = {name: p.shape for name, p in model.members[0].named_parameters()}
        self._states = {
            key: {name: state for name, state in states.items() if _fits(state, shapes.get(name))}
            for key, states in self._states.items()
        }
        return self

    def is_attached(self, model: object) -> bool:
        """Return whether this optimizer follows the parameters of a model."""
        return self._replicas is model

    def set_progress(self, progress: float) -> None:
        """Set every member's learning rates.

        Args:
            progress: Progress of the training, from 0 to 1.
        """
        for optimizer in self.members:
            optimizer.set_progress(progress)
        self._plans = {}

    def learning_rates(self) -> dict[str, float]:
        """Return the mean of the members' learning rates for each group."""
        rates = [optimizer.learning_rates() for optimizer in self.members]
        return {name: sum(member[name] for member in rates) / len(rates) for name in rates[0]}

    def update(
        self,
        parameters: Mapping[str, Tensor],
        gradients: Mapping[str, Tensor],
        groups: Sequence[Sequence[str]],
        part: slice,
        compile: bool = False,
        cuda_graph: bool = False,
    ) -> None:
        """Update stacked parameters of some members in place; the parts of one step follow each other in order.

        Args:
            parameters: Stacked parameters of all members by name.
            gradients: Gradients of the part's members; a parameter without one is not changed.
            groups: Sets of parameter groups, each of which has its own state.
            part: The members.
            compile: Whether to compile the update; the first one of each set creates the state without the compiler.
            cuda_graph: Whether to record the update, compiled or not, in a CUDA graph, for gradients that have the same
                memory in every step.
        """
        keys = [tuple(names) for names in groups]
        clipped = self._clipped(parameters, gradients, keys, part)
        cuda_graph &= all(value is gradients[name] for name, value in clipped.items())
        gradients = clipped
        owners: list[tuple[tuple[str, ...], str]] = []
        work: list[tuple[list[Tensor], dict[str, Tensor]]] = []
        options: list[dict[str, Any]] = []
        for key in keys:
            for update in self._plan(key, parameters):
                if update.name in gradients:
                    state = self._state(key, update.name)
                    owners.append((key, update.name))
                    tensors = [parameters[update.name][part], gradients[update.name]]
                    work.append((tensors, {k: v[part] for k, v in state.items()}))
                    options.append({k: v[part] if isinstance(v, Tensor) else v for k, v in update.options.items()})
        constants = [{k: v for k, v in o.items() if not isinstance(v, Tensor)} for o in options]
        numbers = [{k: v for k, v in o.items() if isinstance(v, Tensor)} for o in options]
        new = [index for index, (key, name) in enumerate(owners) if name not in self._states[key]]
        if not (compile or cuda_graph) or new:
            _apply(self._rule, work, constants, numbers)
            for index in new:
                self._add_state(*owners[index], work[index][1], is_last=part.stop == len(self.members))
            return
        signature = tuple(keys), tuple(gradients), repr(constants), compile, cuda_graph
        if signature not in self._compiled:
            self._compiled[signature] = _made(self._rule, constants, compile, cuda_graph)
        self._compiled[signature](work, numbers)

    def _clipped(
        self,
        parameters: Mapping[str, Tensor],
        gradients: Mapping[str, Tensor],
        keys: Sequence[tuple[str, ...]],
        part: slice,
    ) -> Mapping[str, Tensor]:
        """Return the gradients of some members, those of modules that are longer than their limit shortened to it."""
        clipped = dict(gradients)
        modules: dict[str, list[str]] = {}
        for update in (update for key in keys for update in self._plan(key, parameters)):
            if update.name in gradients:
                modules.setdefault(update.group, []).append(update.name)
        for module, names in modules.items():
            limits = [optimizer.clip_norm_of(module) for optimizer in self.members[part]]
            if any(limit is not None for limit in limits):
                rows = torch.cat([gradients[name].reshape(len(gradients[name]), -1) for name in names], dim=1)
                limit = rows.new_tensor([math.inf if limit is None else limit for limit in limits])
                factors = clip_factor(torch.linalg.vector_norm(rows, dim=1), limit)
                for name in names:
                    clipped[name] = gradients[name] * factors.view(-1, *[1] * (gradients[name].dim() - 1))
        return clipped

    def state_dict(self) -> dict[str, Any]:
        """Return the state of every member's optimizers, by the member's index."""
        for key, states in self._states.items():
            for index, optimizer in enumerate(self.members):
                torch_optimizer = _torch_optimizer(optimizer, key)
                named = {entry.name: entry.parameter for entry in self._entries(index, key)}
                for name, state in states.items():
                    if torch_optimizer is not None and state:
                        torch_optimizer.state[named[name]] = {
                            k: (v[index].flatten()[0] if k == "step" else v[index]).clone() for k, v in state.items()
                        }
        return {str(index): optimizer.state_dict() for index, optimizer in enumerate(self.members)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state of :meth:`state_dict`; attach first.

        Args:
            state: The state.

        Raises:
            ValueError: If its members, their groups or entries are not the replicas'.
        """
        if set(state) != {str(index) for index in range(len(self.members))}:
            raise ValueError(f"state must have {len(self.members)} members, got {sorted(state)}")
        for index, optimizer in enumerate(self.members):
            optimizer.load_state_dict(state[str(index)])
        self._states, self._plans = {}, {}

    def _state(self, key: tuple[str, ...], name: str) -> dict[str, Tensor]:
        """Return the state of one parameter of all members, empty before the first step."""
        states = self._states.setdefault(key, {})
        if name not in states and (restored := self._restored(key, name)):
            states[name] = restored
        return states.get(name, {})

    def _add_state(self, key: tuple[str, ...], name: str, state: dict[str, Tensor], is_last: bool) -> None:
        """Keep the state that the first step of some members created, and stack it after the last ones."""
        parts = self._new_states.setdefault((key, name), [])
        parts.append(state)
        if is_last:
            self._states[key][name] = {k: torch.cat([values[k] for values in parts]) for k in state}
            del self._new_states[key, name]

    def _entries(self, index: int, key: tuple[str, ...]) -> list[_Entry]:
        """Return the parameters of a set of groups, of one member."""
        optimizer = _torch_optimizer(self.members[index], key)
        if optimizer is None:
            return []
        assert self._replicas is not None
        names = {p: name for name, p in self._replicas.members[index].named_parameters()}  # type: ignore[attr-defined]
        return [_Entry(names[p], p, optimizer, group) for group in optimizer.param_groups for p in group["params"]]

    def _plan(self, key: tuple[str, ...], parameters: Mapping[str, Tensor]) -> list[_Update]:
        """Return the updates of a set of groups, with the options of all members."""
        if key not in self._plans:
            members = [self._entries(index, key) for index in range(len(self.members))]
            self._plans[key] = [
                _Update(
                    rows[0].name, rows[0].group["parameter_group"], _stacked_options(rows, parameters[rows[0].name])
                )
                for rows in zip(*members, strict=True)
            ]
        return self._plans[key]

    def _restored(self, key: tuple[str, ...], name: str) -> dict[str, Tensor]:
        """Return the stacked state of one parameter that the members' optimizers have, empty before the first step."""
        entries = [entry for index in range(len(self.members)) for entry in self._entries(index, key)]
        states = [entry.optimizer.state.get(entry.parameter, {}) for entry in entries if entry.name == name]
        stacked = {
            k: torch.stack([state[k] for state in states]) for k, v in states[0].items() if isinstance(v, Tensor)
        }
        if "step" in stacked:
            average = stacked["exp_avg"]
            stacked["step"] = stacked["step"].to(average.device).view(-1, *[1] * (average.dim() - 1))
        return stacked

    def __repr__(self) -> str:
        """Return the constructor call, with the optimizers that differ."""
        names = list(dict.fromkeys(map(repr, self.members)))
        if len(names) == 1:
            return f"ReplicaOptimizer([{names[0]}] * {len(self.members)})"
        return f"ReplicaOptimizer([{', '.join(map(repr, self.members))}])"


def _arguments(optimizer: LocalOptimizer) -> dict[str, Any]:
    """Return the constructor's arguments of an optimizer, but the factory."""
    names = ("lr_schedule", "overrides", "clip_norm")
    return {**{name: getattr(optimizer, name) for name in names}, **optimizer.options}


def _fits(state: Mapping[str, Tensor], shape: torch.Size | None) -> bool:
    """Return whether a stacked state is that of a parameter of this shape; one that grew starts anew."""
    return shape is not None and all(v.shape[1:] in (shape, (1,) * len(shape)) for v in state.values())


def _stacked_options(rows: Sequence[_Entry], p: Tensor) -> dict[str, Any]:
    """Return the options of one stacked parameter: numbers that are the same for all members, or tensors.

    Args:
        rows: The parameter's entry of each member.
        p: The stacked parameter.
    """

    def tensor(values: list[Any]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64, device=p.device).view(-1, *[1] * (p.dim() - 1))

    members = [options_of(row.optimizer, row.group, stacked=True) for row in rows]
    # a tensor also if it is the same for all, since a schedule changes it
    options: dict[str, Any] = {"lr": tensor([row.group["lr"] for row in rows])}
    for name in members[0]:
        values = [member[name] for member in members]
        if all(value == values[0] for value in values):
            options[name] = float(values[0]) if isinstance(values[0], Tensor) else values[0]
        elif any(isinstance(value, bool) for value in values):
            raise ValueError(f"{name} must be the same for all members, got {values}")
        else:
            options[name] = tensor(values)
    return options


def _torch_optimizer(optimizer: LocalOptimizer, groups: Sequence[str]) -> torch.optim.Optimizer | None:
    """Return a member's optimizer of a set of groups, None if they have no parameters."""
    return next(iter(optimizer.optimizers(groups)), None)


def _apply(
    rule: Rule,
    work: Sequence[tuple[list[Tensor], dict[str, Tensor]]],
    constants: Sequence[Mapping[str, Any]],
    numbers: Sequence[Mapping[str, Tensor]],
) -> None:
    for ((parameter, gradient), state), plain, tensors in zip(work, constants, numbers, strict=True):
        options = {**plain, **tensors}
        if not state:
            state.update(rule.initial_state(parameter, options))
        rule.update(parameter, gradient, state, options)


def _made(rule: Rule, constants: Sequence[Mapping[str, Any]], compile: bool, cuda_graph: bool) -> Callable[..., None]:
    """Return the update of all parameters as a compiled function, a recorded one, or both."""

    def update(work: Any, numbers: Any) -> None:
        _apply(rule, work, constants, numbers)

    function: Callable[..., None] = compile_function(update, dynamic=False) if compile else update
    return CapturedFunction(function, persistent=(0,)) if cuda_graph else function
