"""The local optimizers in the form that a Trainer expects."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from forwardforward.optimizers import LocalOptimizer

__all__ = ["TrainerOptimizer"]


class TrainerOptimizer:
    """The local optimizers as one optimizer, which a Trainer steps once per batch, saves and restores.

    Its ``step`` runs the closure, which is the whole local step: every layer updates its own parameters there.

    Args:
        local: The local optimizers, attached to their network.
    """

    def __init__(self, local: LocalOptimizer) -> None:
        self.local = local
        self.defaults: dict[str, Any] = {}
        #: Empty: the Trainer moves what is in it to the device, where the local optimizers have moved theirs already.
        self.state: dict[Any, Any] = defaultdict(dict)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The param groups of all layers."""
        return [group for optimizer in self.local.optimizers() for group in optimizer.param_groups]

    def step(self, closure: Callable[[], Any]) -> Any:
        """Run the local step."""
        return closure()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Free all gradients."""
        self.local.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of every local optimizer."""
        return self.local.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state of :meth:`state_dict`."""
        self.local.load_state_dict(state)
