"""Update rules of optimizers, written for stacked parameters: every operation acts on each element by itself.

A rule changes a parameter ``(members, ...)`` and its state in place. Its options are numbers, or tensors
``(members, 1, ...)`` of one number per member, so that no rule mixes members; what depends on the dimensions of a
parameter depends on those of one member's. The formulas are those of torch's optimizers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from forwardforward.optimizers import SmoothedSGD

__all__ = ["RULES", "Rule"]

#: ``rule(parameter, gradient, state, options)``.
Rule = Callable[[Tensor, Tensor, dict[str, Tensor], Mapping[str, Any]], None]


def sgd(p: Tensor, gradient: Tensor, state: dict[str, Tensor], options: Mapping[str, Any]) -> None:
    """Update by stochastic gradient descent, see :class:`torch.optim.SGD`."""
    gradient = -gradient if options["maximize"] else gradient
    momentum = options["momentum"]
    if _is_used(options["weight_decay"]):
        gradient = gradient + options["weight_decay"] * p
    if _is_used(momentum):
        if "momentum_buffer" in state:
            state["momentum_buffer"].mul_(momentum).add_((1 - options["dampening"]) * gradient)
        else:
            state["momentum_buffer"] = gradient.clone()
        buffer = state["momentum_buffer"]
        gradient = gradient + momentum * buffer if options["nesterov"] else buffer
    p.addcmul_(gradient, options["lr"], value=-1)


def smoothed_sgd(p: Tensor, gradient: Tensor, state: dict[str, Tensor], options: Mapping[str, Any]) -> None:
    """Update by :class:`~forwardforward.optimizers.SmoothedSGD`."""
    if _is_used(options["weight_cost"]) and p.dim() - 1 > 1:  # one member's dimensions
        p.mul_(1 - options["lr"] * options["weight_cost"])
    sgd(p, gradient, state, options)


def adam(p: Tensor, gradient: Tensor, state: dict[str, Tensor], options: Mapping[str, Any]) -> None:
    """Update by Adam or AdamW, see :class:`torch.optim.Adam`."""
    gradient = -gradient if options["maximize"] else gradient
    if "step" not in state:
        state["step"] = torch.zeros(len(p), *[1] * (p.dim() - 1), dtype=torch.float64, device=p.device)
        names = ("exp_avg", "exp_avg_sq", *(("max_exp_avg_sq",) if options["amsgrad"] else ()))
        state.update({name: torch.zeros_like(p) for name in names})
    beta1, beta2 = options["beta1"], options["beta2"]
    state["step"] += 1
    if _is_used(options["weight_decay"]):
        if options["decoupled_weight_decay"]:
            p.mul_(1 - options["lr"] * options["weight_decay"])
        else:
            gradient = gradient + options["weight_decay"] * p
    mean, square = state["exp_avg"], state["exp_avg_sq"]
    mean.add_((1 - beta1) * (gradient - mean))
    square.mul_(beta2).add_((1 - beta2) * gradient * gradient)
    if options["amsgrad"]:
        square = torch.maximum(state["max_exp_avg_sq"], square, out=state["max_exp_avg_sq"])
    # in float64, as torch's own correction, which computes it with Python's numbers
    rate = (options["lr"] / (1 - beta1 ** state["step"])).to(p.dtype)
    correction = (1 - beta2 ** state["step"]).sqrt().to(p.dtype)
    p.addcdiv_(mean * rate, square.sqrt() / correction + options["eps"], value=-1)


def _is_used(number: Any) -> bool:
    """Return whether an option has an effect in any member."""
    return isinstance(number, Tensor) or bool(number)


#: The supported optimizers.
RULES: dict[Any, Rule] = {
    torch.optim.SGD: sgd,
    torch.optim.Adam: adam,
    torch.optim.AdamW: adam,
    SmoothedSGD: smoothed_sgd,
}
