"""The optimizer of Hinton's program."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

from forwardforward._utils.arguments import NonNegativeFloat, Probability, checked
from forwardforward._utils.plugins import one_line


@checked
class SmoothedSGD(torch.optim.SGD):
    r"""Hinton's optimizer: a smoothed gradient, and a weight cost outside the smoothing.

    .. math:: v \leftarrow s v + (1 - s) \nabla L, \qquad w \leftarrow w - \eta (v + c w), \qquad v_0 = 0

    The weight cost acts on tensors of two dimensions or more, so not on biases. Hinton's program uses half the
    gradient (see :class:`~forwardforward.normalization.PeerNormalization`), so its learning rate 0.01 is 0.005 here,
    and its weight cost 0.001 is 0.002.

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate :math:`\eta`.
        smoothing: :math:`s`, in [0, 1).
        weight_cost: :math:`c`, at least 0.
        fused: Whether to update in one kernel, see :class:`torch.optim.SGD`.

    Raises:
        ValueError: If an argument is out of range.

    Source: the Matlab program of Hinton (2022), arXiv 2212.13345.

    Example:
        >>> optimizer = SmoothedSGD([torch.nn.Parameter(torch.ones(2, 2))], lr=0.005, weight_cost=0.002)
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: NonNegativeFloat = 0.005,
        smoothing: Probability = 0.9,
        weight_cost: NonNegativeFloat = 0.0,
        fused: bool | None = None,
    ) -> None:
        # The default of parameter groups; the parent's constructor adds groups.
        self._initial_weight_cost = weight_cost
        try:
            super().__init__(params, lr=lr, momentum=smoothing, dampening=smoothing, fused=fused)
        except (TypeError, ValueError, KeyError, MemoryError) as error:
            kind = ValueError if isinstance(error, ValueError) else TypeError
            raise kind(f"params must be parameters or parameter groups: {one_line(error)}") from error
        self.defaults["weight_cost"] = weight_cost  # part of the pickled state

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters, which may have its own ``smoothing`` and ``weight_cost``."""
        if isinstance(param_group, dict):
            _check_group(**{name: param_group[name] for name in ("smoothing", "weight_cost") if name in param_group})
            if "smoothing" in param_group:
                param_group = dict(param_group)
                param_group["momentum"] = param_group["dampening"] = param_group.pop("smoothing")
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        group.setdefault("weight_cost", self.defaults.get("weight_cost", self._initial_weight_cost))
        if group["momentum"]:  # torch initializes the average with the first gradient, Hinton with zero
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


@checked
def _check_group(smoothing: Probability = 0.0, weight_cost: NonNegativeFloat = 0.0) -> None:
    """Check the options of one group of parameters."""
