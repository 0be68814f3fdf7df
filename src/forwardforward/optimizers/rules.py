"""The steps of torch's optimizers as functions of one parameter, for compiled and for batched updates.

A parameter is that of one network, with numbers as options, or the stacked parameter ``(members, ...)`` of several
networks. Then an option is a number for all members, or a tensor ``(members, 1, ...)`` of one number per member. Every
operation acts on each element by itself, so no member depends on another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from forwardforward.optimizers.smoothed_sgd import SmoothedSGD

__all__ = ["RULES", "Rule", "clip_factor", "options_of", "rule_of"]

State = dict[str, Tensor]
Options = Mapping[str, Any]

#: The options of param groups that the rules read; others choose between implementations of the same formula.
_NAMES = ("momentum", "dampening", "weight_decay", "weight_cost", "nesterov", "maximize", "amsgrad", "eps")


class Rule(NamedTuple):
    """An optimizer's step of one parameter.

    Attributes:
        initial_state: ``(parameter, options) -> state`` before the first step.
        update: ``(parameter, gradient, state, options)``, which changes the parameter and its state in place. The
            options are those of :func:`options_of`, and the learning rate ``lr`` as a tensor of float64.

    Example:
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.1)
        >>> options = {**options_of(optimizer, optimizer.param_groups[0]), "lr": torch.tensor(0.5).double()}
        >>> parameter = torch.ones(2)
        >>> RULES[torch.optim.SGD].update(parameter, torch.ones(2), {}, options)
        >>> parameter
        tensor([0.5000, 0.5000])
    """

    initial_state: Callable[[Tensor, Options], State]
    update: Callable[[Tensor, Tensor, State, Options], None]


def rule_of(optimizer: torch.optim.Optimizer, group: Options) -> Rule | None:
    """Return the rule of a param group of one network, None if the optimizer's step is not known as a function.

    Known are :class:`torch.optim.SGD` without dampening, :class:`torch.optim.Adam`, :class:`torch.optim.AdamW` and
    :class:`~forwardforward.optimizers.SmoothedSGD`, each without hooks and with numbers as options.

    Args:
        optimizer: The optimizer.
        group: One of its ``param_groups``.
    """
    kind = type(optimizer)
    hooks = (getattr(optimizer, f"_optimizer_step_{time}_hooks", None) for time in ("pre", "post"))
    if kind not in RULES or any(hooks) or "step" in vars(optimizer) or group.get("differentiable"):
        return None
    if any(isinstance(value, Tensor) for value in (group["lr"], *options_of(optimizer, group).values())):
        return None
    if kind is torch.optim.SGD and group["dampening"] and group["momentum"]:
        return None  # its state begins with the first gradient
    return RULES[kind]


def options_of(optimizer: torch.optim.Optimizer, group: Options, stacked: bool = False) -> dict[str, Any]:
    """Return the options of a param group that a rule reads, without the learning rate.

    Args:
        optimizer: The optimizer.
        group: One of its ``param_groups``.
        stacked: Whether parameters have a first dimension of members.
    """
    options: dict[str, Any] = {name: group[name] for name in _NAMES if name in group}
    if "betas" in group:
        options["beta1"], options["beta2"] = group["betas"]
        options["decoupled"] = isinstance(optimizer, torch.optim.AdamW) or bool(group.get("decoupled_weight_decay"))
        options["counts_on_device"] = stacked or bool(group.get("fused") or group.get("capturable"))
    return {**options, "stacked": stacked}


def clip_factor(norm: Tensor, limit: float | Tensor) -> Tensor:
    """Return the factor by which a gradient is shortened, as :func:`torch.nn.utils.clip_grad_norm_` does.

    Args:
        norm: Norm of the gradient; of several networks, ``(members,)``.
        limit: Largest norm.
    """
    return (limit / (norm + 1e-6)).clamp(max=1.0)


def _buffer(parameter: Tensor, options: Options) -> State:
    if not _is_used(options["momentum"]):
        return {}
    return {"momentum_buffer": torch.zeros_like(parameter)}  # with which a first step without dampening is torch's


def _no_buffer_with_dampening(parameter: Tensor, options: Options) -> State:
    return {} if _is_used(options["dampening"]) else _buffer(parameter, options)


def _moments(parameter: Tensor, options: Options) -> State:
    shape = (len(parameter), *[1] * (parameter.dim() - 1)) if options["stacked"] else ()
    device = parameter.device if options["counts_on_device"] else "cpu"
    names = ("exp_avg", "exp_avg_sq", *(("max_exp_avg_sq",) if options["amsgrad"] else ()))
    count = torch.zeros(shape, dtype=torch.float32, device=device)
    return {"step": count, **{name: torch.zeros_like(parameter) for name in names}}


def _sgd(parameter: Tensor, gradient: Tensor, state: State, options: Options) -> None:
    momentum, dampening = options["momentum"], options["dampening"]
    gradient = -gradient if options["maximize"] else gradient
    if _is_used(options["weight_decay"]):
        gradient = _plus(gradient, options["weight_decay"], parameter)
    if _is_used(momentum):
        if "momentum_buffer" in state:
            damped = gradient
            if isinstance(momentum, Tensor):  # dampening has no effect on a member without momentum
                dampening = dampening * (momentum != 0).double()
            if _is_used(dampening):
                damped = _cast(1 - dampening, gradient) * gradient
            state["momentum_buffer"].mul_(_cast(momentum, gradient)).add_(damped)
        else:
            state["momentum_buffer"] = gradient.clone()
        buffer = state["momentum_buffer"]
        gradient = _plus(gradient, momentum, buffer) if options["nesterov"] else buffer
    parameter.addcmul_(gradient, _cast(options["lr"], parameter), value=-1)


def _smoothed_sgd(parameter: Tensor, gradient: Tensor, state: State, options: Options) -> None:
    dimensions = parameter.dim() - 1 if options["stacked"] else parameter.dim()
    if _is_used(options["weight_cost"]) and dimensions > 1:
        parameter.mul_(_cast(1 - options["lr"] * options["weight_cost"], parameter))
    _sgd(parameter, gradient, state, options)


def _adam(parameter: Tensor, gradient: Tensor, state: State, options: Options) -> None:
    beta1, beta2, decay, rate = options["beta1"], options["beta2"], options["weight_decay"], options["lr"]
    gradient = -gradient if options["maximize"] else gradient
    if _is_used(decay) and options["decoupled"]:
        parameter.mul_(_cast(1 - rate * decay, parameter))
    elif _is_used(decay):
        gradient = _plus(gradient, decay, parameter)
    count, mean, square = state["step"], state["exp_avg"], state["exp_avg_sq"]
    count.add_(1)
    mean.lerp_(gradient, _cast(1 - beta1, mean))
    square.mul_(_cast(beta2, square)).addcmul_(_cast(1 - beta2, gradient) * gradient, gradient)
    if options["amsgrad"]:
        square = state["max_exp_avg_sq"].copy_(square.maximum(state["max_exp_avg_sq"]))
    first, second = _bias_corrections(count, beta1, beta2)
    size = _cast(rate / first, parameter)
    correction = _cast(second.sqrt(), parameter)
    parameter.addcdiv_(size * mean, square.sqrt().div_(correction).add_(_cast(options["eps"], parameter)), value=-1)


def _bias_corrections(count: Tensor, *betas: Any) -> Tensor:
    """Return ``1 - beta ** count`` for each beta, in float64: 1 - 0.999 has four digits in float32.

    The compiler computes an exponential that is used twice once per parameter, and a power once per few elements, which
    would take longer than the rest of the update.
    """
    logarithms = [beta.log() if isinstance(beta, Tensor) else math.log(beta) if beta else -math.inf for beta in betas]
    return 1 - torch.stack([count.double() * logarithm for logarithm in logarithms]).exp()


def _is_used(number: Any) -> bool:
    """Return whether an option has an effect in any network."""
    return isinstance(number, Tensor) or bool(number)


def _cast(number: Any, parameter: Tensor) -> Any:
    """Return an option, which is a number or a tensor of float64, in a parameter's precision."""
    return number.to(parameter.dtype) if isinstance(number, Tensor) else number


def _plus(tensor: Tensor, number: Any, other: Tensor) -> Tensor:
    """Return ``tensor + number * other`` without a tensor for the product."""
    if isinstance(number, Tensor):
        return torch.addcmul(tensor, other, number.to(other.dtype))
    return torch.add(tensor, other, alpha=number)


#: The rules by the optimizer's class.
RULES: dict[Any, Rule] = {
    torch.optim.SGD: Rule(_no_buffer_with_dampening, _sgd),
    torch.optim.Adam: Rule(_moments, _adam),
    torch.optim.AdamW: Rule(_moments, _adam),
    SmoothedSGD: Rule(_buffer, _smoothed_sgd),
}
