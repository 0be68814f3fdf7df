"""A process's share of a batch, for steps that several processes compute together."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from forwardforward.objectives import LocalLoss

__all__ = ["Reduction", "Share"]


class Reduction(Protocol):
    """A sum of gradients over processes that has been started.

    Example:
        >>> import torch
        >>> class Alone:
        ...     def wait(self):
        ...         return LocalLoss(torch.tensor(0.5))
        >>> reduction: Reduction = Alone()
    """

    def wait(self) -> LocalLoss:
        """Wait for the sum, store the gradients in the parameters, and return the figures of the whole batch."""
        ...


@runtime_checkable
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

    def scoring(self) -> contextlib.AbstractContextManager[None]:
        """Context manager in which layers run without an update before the step, such as for hard negatives."""
        ...

    def draws(self) -> contextlib.AbstractContextManager[None]:
        """Context manager in which the global generators draw other numbers in each process."""
        ...
