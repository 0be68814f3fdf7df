"""The steps of torch's optimizers as pure functions of one parameter, for the compiled step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from forwardforward.optimizers.smoothed_sgd import SmoothedSGD

__all__ = ["Rule", "rule_of"]

State = dict[str, Tensor]

#: Options of a param group that a rule does not read, apart from the names that it does.
_IGNORED = ("params", "parameter_group", "initial_lr", "lr", "foreach", "fused", "capturable")


class Rule(NamedTuple):
    """An optimizer's step of one parameter.

    Attributes:
        options: What the step depends on beside its arguments: the optimizer's name and options, without the rate.
        initial_state: State of a parameter before its first step.
        update: ``(parameter, gradient, state, learning rate) -> (parameter, state)``, without an effect on them.

    Example:
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.1)
        >>> rule = rule_of(optimizer, optimizer.param_groups[0])
        >>> rule.update(torch.ones(2), torch.ones(2), {}, torch.tensor(0.5))
        (tensor([0.5000, 0.5000]), {})
    """

    options: tuple[Any, ...]
    initial_state: Callable[[Tensor], State]
    update: Callable[[Tensor, Tensor, State, Tensor], tuple[Tensor, State]]


def rule_of(optimizer: torch.optim.Optimizer, group: Mapping[str, Any]) -> Rule | None:
    """Return the rule of a param group, None if the optimizer's step is not known as a pure function.

    Known are :class:`torch.optim.SGD` without dampening, :class:`torch.optim.Adam` and :class:`torch.optim.AdamW`
    without ``amsgrad``, and :class:`~forwardforward.optimizers.SmoothedSGD`, each without hooks.

    Args:
        optimizer: The optimizer.
        group: One of its ``param_groups``.
    """
    hooks = (getattr(optimizer, f"_optimizer_step_{time}_hooks", None) for time in ("pre", "post"))
    if any(hooks) or "step" in vars(optimizer) or group.get("differentiable"):
        return None
    options = {name: value for name, value in group.items() if name not in _IGNORED}
    options |= {name: tuple(value) for name, value in options.items() if isinstance(value, list)}
    if any(isinstance(value, Tensor) for value in (group["lr"], *options.values(), *options.get("betas", ()))):
        return None
    kind = type(optimizer)
    key = (kind.__name__, *sorted(options.items()))
    if kind is torch.optim.SGD and (not options["dampening"] or not options["momentum"]):
        return Rule(key, _buffer if options["momentum"] else _nothing, _sgd(options))
    if kind is SmoothedSGD:
        return Rule(key, _buffer if options["momentum"] else _nothing, _smoothed_sgd(options))
    if kind in (torch.optim.Adam, torch.optim.AdamW) and not options["amsgrad"]:
        decoupled = kind is torch.optim.AdamW or bool(options.get("decoupled_weight_decay"))
        return Rule(key, _moments(bool(group.get("fused") or group.get("capturable"))), _adam(options, decoupled))
    return None


def _nothing(parameter: Tensor) -> State:
    return {}


def _buffer(parameter: Tensor) -> State:
    return {"momentum_buffer": torch.zeros_like(parameter)}  # with which a first step without dampening is torch's


def _moments(counts_on_device: bool) -> Callable[[Tensor], State]:
    def state(parameter: Tensor) -> State:
        count = torch.zeros((), dtype=torch.float32, device=parameter.device if counts_on_device else "cpu")
        return {"step": count, "exp_avg": torch.zeros_like(parameter), "exp_avg_sq": torch.zeros_like(parameter)}

    return state


def _sgd(options: Mapping[str, Any]) -> Callable[..., tuple[Tensor, State]]:
    momentum, dampening, decay = options["momentum"], options["dampening"], options["weight_decay"]
    nesterov, maximize = options["nesterov"], options["maximize"]

    def update(parameter: Tensor, gradient: Tensor, state: State, rate: Tensor) -> tuple[Tensor, State]:
        gradient = -gradient if maximize else gradient
        if decay:
            gradient = gradient + decay * parameter
        if momentum:
            buffer = momentum * state["momentum_buffer"] + (1 - dampening) * gradient
            state = {"momentum_buffer": buffer}
            gradient = gradient + momentum * buffer if nesterov else buffer
        return parameter - rate.to(parameter.dtype) * gradient, state

    return update


def _smoothed_sgd(options: Mapping[str, Any]) -> Callable[..., tuple[Tensor, State]]:
    step, cost = _sgd(options), options["weight_cost"]

    def update(parameter: Tensor, gradient: Tensor, state: State, rate: Tensor) -> tuple[Tensor, State]:
        if cost and parameter.dim() > 1:
            parameter = parameter * (1 - rate.to(parameter.dtype) * cost)
        return step(parameter, gradient, state, rate)

    return update


def _adam(options: Mapping[str, Any], decoupled: bool) -> Callable[..., tuple[Tensor, State]]:
    (beta1, beta2), eps = options["betas"], options["eps"]
    decay, maximize = options["weight_decay"], options["maximize"]

    def update(parameter: Tensor, gradient: Tensor, state: State, rate: Tensor) -> tuple[Tensor, State]:
        gradient = -gradient if maximize else gradient
        if decay and decoupled:
            parameter = parameter * (1 - rate.to(parameter.dtype) * decay)
        elif decay:
            gradient = gradient + decay * parameter
        count = state["step"] + 1
        first = state["exp_avg"].lerp(gradient, 1 - beta1)
        second = beta2 * state["exp_avg_sq"] + (1 - beta2) * gradient * gradient
        # in float64, as Python's numbers are: 1 - 0.999 has four digits in float32
        precise = count.double()
        size = (rate.double() / (1 - beta1**precise)).to(parameter.dtype)
        correction = (1 - beta2**precise).sqrt().to(parameter.dtype)
        parameter = parameter - size * first / (second.sqrt() / correction + eps)
        return parameter, {"step": count, "exp_avg": first, "exp_avg_sq": second}

    return update
