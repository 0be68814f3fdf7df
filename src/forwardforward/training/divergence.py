"""Detection of trainings that diverge."""

from __future__ import annotations

import math
from typing import Any

import torch

from forwardforward._utils.shards import whole
from forwardforward.network import Network
from forwardforward.training.callbacks import Callback, FitState
from forwardforward.training.history import numbers_of

__all__ = ["StopOnDivergence", "TrainingDiverged", "check_convergence"]

#: Above it, neighboring numbers in float32 differ by more than 1, so that nothing of the initial weights is left.
LARGEST_WEIGHT = 2.0**24


class TrainingDiverged(ArithmeticError):  # noqa: N818 - named as KeyboardInterrupt is
    """A figure or weight became NaN or infinite, or a weight exceeded 2**24."""


class StopOnDivergence(Callback):
    """End the training with an error if a loss or weight is no longer finite or a weight exceeds 2**24.

    Part of every ``fit``. Normalization between layers hides the scale of weights, so that losses may stay finite while
    weights grow without bounds. Beyond :math:`2^{24}`, neighboring numbers in float32 differ by more than 1.

    Raises:
        TrainingDiverged: After the epoch.

    Example:
        >>> stop = StopOnDivergence()  # fit(..., callbacks=[stop]) adds nothing to fit(...)
    """

    def on_epoch_end(self, state: FitState) -> None:
        """Check the epoch's record and the weights."""
        check_convergence(state.model, state.history[-1], state.history[-1]["epoch"])


def check_convergence(model: Network, figures: dict[str, Any], epoch: int) -> None:
    """Refuse figures and weights of a training that diverged.

    Args:
        model: The network.
        figures: Numbers in nested dictionaries and lists.
        epoch: The epoch, from 1, for the message.

    Raises:
        TrainingDiverged: If a figure is not finite, or a weight is not finite or exceeds 2**24.
    """
    remedy = "a smaller learning rate or a normalization of the layer's input may help"
    for name, value in numbers_of(figures):
        if not math.isfinite(value):
            raise TrainingDiverged(f"training diverged in epoch {epoch}: {name} is {value}; {remedy}")
    weights = {name: p.detach() for name, p in model.named_parameters() if p.numel() and not p.is_meta}
    largest = {name: whole(value).abs().max() for name, value in weights.items()}
    if not largest:
        return
    sizes = torch.stack([value.float() for value in largest.values()]).tolist()  # one synchronization with the device
    for name, size in zip(largest, sizes, strict=True):
        if not size <= LARGEST_WEIGHT:
            raise TrainingDiverged(
                f"training diverged in epoch {epoch}: the largest weight of {name} is {size:.3g}; {remedy}"
            )
