"""Local optimizers: one for each layer, kept in one place outside the modules."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

__all__ = ["Cooldown", "Cosine", "LocalOptimizer", "Ramp", "SmoothedSGD", "Steps"]


class SmoothedSGD(torch.optim.SGD):
    r"""Hinton's optimizer: a smoothed gradient, and a weight cost outside the smoothing.

    .. math:: v \leftarrow s v + (1 - s) \nabla L, \qquad w \leftarrow w - \eta (v + c w), \qquad v_0 = 0

    The weight cost acts on tensors of two dimensions or more, so not on biases. Hinton's program follows half the
    gradient (see :class:`~forwardforward.normalization.PeerNormalization`), so its learning rate 0.01 is 0.005 here,
    and its weight cost 0.001 is 0.002.

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate :math:`\eta`.
        smoothing: :math:`s`, in [0, 1).
        weight_cost: :math:`c`, at least 0.

    Raises:
        ValueError: If an argument is out of range.

    Source: the Matlab program of Hinton (2022), arXiv 2212.13345.
    """

    def __init__(
        self, params: Iterable[Tensor], lr: float = 0.005, smoothing: float = 0.9, weight_cost: float = 0.0
    ) -> None:
        if not 0 <= smoothing < 1:
            raise ValueError(f"smoothing must be in [0, 1), got {smoothing}")
        if weight_cost < 0:
            raise ValueError(f"weight_cost must be at least 0, got {weight_cost}")
        self._weight_cost = weight_cost  # of groups that name none; adding groups starts in the parent's constructor
        super().__init__(params, lr=lr, momentum=smoothing, dampening=smoothing)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters, which may have a ``weight_cost`` of its own."""
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        group.setdefault("weight_cost", self._weight_cost)
        if group["momentum"]:  # torch starts the average at the first gradient, Hinton at zero
            for p in group["params"]:
                self.state[p]["momentum_buffer"] = torch.zeros_like(p)

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step.

        Args:
            closure: Reevaluates the loss and returns it; rarely needed.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.no_grad():
            for group in self.param_groups:
                if group["weight_cost"]:
                    for p in group["params"]:
                        if p.grad is not None and p.dim() > 1:
                            p.mul_(1 - group["lr"] * group["weight_cost"])
        super().step()
        return loss


class Cooldown:
    r"""A learning-rate factor: 1, then linear to 0.

    :math:`\min(1, (1 - t) / (1 - start))` at progress :math:`t` through the epochs, taken at each epoch's middle.
    ``Cooldown(0.5)`` is Hinton's.

    Args:
        start: Where the cool-down begins, in [0, 1).

    Raises:
        ValueError: If ``start`` is out of range.

    Example:
        >>> Cooldown(0.5)(0.75)
        0.5
    """

    def __init__(self, start: float = 0.5) -> None:
        if not 0 <= start < 1:
            raise ValueError(f"start must be in [0, 1), got {start}")
        self.start = start

    def __call__(self, progress: float) -> float:
        """Return the factor at ``progress``, from 0 to 1, through the training."""
        return min(1.0, (1 - progress) / (1 - self.start))

    def __repr__(self) -> str:
        """Return the call that made this."""
        return f"Cooldown({self.start})"


class Ramp:
    r"""A factor that goes evenly from ``first`` to ``last``, :math:`f_0 + (f_1 - f_0) t` at progress :math:`t`.

    Args:
        first: Factor :math:`f_0` at the start, at least 0.
        last: Factor :math:`f_1` at the end, at least 0.

    Raises:
        ValueError: If a factor is negative.

    Example:
        >>> Ramp(0.0, 1.0)(0.5)
        0.5
    """

    def __init__(self, first: float, last: float) -> None:
        if first < 0 or last < 0:
            raise ValueError(f"first and last must be at least 0, got {first} and {last}")
        self.first = first
        self.last = last

    def __call__(self, progress: float) -> float:
        """Return the factor at ``progress``, from 0 to 1, through the training."""
        return self.first + (self.last - self.first) * progress

    def __repr__(self) -> str:
        """Return the call that made this."""
        return f"Ramp({self.first}, {self.last})"


class Cosine:
    r"""A learning-rate factor that falls along half a cosine, from 1 to ``floor``.

    :math:`f + (1 - f) (1 + \cos \pi t) / 2` at progress :math:`t` through the epochs, taken at each epoch's middle.

    Args:
        floor: Factor :math:`f` at the end, in [0, 1].
        warmup: Share of the training in which the factor first rises linearly to 1, in [0, 1).

    Raises:
        ValueError: If an argument is out of range.

    Source: Loshchilov and Hutter, SGDR (2017), arXiv 1608.03983, without restarts.

    Example:
        >>> Cosine(floor=0.1)(0.5)
        0.55
    """

    def __init__(self, floor: float = 0.0, warmup: float = 0.0) -> None:
        if not 0 <= floor <= 1:
            raise ValueError(f"floor must be in [0, 1], got {floor}")
        if not 0 <= warmup < 1:
            raise ValueError(f"warmup must be in [0, 1), got {warmup}")
        self.floor = floor
        self.warmup = warmup

    def __call__(self, progress: float) -> float:
        """Return the factor at ``progress``, from 0 to 1, through the training."""
        if progress < self.warmup:
            return progress / self.warmup
        way = (progress - self.warmup) / (1 - self.warmup)
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * way)) / 2

    def __repr__(self) -> str:
        """Return the call that made this."""
        return f"Cosine(floor={self.floor}" + (f", warmup={self.warmup})" if self.warmup else ")")


