"""Local optimizers: one torch optimizer per layer, in one place outside the modules."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Protocol

import torch
from torch import Tensor, nn

from forwardforward._utils.annotations import describe
from forwardforward._utils.arguments import PositiveFloat, checked
from forwardforward._utils.plugins import ERRORS, calling, one_line
from forwardforward._utils.shards import sharded_like
from forwardforward._utils.snapshots import Snapshot
from forwardforward.optimizers.parts import (
    OBJECTIVE,
    OBJECTIVES,
    OTHERS,
    clipped_with,
    has_objectives,
    is_part,
    module_of,
    split,
)
from forwardforward.optimizers.sharded import clip, update
from forwardforward.optimizers.states import checked_state

__all__ = ["HasParameterGroups", "LocalOptimizer", "check_optimizer"]


class HasParameterGroups(Protocol):
    """A model whose parameters are updated in separate groups, such as layers.

    Example:
        >>> class Two(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.a, self.b = nn.Linear(2, 2), nn.Linear(2, 2)
        ...
        ...     def parameter_groups(self):
        ...         return {"a": self.a, "b": self.b}
        >>> sorted(LocalOptimizer(torch.optim.SGD, lr=0.1).attach(Two()).learning_rates())
        ['a', 'b']
    """

    def parameter_groups(self) -> Mapping[str, nn.Module]:
        """Return the modules that are updated separately, by name."""
        ...


@checked
class LocalOptimizer:
    """One torch optimizer per parameter group (a layer, the head), with state, learning rates and steps in one place.

    The optimizers follow the model: parameters that are frozen and unfrozen, blocks that are replaced,
    ``load_state_dict(assign=True)`` and layers that are appended need no further call. The state of a parameter that is
    replaced by another of the same name and shape is kept.

    Groups that a schedule updates together, such as those of :class:`~forwardforward.update_schedules.Overlapping`,
    share an optimizer with its own state: a layer's moments in one set of groups do not mix with those in another.

    torch's learning-rate schedulers expect one torch optimizer, so pass ``lr_schedule``; any scheduler that depends on
    the epoch only can be wrapped, see :class:`~forwardforward.lr_schedules.FromTorch`.

    Args:
        factory: A torch optimizer class, or any callable ``(parameters, **options)`` that returns an optimizer whose
            ``step()`` needs no closure.
        lr_schedule: Learning-rate factor, ``progress -> factor`` with progress from 0 to 1; default: constant.
        overrides: Options of single groups, by name, ``lr_schedule`` among them:
            ``{"head": {"lr": 0.1}, "0": {"lr_schedule": Cooldown(0.2)}}``. The name ``"objective"`` stands for the
            parameters of the layers' objectives, such as learned projections and embeddings, which then form groups of
            their own, such as ``"0.objective"``, with all other options of their layer. Their gradients are clipped by
            themselves.
        others: Factory and options of another optimizer for all parameters that are not matrices, such as biases and
            convolution kernels, for optimizers such as Muon: ``others=(torch.optim.AdamW, {"lr": 1e-3})``. They form
            groups of their own, such as ``"0.others"``, with their own ``overrides``.
        clip_norm: Largest norm of the gradient of a layer, or of another module that is updated separately, such as the
            head. A longer gradient is shortened to it, see :func:`torch.nn.utils.clip_grad_norm_`; each layer's by
            itself, so that no layer depends on a later one. Default: no limit. ``overrides`` may contain another limit
            of a module, None for none.
        **options: Passed to the factory, such as ``lr=1e-3``. With ``fused=True``, torch's SGD, Adam and AdamW and
            :class:`SmoothedSGD` update in one kernel, which is faster on CPUs too.

    Raises:
        TypeError: If the options are not those of the factory, or its ``step`` needs a closure, as that of
            ``torch.optim.LBFGS`` does.
        ValueError: If an option is out of range; on attaching, if ``overrides`` names a group that the model does not
            have.

    Example:
        >>> import torch, forwardforward as ff
        >>> optimizer = ff.LocalOptimizer(torch.optim.Adam, lr=1e-3, lr_schedule=ff.lr_schedules.Cooldown(0.5))
    """

    def __init__(
        self,
        factory: Callable[..., torch.optim.Optimizer],
        *,
        lr_schedule: Annotated[Callable[[float], float] | None, "ff.lr_schedules.Cooldown()"] = None,
        overrides: Mapping[str, Mapping[str, Any]] | None = None,
        others: tuple[Callable[..., torch.optim.Optimizer], Mapping[str, Any]] | None = None,
        clip_norm: PositiveFloat | None = None,
        **options: Any,
    ) -> None:
        if lr_schedule is not None:
            with calling("lr_schedule", lr_schedule, "progress -> factor"):
                float(lr_schedule(0.0))
        self.factory = factory
        self.lr_schedule = lr_schedule
        self.overrides = {name: plain(values) for name, values in (overrides or {}).items()}
        self.others = None if others is None else (others[0], plain(others[1]))
        self.clip_norm = clip_norm
        for name, values in self.overrides.items():
            _check_override(name, values)
        self.options = plain(options)
        _check_factory(factory, self.options, (1, 1))
        if self.others is not None:
            _check_factory(*self.others, (1,))
        self._splits_objectives = has_objectives(self.overrides)
        self._model: HasParameterGroups | None = None
        self._snapshot: Snapshot | None = None
        self._parameters: dict[str, dict[str, nn.Parameter]] = {}
        self._identities: dict[str, list[tuple[object, ...]]] = {}
        self._group_options: dict[str, dict[str, Any]] = {}
        self._progress = 0.0
        self._optimizers: dict[tuple[str, ...], torch.optim.Optimizer] = {}

    def attach(self, model: HasParameterGroups) -> LocalOptimizer:
        """Follow the parameters of ``model``, and return this optimizer.

        ``fit`` and ``step`` call it; calling it again for the same model keeps the state and adopts changed parameters.
        A module may have an attribute ``optimizer_options``; ``overrides`` win over them.

        Args:
            model: A model with parameter groups.
        """
        if self._model is model and self._snapshot is not None and self._snapshot.is_current():
            return self
        modules = model.parameter_groups()
        groups = {
            name: parameters
            for module_name, module in modules.items()
            for name, parameters in split(
                module_name, dict(module.named_parameters()), self._splits_objectives, self.others is not None
            ).items()
        }
        if self._model is not model:
            objectives = [getattr(module, "objective", None) for module in modules.values()]
            is_known = any(isinstance(objective, nn.Module) for objective in objectives)
            unknown = set(self.overrides) - set(groups) - ({OBJECTIVES} if is_known else set())
            if unknown:
                raise ValueError(
                    f"overrides must name parameter groups of the model, {', '.join(groups)}, got {sorted(unknown)}"
                )
            self._model, self._parameters, self._optimizers = model, {}, {}
        new: list[str] = []
        for name, current in groups.items():
            previous = self._parameters.get(name)
            if previous is not None and self._identities[name] == _identity(current):
                continue
            self._group_options[name] = self._options_of(name, modules)
            self._parameters[name] = current
            self._identities[name] = _identity(current)
            if previous is None:
                new.append(module_of(name))
            else:
                self._rebuild(name, previous)
        for name in set(self._parameters) - set(groups):
            del self._parameters[name]
            self._optimizers = {names: o for names, o in self._optimizers.items() if name not in names}
        if new:
            self.optimizers(*dict.fromkeys(new))  # makes them
        self._snapshot = Snapshot(model) if isinstance(model, nn.Module) else None
        return self

    def _options_of(self, name: str, modules: Mapping[str, nn.Module]) -> dict[str, Any]:
        """Return the options of a group that differ from the factory's; an objective has those of its layer too."""
        module_options = plain(getattr(modules.get(name), "optimizer_options", {}))
        if name.endswith(OBJECTIVE):
            return {
                **self._options_of(module_of(name), modules),
                **self.overrides.get(OBJECTIVES, {}),
                **self.overrides.get(name, {}),
            }
        return {**module_options, **self.overrides.get(name, {})}

    def _rebuild(self, name: str, previous: Mapping[str, nn.Parameter]) -> None:
        """Make the optimizers of a group anew for its current parameters, with the state of those that stay."""
        for names, optimizer in list(self._optimizers.items()):
            if name not in names:
                continue
            del self._optimizers[names]
            rebuilt = self._optimizer(names)
            if rebuilt is None:
                continue
            current = self._parameters[name]
            fused = any(group.get("fused") or group.get("capturable") for group in rebuilt.param_groups)
            successors = {id(old): current.get(key) for key, old in previous.items()}
            for parameter, state in optimizer.state.items():
                successor = successors.get(id(parameter), parameter)
                # a parameter without values, of another process of a pipeline, needs no state
                if successor is not None and successor.shape == parameter.shape and not successor.is_meta:
                    rebuilt.state[successor] = _converted(state, successor, fused)

    def zero_grad(self, *names: str | Sequence[str]) -> None:
        """Free the gradients of the named groups; default: of all."""
        for group in self._groups(names):
            for name in group:
                for parameter in self._parameters[name].values():
                    parameter.grad = None

    def parameters(self, *names: str | Sequence[str]) -> list[nn.Parameter]:
        """Return the parameters of the named groups; default: of all.

        Args:
            *names: Names of groups, or sequences of names.
        """
        groups = self._groups(names)
        return [parameter for group in groups for name in group for parameter in self._parameters[name].values()]

    def step(self, *names: str | Sequence[str]) -> None:
        """Update the named groups; default: all.

        Args:
            *names: Names of groups, each with its own optimizer, or sequences of names, whose groups share one.
        """
        self._clip(names)
        for optimizer in self.optimizers(*names):
            update(optimizer)
            # in a caller's autocast context, later passes would use copies of the weights from before the update
            torch.clear_autocast_cache()

    def clip_norm_of(self, name: str) -> float | None:
        """Return the largest norm of the gradient of a group, None if there is no limit; attach first.

        Args:
            name: Name of a parameter group; ``"0.others"`` has the limit of ``"0"``, which it is clipped with.
        """
        limit: float | None = self._group_options[clipped_with(name)].get("clip_norm", self.clip_norm)
        return limit

    def _clip(self, names: tuple[str | Sequence[str], ...]) -> None:
        """Shorten the gradients of modules that are longer than their limit."""
        if self.clip_norm is None and not any("clip_norm" in options for options in self._group_options.values()):
            return
        modules = {clipped_with(name): None for group in self._groups(names) for name in group}
        for name in modules:
            limit = self.clip_norm_of(name)
            if limit is not None:
                others = self._parameters.get(name + OTHERS, {})
                clip([*self._parameters[name].values(), *others.values()], limit)

    def optimizers(self, *names: str | Sequence[str]) -> list[torch.optim.Optimizer]:
        """Return the torch optimizers that :meth:`step` of the same names uses.

        Args:
            *names: Names of groups, or sequences of names, as for :meth:`step`.
        """
        optimizers = (self._optimizer(group) for group in self._groups(names))
        return [optimizer for optimizer in optimizers if optimizer is not None]

    def set_progress(self, progress: float) -> None:
        """Set every learning rate.

        Args:
            progress: Progress of the training, from 0 to 1.
        """
        self._progress = progress
        for optimizer in self._optimizers.values():
            self._set_rates(optimizer)

    def learning_rates(self) -> dict[str, float]:
        """Return the learning rate of each group."""
        groups = [group for optimizer in self._optimizers.values() for group in optimizer.param_groups]
        return {group["parameter_group"]: float(group["lr"]) for group in reversed(groups)}

    def state_dict(self) -> dict[str, Any]:
        """Return the state of every optimizer, by the names of its groups joined with ``+``.

        Raises:
            TypeError: If an option or state is neither a plain number, string, tensor nor a container of them.
        """
        state = {"+".join(names): optimizer.state_dict() for names, optimizer in self._optimizers.items()}
        return {name: plain(values, name) for name, values in state.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state of :meth:`state_dict`; attach first.

        Args:
            state: The state.

        Raises:
            ValueError: If its groups or their entries are not the model's; nothing is changed then.
        """
        names = {key: tuple(key.split("+")) for key in state}
        expected = {name for name, parameters in self._parameters.items() if parameters}
        if {name for group in names.values() for name in group} != expected:
            raise ValueError(f"state must have the parameter groups {sorted(expected)}, got {sorted(state)}")
        restored = {}
        for key, group in names.items():
            optimizer = restored[group] = self._new_optimizer(group)
            optimizer.load_state_dict(checked_state(key, optimizer, state[key]))
            self._set_clip_norms(optimizer)  # those of this optimizer, as its schedules and overrides are
        self._optimizers = restored  # sets of groups that the state does not contain start anew

    def _groups(self, names: tuple[str | Sequence[str], ...]) -> list[tuple[str, ...]]:
        unknown: list[Any] = [group for group in names if not isinstance(group, str | tuple | list)]
        groups: list[tuple[str, ...]] = []
        if not unknown:
            modules = names or [name for name in self._parameters if not is_part(name)]
            groups = [(group,) if isinstance(group, str) else tuple(group) for group in modules]
            unknown = [
                name for group in groups for name in group if not isinstance(name, str) or name not in self._parameters
            ]
        if unknown:
            raise ValueError(
                f"names must be those of parameter groups, {', '.join(self._parameters)}, got {describe(unknown[0])}"
            )
        if self._splits_objectives:  # the torch optimizer of a layer updates its objective too
            groups = [tuple(part for name in group for part in (name, name + OBJECTIVE)) for group in groups]
        if self.others is not None:
            groups += [tuple(name + OTHERS for name in group) for group in groups]
        return [tuple(name for name in group if name in self._parameters) for group in groups]

    def _optimizer(self, names: tuple[str, ...]) -> torch.optim.Optimizer | None:
        """Return the optimizer of a set of groups, made at its first use; None if they have no parameters."""
        names = tuple(name for name in names if self._parameters[name])
        if names and names not in self._optimizers:
            self._optimizers[names] = self._new_optimizer(names)
            self._set_rates(self._optimizers[names])
        return self._optimizers.get(names)

    def _new_optimizer(self, names: tuple[str, ...]) -> torch.optim.Optimizer:
        # Parameter groups and state come from the factory, not from torch's add_param_group: a factory may sort
        # parameters or translate its options, and an optimizer may begin with a state, as Adagrad does.
        optimizer, *rest = map(self._optimizer_of_group, names)
        for other in rest:
            optimizer.param_groups += other.param_groups
            optimizer.state.update(other.state)
        return optimizer

    def _optimizer_of_group(self, name: str) -> torch.optim.Optimizer:
        """Return a new optimizer of one group, whose param groups contain the group's name.

        All parameters are included: torch's optimizers skip those without a gradient, so a layer that is unfrozen later
        learns without further measures.
        """
        factory, options = self.factory, self.options
        if self.others is not None and name.endswith(OTHERS):
            factory, options = self.others
        options = {**options, **self._group_options[name]}
        options.pop("lr_schedule", None)
        _check_clip_norm(options.pop("clip_norm", None))
        try:
            optimizer = factory(list(self._parameters[name].values()), **options)
        except (TypeError, ValueError) as error:
            kind = ValueError if isinstance(error, ValueError) else TypeError
            raise kind(
                f"optimizer_options and overrides of the group {name!r} must be options of the optimizer: "
                f"{one_line(error)}"
            ) from error
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
            group["parameter_group"] = name
        self._set_clip_norms(optimizer)
        return optimizer

    def _set_clip_norms(self, optimizer: torch.optim.Optimizer) -> None:
        """Store the limits of the gradients' norms for the compiled step, which reads no other options."""
        for group in optimizer.param_groups:
            limit = self.clip_norm_of(group["parameter_group"])
            if limit is None:
                group.pop("clip_norm", None)
            else:
                group["clip_norm"] = limit

    def _set_rates(self, optimizer: torch.optim.Optimizer) -> None:
        for group in optimizer.param_groups:
            schedule = self._group_options[group["parameter_group"]].get("lr_schedule", self.lr_schedule)
            factor = 1.0 if schedule is None else schedule(self._progress)
            if not 0 <= factor < math.inf:
                raise ValueError(
                    f"lr_schedule must return a factor of at least 0, got {factor} at progress {self._progress:g}"
                )
            group["lr"] = group["initial_lr"] * factor

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for copies, which look for changes of their own model."""
        return {**self.__dict__, "_snapshot": None}

    def __repr__(self) -> str:
        """Return the constructor call."""
        parts = [getattr(self.factory, "__name__", repr(self.factory))]
        parts += [f"{k}={v!r}" for k, v in (("lr_schedule", self.lr_schedule), ("overrides", self.overrides)) if v]
        parts += [f"{k}={v!r}" for k, v in self.options.items()]
        parts += [] if self.clip_norm is None else [f"clip_norm={self.clip_norm}"]
        if self.others is not None:
            factory, options = self.others
            parts.append(f"others=({getattr(factory, '__name__', repr(factory))}, {dict(options)})")
        return f"LocalOptimizer({', '.join(parts)})"


@checked
def _check_clip_norm(clip_norm: PositiveFloat | None) -> None:
    """Check a limit that ``overrides`` or a layer's ``optimizer_options`` contain."""


def _check_override(name: str, values: Mapping[str, Any]) -> None:
    """Check what the options of one group can be checked for without its parameters."""
    _check_clip_norm(values.get("clip_norm"))
    schedule = values.get("lr_schedule")
    if schedule is not None:
        with calling(f"overrides[{name!r}]['lr_schedule']", schedule, "progress -> factor"):
            float(schedule(0.0))
    for option, value in values.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"overrides[{name!r}][{option!r}] must be a finite number, got {value}")


def _check_factory(
    factory: Callable[..., torch.optim.Optimizer], options: Mapping[str, Any], shape: tuple[int, ...]
) -> None:
    """Make an optimizer of one parameter, so that wrong options are refused before a model is made."""
    name = getattr(factory, "__name__", type(factory).__name__)
    for option, default in _defaults(factory).items():
        value = options.get(option, default)
        if isinstance(default, int | float) and not isinstance(default, bool) and not isinstance(value, Tensor):
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise TypeError(f"{option} must be a number, got {describe(value)}")
            if not math.isfinite(value):
                raise ValueError(f"{option} must be a finite number, got {value}")
    try:
        optimizer = factory([nn.Parameter(torch.zeros(shape))], **options)
    except (TypeError, ValueError) as error:
        raise type(error)(f"options must be those of the optimizer {name}: {error}") from error
    except ERRORS as error:
        raise TypeError(
            f"factory must return a torch optimizer, got {describe(factory)}, which raised {one_line(error)}"
        ) from error
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise TypeError(f"factory must return a torch optimizer, got {describe(optimizer)} from {name}")
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise TypeError(
            f"factory must return an optimizer that updates once per gradient, such as torch.optim.Adam, got {name}, "
            "which computes the loss several times per step"
        )


def _defaults(factory: Callable[..., Any]) -> dict[str, Any]:
    try:
        parameters = inspect.signature(factory).parameters
    except (ValueError, TypeError):  # some callables have none
        return {}
    return {name: parameter.default for name, parameter in parameters.items()}


def _identity(parameters: Mapping[str, nn.Parameter]) -> list[tuple[object, ...]]:
    """Return what an optimizer depends on: ``model.double()`` and ``model.to(device)`` keep the parameters' objects."""
    return [(id(p), p.dtype, p.device) for p in parameters.values()]


def _converted(state: Mapping[str, Any], parameter: Tensor, counts_on_device: bool) -> dict[str, Any]:
    """Return the state of a parameter in its precision and on its device; counts stay on the CPU, unless fused."""
    converted = dict(state)
    for name, value in state.items():
        if isinstance(value, Tensor) and value.dim() and value.is_floating_point():
            converted[name] = value.to(parameter.device, parameter.dtype)
            if value.shape == parameter.shape:
                converted[name] = sharded_like(converted[name], parameter)
        elif isinstance(value, Tensor):
            converted[name] = value.to(parameter.device if counts_on_device else "cpu")
    return converted


def check_optimizer(optimizer: object) -> None:
    """Refuse a torch optimizer: each layer needs its own.

    Args:
        optimizer: The argument of ``step``.

    Raises:
        TypeError: If it is not a :class:`LocalOptimizer`.
    """
    if not isinstance(optimizer, LocalOptimizer):
        raise TypeError(
            "optimizer must be an instance of LocalOptimizer, such as ff.LocalOptimizer(torch.optim.Adam, lr=...), "
            f"got {describe(optimizer)}"
        )


def plain(value: Any, place: str | None = None) -> Any:
    """Return a value with numpy's scalars as Python's numbers, so that a checkpoint can be read without pickle.

    Args:
        value: Options or state.
        place: Name of the value, to refuse what a checkpoint cannot contain; None accepts everything.

    Raises:
        TypeError: If ``place`` is given and a value is of a type that a checkpoint cannot contain.
    """
    if isinstance(value, Mapping):
        inner = {key: plain(item, None if place is None else f"{place}.{key}") for key, item in value.items()}
        return inner
    if isinstance(value, list | tuple):
        items = [plain(item, None if place is None else f"{place}[{i}]") for i, item in enumerate(value)]
        return items if isinstance(value, list) else tuple(items)
    if type(value).__module__ == "numpy" and hasattr(value, "item") and not getattr(value, "shape", ()):
        return value.item()
    if place is not None and not isinstance(value, bool | int | float | complex | str | bytes | Tensor | None):
        raise TypeError(f"{place} must be a number, a string or a tensor to be saved, got {type(value).__name__}")
    return value
