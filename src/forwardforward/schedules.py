"""Schedules: which layers are updated when, and where gradients stop.

A schedule says, for each step, which *groups* of layers are updated. A group is a run of neighbouring layers: their
losses are added up, gradients flow inside it and stop at its border. Groups of one are Forward-Forward proper; one
group of all layers is backpropagation of the summed local losses; a layer in no group passes its activations on as it
is, and layers behind the last group are not run. Any callable ``(depth, epoch, step, epochs) -> groups`` serves.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["EndToEnd", "Greedy", "Groups", "Joint"]

#: The groups of layers that one step updates, in order, each a run of neighbouring layers.
Groups = Sequence[range]


class Joint:
    """Every layer in every step, each by itself."""

    def __call__(self, depth: int, epoch: int, step: int, epochs: int) -> Groups:
        """Return one group a layer."""
        return [range(layer, layer + 1) for layer in range(depth)]

    def __repr__(self) -> str:
        """Return the call that made this."""
        return "Joint()"


class Greedy:
    """Layer by layer: the epochs are shared out evenly, and each layer trains on those before it, which stand still."""

    def __call__(self, depth: int, epoch: int, step: int, epochs: int) -> Groups:
        """Return the layer whose turn it is."""
        layer = min(depth - 1, epoch * depth // max(epochs, depth))
        return [range(layer, layer + 1)]

    def __repr__(self) -> str:
        """Return the call that made this."""
        return "Greedy()"


class EndToEnd:
    """One group of all layers: backpropagation of the summed local losses, a baseline and not Forward-Forward."""

    def __call__(self, depth: int, epoch: int, step: int, epochs: int) -> Groups:
        """Return all layers as one group."""
        return [range(depth)]

    def __repr__(self) -> str:
        """Return the call that made this."""
        return "EndToEnd()"
