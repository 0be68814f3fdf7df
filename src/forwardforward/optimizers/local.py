"""Local optimizers: one for each layer, kept in one place outside the modules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import nn


class HasUnits(Protocol):
    """A model whose parameters are updated in separate units, such as layers."""

    def parameter_groups(self) -> Mapping[str, nn.Module]:
        """Return the units by name."""
        ...


class LocalOptimizer:
    """One torch optimizer per unit (a layer, the head), with their state, learning rates and steps in one place.

    Units that a schedule updates together, such as the groups of :class:`~forwardforward.update_schedules.Overlapping`, have
    an optimizer of their own together, with its own state: a layer's moments under one grouping do not mix with those
    under another.

    Args:
        factory: A torch optimizer class, or any callable ``(parameters, **options)`` that returns an optimizer.
        lr_schedule: Learning-rate factor, ``progress -> factor`` with progress from 0 to 1; constant unless given.
        overrides: Options that differ for a unit, by its name, ``lr_schedule`` among them:
            ``{"head": {"lr": 0.1}, "0": {"lr_schedule": Cooldown(0.2)}}``.
        **options: Passed to the factory, such as ``lr=1e-3``.

    Raises:
        ValueError: On attaching, if ``overrides`` names a unit that the model has not.

    Example:
        >>> import torch, forwardforward as ff
        >>> optimizer = ff.LocalOptimizer(torch.optim.Adam, lr=1e-3, lr_schedule=ff.lr_schedules.Cooldown(0.5))
    """

    def __init__(
        self,
        factory: Callable[..., torch.optim.Optimizer],
        *,
        lr_schedule: Callable[[float], float] | None = None,
        overrides: Mapping[str, Mapping[str, Any]] | None = None,
        **options: Any,
    ) -> None:
        self.factory = factory
        self.lr_schedule = lr_schedule
        self.overrides = {name: dict(values) for name, values in (overrides or {}).items()}
        self.options = options
        self._model: HasUnits | None = None
        self._parameters: dict[str, list[nn.Parameter]] = {}
        self._own: dict[str, dict[str, Any]] = {}
        self._progress = 0.0
        self._optimizers: dict[tuple[str, ...], torch.optim.Optimizer] = {}

    def attach(self, model: HasUnits) -> LocalOptimizer:
        """Make the optimizers of ``model``'s units; attaching again to the same model keeps their state.

        A unit may carry ``optimizer_options`` of its own; ``overrides`` win over them.
        """
        if self._model is model:
            return self
        units = model.parameter_groups()
        unknown = set(self.overrides) - set(units)
        if unknown:
            raise ValueError(f"overrides must name units of the model, got {sorted(unknown)}; it has {list(units)}")
        self._parameters = {}
        for name, module in units.items():
            self._parameters[name] = [p for p in module.parameters() if p.requires_grad]
            self._own[name] = {**getattr(module, "optimizer_options", {}), **self.overrides.get(name, {})}
        self._optimizers = {}
        self._model = model
        for name in units:
            self._optimizer((name,))
        return self

    def zero_grad(self, *units: str | Sequence[str]) -> None:
        """Free the gradients of the named units, of all where none is named."""
        for group in self._groups(units):
            for name in group:
                for parameter in self._parameters[name]:
                    parameter.grad = None

    def step(self, *units: str | Sequence[str]) -> None:
        """Update the named units, all where none is named.

        Args:
            *units: Names of units, each with an optimizer of its own, or sequences of names, whose units have one
                together.
        """
        for group in self._groups(units):
            optimizer = self._optimizer(group)
            if optimizer is not None:
                optimizer.step()

    def set_progress(self, progress: float) -> None:
        """Set every learning rate for ``progress``, from 0 to 1, through the training."""
        self._progress = progress
        for optimizer in self._optimizers.values():
            self._set_rates(optimizer)

    def learning_rates(self) -> dict[str, float]:
        """Return the learning rate of each unit."""
        groups = [group for optimizer in self._optimizers.values() for group in optimizer.param_groups]
        return {group["unit"]: float(group["lr"]) for group in reversed(groups)}

    def state_dict(self) -> dict[str, Any]:
        """Return the state of every optimizer, by its units' names joined by ``+``."""
        return {"+".join(units): optimizer.state_dict() for units, optimizer in self._optimizers.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a state that :meth:`state_dict` gave; attach first.

        Raises:
            ValueError: If the state's units are not the model's.
        """
        groups = {name: tuple(name.split("+")) for name in state}
        units = {name for name, parameters in self._parameters.items() if parameters}
        if {unit for group in groups.values() for unit in group} != units:
            raise ValueError(f"state must hold the units {sorted(units)}, got {sorted(state)}")
        self._optimizers = {}  # a grouping that the state does not have starts anew
        for name, group in groups.items():
            optimizer = self._optimizer(group)
            assert optimizer is not None
            optimizer.load_state_dict(state[name])

    def _groups(self, units: tuple[str | Sequence[str], ...]) -> list[tuple[str, ...]]:
        return [(one,) if isinstance(one, str) else tuple(one) for one in units or tuple(self._parameters)]

    def _optimizer(self, units: tuple[str, ...]) -> torch.optim.Optimizer | None:
        """Return the optimizer of a group of units, made when it is first wanted; None if they have no parameters."""
        units = tuple(name for name in units if self._parameters[name])
        if units and units not in self._optimizers:
            # Each unit's groups and state come from the factory, not from torch's add_param_group: a factory may sort
            # parameters or translate its options, and an optimizer may begin with a state, as Adagrad does.
            optimizer, *others = map(self._made, units)
            for other in others:
                optimizer.param_groups += other.param_groups
                optimizer.state.update(other.state)
            self._optimizers[units] = optimizer
            self._set_rates(optimizer)
        return self._optimizers.get(units)

    def _made(self, name: str) -> torch.optim.Optimizer:
        """Return an optimizer of one unit, whose param groups know their unit."""
        own = {option: value for option, value in self._own[name].items() if option != "lr_schedule"}
        optimizer = self.factory(self._parameters[name], **{**self.options, **own})
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
            group["unit"] = name
        return optimizer

    def _set_rates(self, optimizer: torch.optim.Optimizer) -> None:
        for group in optimizer.param_groups:
            schedule = self._own[group["unit"]].get("lr_schedule", self.lr_schedule)
            group["lr"] = group["initial_lr"] * (1.0 if schedule is None else schedule(self._progress))

    def __repr__(self) -> str:
        """Return the call that made this."""
        parts = [getattr(self.factory, "__name__", repr(self.factory))]
        parts += [f"{k}={v!r}" for k, v in (("lr_schedule", self.lr_schedule), ("overrides", self.overrides)) if v]
        parts += [f"{k}={v!r}" for k, v in self.options.items()]
        return f"LocalOptimizer({', '.join(parts)})"
