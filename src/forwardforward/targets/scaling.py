"""Scaling of real-valued targets, as a module of the model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from forwardforward._utils.checks import all_finite

__all__ = ["TargetScaling"]


class TargetScaling(nn.Module):
    r"""Standardization of real-valued targets, :math:`y' = (y - \mu) / \sigma`, and its inverse for predictions.

    Objectives of a network see scaled targets, so that bins and learning rates do not depend on their unit.
    :func:`~forwardforward.fit` fits the statistics on its training data, of each value by itself; they are buffers.
    For a step of your own, :meth:`fit` fits them. Targets of -1 and 1 keep the unit of the targets.

    Example:
        >>> scaling = TargetScaling().fit(torch.tensor([10.0, 30.0]))
        >>> scaling(torch.tensor([30.0])), scaling.inverse(torch.tensor([0.0]))
        (tensor([1.]), tensor([20.]))
    """

    mean: Tensor
    std: Tensor
    fitted: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(0.0))
        self.register_buffer("std", torch.tensor(1.0))
        self.register_buffer("fitted", torch.tensor(False))

    @property
    def needs_fit(self) -> bool:
        """Whether the statistics are not fitted yet."""
        return not bool(self.fitted)

    def setup(self, shape: Sequence[int]) -> None:
        """Give the statistics the shape of one target; statistics of a single number are those of each value.

        Args:
            shape: ``()`` for one number, ``(values,)`` for several.

        Raises:
            ValueError: If the statistics are of another number of values.
        """
        self._set(self.mean, self.std, tuple(shape))

    @torch.no_grad()
    def fit(self, targets: Tensor | NDArray[Any] | Iterable[Tensor | NDArray[Any]]) -> TargetScaling:
        """Fit the statistics on all targets, and return the module; a value that is constant is shifted only.

        Args:
            targets: The training targets, ``(samples,)`` or ``(samples, values)``, or batches of them.

        Raises:
            ValueError: If there are none, one is not finite, or they have another number of values than the network.
        """
        batches = [targets] if isinstance(targets, Tensor | np.ndarray) else targets
        parts = [torch.as_tensor(batch).detach().cpu().double() for batch in batches]
        parts = [part for part in parts if part.shape != (0,)]
        shapes = {tuple(part.shape[1:]) for part in parts if part.dim()}
        if len(shapes) > 1 or not all(1 <= part.dim() <= 2 for part in parts):
            raise ValueError(
                "targets must be (samples,) or (samples, values), or batches of equal width, got shapes "
                + ", ".join(str(shape) for shape in sorted({tuple(part.shape) for part in parts}))
            )
        if not sum(map(len, parts)):
            raise ValueError("targets must contain at least one sample, got none")
        values = torch.cat(parts)
        if not all_finite(values):
            raise ValueError("targets must be finite, got NaN or infinity")
        constant = values.amin(0) == values.amax(0)  # whose computed deviation may be a rounding error
        std = values.std(0, correction=0).masked_fill(constant, 1.0)
        self._set(values.mean(0), std, tuple(self.mean.shape or values.shape[1:]))
        self.fitted.fill_(True)
        return self

    def _set(self, mean: Tensor, std: Tensor, shape: tuple[int, ...]) -> None:
        if mean.numel() == 1:
            mean, std = mean.reshape(()).expand(shape), std.reshape(()).expand(shape)
        if mean.shape != shape:
            raise ValueError(f"targets must have the shape {shape} of one sample, got {tuple(mean.shape)}")
        self.mean = mean.to(self.mean).clone()
        self.std = std.to(self.std).clone()

    def forward(self, targets: Tensor) -> Tensor:
        """Return scaled targets."""
        return (targets - self.mean.to(targets.dtype)) / self.std.to(targets.dtype)

    def inverse(self, predictions: Tensor) -> Tensor:
        """Return predictions in the units of the targets."""
        return predictions * self.std.to(predictions.dtype) + self.mean.to(predictions.dtype)
