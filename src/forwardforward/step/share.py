"""A process's share of a batch, for steps that several processes compute together."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor, nn

from forwardforward.batches import Batch, LabeledInput
from forwardforward.objectives import LocalLoss

__all__ = ["Reduction", "Share", "part_of_batch"]


class Reduction(Protocol):
    """A sum of gradients over processes that has been started.

    Example:
        >>> class Alone:
        ...     def wait(self):
        ...         return LocalLoss(torch.tensor(0.5))
        >>> reduction: Reduction = Alone()
    """

    def wait(self) -> LocalLoss:
        """Wait for the sum, store the gradients in the parameters, and return the figures of the whole batch."""
        ...


class Share(Protocol):
    """The samples of a batch that this process computes.

    Attributes:
        part: The samples.
        weight: Their number divided by that of the batch.

    Example:
        >>> issubclass(Share, Protocol)
        True
    """

    part: slice
    weight: float

    def gather(self, rows: Tensor) -> Tensor:
        """Return the rows of the whole batch.

        Args:
            rows: Rows of this process's samples, ``(samples, ...)``.
        """
        ...

    def reduce(self, parameters: Sequence[nn.Parameter], local: LocalLoss) -> Reduction:
        """Begin to sum the gradients of parameters over the processes.

        Args:
            parameters: The parameters; the gradient of each is that of this process's term of the loss.
            local: Figures of this process's samples.
        """
        ...

    def draws(self) -> contextlib.AbstractContextManager[None]:
        """Context manager in which the global generators draw other numbers in each process."""
        ...


def part_of_batch(batch: Batch, part: slice) -> Batch:
    """Return some samples of a batch, with their negatives.

    Args:
        batch: The batch.
        part: The samples.

    Example:
        >>> batch = Batch(torch.arange(8.0)[:, None], torch.arange(4), has_negatives=True)
        >>> part_of_batch(batch, slice(0, 2)).inputs.flatten().tolist()
        [0.0, 1.0, 4.0, 5.0]
    """
    inputs = batch.inputs
    if isinstance(inputs, LabeledInput):
        index = inputs.index if inputs.index.shape[1] == 1 else inputs.index[:, part]
        inputs = replace(inputs, images=inputs.images[part], index=index, responses=None)
    elif batch.has_negatives:
        inputs = torch.cat([half[part] for half in inputs.chunk(2)])
    else:
        inputs = inputs[part]
    return Batch(inputs, None if batch.targets is None else batch.targets[part], batch.has_negatives)
