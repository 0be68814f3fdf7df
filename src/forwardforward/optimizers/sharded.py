"""Updates of parameters of which some are sharded."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from forwardforward._utils.shards import is_sharded, total_norm

__all__ = ["clip", "update"]


def update(optimizer: torch.optim.Optimizer) -> None:
    """Update the parameters of an optimizer: first those that are not sharded, then the others.

    torch's fused kernels, and those for several tensors, cannot update both at once.

    Args:
        optimizer: The optimizer.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    kinds = {is_sharded(parameter) for parameter in parameters}
    if len(kinds) < 2:
        optimizer.step()
        return
    for kind in (False, True):
        hidden = [(p, p.grad) for p in parameters if is_sharded(p) is not kind]
        for parameter, _ in hidden:
            parameter.grad = None
        optimizer.step()
        for parameter, gradient in hidden:
            parameter.grad = gradient


def clip(parameters: Sequence[nn.Parameter], limit: float) -> None:
    """Shorten the gradients of parameters to a norm.

    Args:
        parameters: The parameters.
        limit: The largest norm.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    if any(map(is_sharded, gradients)):
        nn.utils.clip_grads_with_norm_(parameters, limit, total_norm(gradients))
    else:
        nn.utils.clip_grad_norm_(parameters, limit)
