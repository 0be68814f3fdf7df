"""The layers of a step, its groups and its figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from forwardforward._utils.arguments import checked
from forwardforward._utils.shards import total_norm
from forwardforward.layers import FFLayer
from forwardforward.objectives import LocalLoss
from forwardforward.update_schedules import Group, Groups

__all__ = ["Stack", "StepResult", "check_groups", "gradient_norm"]


@dataclass
class StepResult:
    """The figures of one training step; tensors stay on the device.

    Attributes:
        layers: Local loss (detached) by layer, without layers that were in no group.
        head: Loss and accuracy of the one-pass head, if there is one.
        gradient_norms: Norm of the gradient by layer, if the step monitored it.

    Example:
        >>> StepResult().layers
        {}
    """

    layers: dict[int, LocalLoss] = field(default_factory=dict)
    head: LocalLoss | None = None
    gradient_norms: dict[int, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Stack:
    """The layers of a step, and what is updated with them.

    Attributes:
        layers: The layers, in order.
        names: For each layer, the names of the parameter groups that are updated with it.
        observed: Layers whose outputs the caller reads, such as for a head.
        observe: What is kept of an observed layer's output, of the samples without their negatives; default: the
            output. Pooled rows need less memory.

    Example:
        >>> import forwardforward as ff
        >>> layers = [ff.FFLinear(4, 4), ff.FFLinear(4, 4)]
        >>> Stack(layers, [("0",), ("1",)]).updates([Group(range(2), range(1, 2))])
        [['0', '1']]
    """

    layers: Sequence[FFLayer]
    names: Sequence[tuple[str, ...]]
    observed: frozenset[int] = frozenset()
    observe: Callable[[Tensor], Tensor] = torch.Tensor.detach

    def updates(self, groups: Sequence[Group]) -> list[list[str]]:
        """Return the parameter groups that are updated together, in order.

        Overlapping groups update each layer by itself, after the last group that contains it.
        """
        overlap = any(count > 1 for count in Counter(i for group in groups for i in group.layers).values())
        if overlap:
            layers = sorted({i for group in groups for i in group.layers})
            return [list(self.names[i]) for i in layers]
        return [[name for i in group.layers for name in self.names[i]] for group in groups]


def check_groups(groups: Groups, depth: int) -> list[Group]:
    """Return groups with their objectives, in an order that one pass can follow.

    Args:
        groups: The groups of a step.
        depth: Number of layers.

    Raises:
        ValueError: If a group is not a run of neighboring layers, or groups are not in the order of their last layers.
    """
    checked = [group if isinstance(group, Group) else Group(group, group) for group in groups]
    for group in checked:
        layers, objectives = group
        if not (isinstance(layers, range) and isinstance(objectives, range)):
            raise TypeError(f"groups must be ranges of layers, such as range(0, 2), got {layers!r}")
        if not layers or layers.step != 1 or layers[0] < 0 or layers[-1] >= depth:
            raise ValueError(f"groups must be runs of neighboring layers of 0..{depth - 1}, got {layers}")
        if not set(objectives) <= set(layers):
            raise ValueError(f"groups must contain the layers whose objectives count, got {group}")
    lasts = [group.layers[-1] for group in checked]
    if lasts != sorted(set(lasts)):
        raise ValueError(f"groups must be in the order of their last layers, got {list(groups)}")
    return checked


@checked
def gradient_norm(module: nn.Module) -> Tensor:
    """Return the norm of a module's gradients, 0 if it has none."""
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    if not gradients:
        return torch.zeros((), device=next((p.device for p in module.parameters()), None))
    return total_norm(gradients)
