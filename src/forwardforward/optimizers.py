"""Local optimizers: one for each layer, kept in one place outside the modules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

__all__ = ["Cooldown", "LocalOptimizer", "SmoothedSGD"]


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


class HasUnits(Protocol):
    """A model whose parameters are updated in separate units, such as layers."""

    def units(self) -> Mapping[str, nn.Module]:
        """Return the units by name."""
        ...


class LocalOptimizer:
    """One torch optimizer a unit (a layer, the head), with their state, learning rates and steps in one place.

    Args:
        factory: A torch optimizer class, or any callable ``(parameters, **options)`` that returns an optimizer.
        schedule: Learning-rate factor, ``progress -> factor`` with progress from 0 to 1; constant unless given.
        overrides: Options that differ for a unit, by its name: ``{"head": {"lr": 0.1}}``.
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
        self._optimizers: dict[str, torch.optim.Optimizer] = {}

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
        self._optimizers = {}
        for name, module in units.items():
            parameters = [p for p in module.parameters() if p.requires_grad]
            if parameters:
                own = getattr(module, "optimizer_options", {})
                options = {**self.options, **own, **self.overrides.get(name, {})}
                optimizer = self.factory(parameters, **options)
                for group in optimizer.param_groups:
                    group.setdefault("initial_lr", group["lr"])
                self._optimizers[name] = optimizer
        self._model = model
        return self

    def zero_grad(self, *units: str) -> None:
        """Free the gradients of the named units, of all where none is named."""
        for name in units or self._optimizers:
            if name in self._optimizers:
                self._optimizers[name].zero_grad(set_to_none=True)

    def step(self, *units: str) -> None:
        """Update the named units, all where none is named."""
        for name in units or self._optimizers:
            if name in self._optimizers:
                self._optimizers[name].step()

    def set_progress(self, progress: float) -> None:
        """Set every learning rate for ``progress``, from 0 to 1, through the training."""
        factor = 1.0 if self.schedule is None else self.schedule(progress)
        for optimizer in self._optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor

    def learning_rates(self) -> dict[str, float]:
        """Return the learning rate of each unit's first parameter group."""
        return {name: float(optimizer.param_groups[0]["lr"]) for name, optimizer in self._optimizers.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return the state of every unit's optimizer, by the unit's name."""
        return {name: optimizer.state_dict() for name, optimizer in self._optimizers.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a state that :meth:`state_dict` gave; attach first.

        Raises:
            ValueError: If the state's units are not the model's.
        """
        if set(state) != set(self._optimizers):
            raise ValueError(f"state must hold the units {sorted(self._optimizers)}, got {sorted(state)}")
        for name, optimizer in self._optimizers.items():
            optimizer.load_state_dict(state[name])

    def __repr__(self) -> str:
        """Return the call that made this."""
        parts = [getattr(self.factory, "__name__", repr(self.factory))]
        parts += [f"{k}={v!r}" for k, v in (("schedule", self.schedule), ("overrides", self.overrides)) if v]
        parts += [f"{k}={v!r}" for k, v in self.options.items()]
        return f"LocalOptimizer({', '.join(parts)})"