class Steps:
    """A learning-rate factor that jumps: 1, then from each given progress on the factor beside it.

    ``Steps({0.4: 0.5, 0.8: 0.1})`` is the Trifecta's for its deep network (500 epochs, changes after 200 and 400),
    ``Steps({0.75: 0.1})`` the one for its shallow network.

    Args:
        factors: Progress, in (0, 1), to the factor from there on.

    Raises:
        ValueError: If a progress is out of range or a factor is negative.

    Example:
        >>> [Steps({0.4: 0.5, 0.8: 0.1})(progress) for progress in (0.2, 0.4, 0.9)]
        [1.0, 0.5, 0.1]
    """

    def __init__(self, factors: Mapping[float, float]) -> None:
        for progress, factor in factors.items():
            if not 0 < progress < 1 or factor < 0:
                raise ValueError(f"factors must map progress in (0, 1) to factors of at least 0, got {dict(factors)}")
        self.factors = dict(sorted(factors.items()))

    def __call__(self, progress: float) -> float:
        """Return the factor at ``progress``, from 0 to 1, through the training."""
        return next((f for start, f in reversed(self.factors.items()) if progress >= start), 1.0)

    def __repr__(self) -> str:
        """Return the call that made this."""
        return f"Steps({self.factors})"


class HasUnits(Protocol):
    """A model whose parameters are updated in separate units, such as layers."""

    def units(self) -> Mapping[str, nn.Module]:
        """Return the units by name."""
        ...


class LocalOptimizer:
    """One torch optimizer a unit (a layer, the head), with their state, learning rates and steps in one place.

    Units that a schedule updates together, such as the groups of :class:`~forwardforward.schedules.Overlapping`, have
    an optimizer of their own together, with its own state: a layer's moments under one grouping do not mix with those
    under another.

    Args:
        factory: A torch optimizer class, or any callable ``(parameters, **options)`` that returns an optimizer.
        schedule: Learning-rate factor, ``progress -> factor`` with progress from 0 to 1; constant unless given.
        overrides: Options that differ for a unit, by its name, ``schedule`` among them:
            ``{"head": {"lr": 0.1}, "0": {"schedule": Cooldown(0.2)}}``.
        **options: Passed to the factory, such as ``lr=1e-3``.

    Raises:
        ValueError: On attaching, if ``overrides`` names a unit that the model has not.

    Example:
        >>> import torch, forwardforward as ff
        >>> optimizer = ff.LocalOptimizer(torch.optim.Adam, lr=1e-3, schedule=ff.optimizers.Cooldown(0.5))
    """

    def __init__(
        self,
        factory: Callable[..., torch.optim.Optimizer],
        *,
        schedule: Callable[[float], float] | None = None,
        overrides: Mapping[str, Mapping[str, Any]] | None = None,
        **options: Any,
    ) -> None:
        self.factory = factory
        self.schedule = schedule
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
        units = model.units()
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
            optimizer, *others = map(self._made, units)  # each by the factory, which may have options of its own
            for other in others:
                optimizer.param_groups += other.param_groups
                optimizer.state.update(other.state)
            self._optimizers[units] = optimizer
            self._set_rates(optimizer)
        return self._optimizers.get(units)

    def _made(self, name: str) -> torch.optim.Optimizer:
        """Return an optimizer of one unit, whose param groups know their unit."""
        own = {option: value for option, value in self._own[name].items() if option != "schedule"}
        optimizer = self.factory(self._parameters[name], **{**self.options, **own})
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
            group["unit"] = name
        return optimizer

    def _set_rates(self, optimizer: torch.optim.Optimizer) -> None:
        for group in optimizer.param_groups:
            schedule = self._own[group["unit"]].get("schedule", self.schedule)
            group["lr"] = group["initial_lr"] * (1.0 if schedule is None else schedule(self._progress))

    def __repr__(self) -> str:
        """Return the call that made this."""
        parts = [getattr(self.factory, "__name__", repr(self.factory))]
        parts += [f"{k}={v!r}" for k, v in (("schedule", self.schedule), ("overrides", self.overrides)) if v]
        parts += [f"{k}={v!r}" for k, v in self.options.items()]
        return f"LocalOptimizer({', '.join(parts)})"
