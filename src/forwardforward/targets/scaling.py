"""Scaling of real-valued targets, as a module of the model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["TargetScaling"]


class TargetScaling(nn.Module):
    r"""Standardization of real-valued targets, :math:`y' = (y - \mu) / \sigma`, and its inverse for predictions.

    Objectives of a network see scaled targets, so that bins and learning rates do not depend on their unit.
    :func:`~forwardforward.fit` fits the statistics on its training data, of each value by itself; they are buffers.
    Before, targets are unchanged.

    Example:
        >>> scaling = TargetScaling().fit([torch.tensor([10.0, 30.0])])
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

    @torch.no_grad()
    def fit(self, targets: Iterable[Tensor]) -> TargetScaling:
        """Fit the statistics on all targets, and return the module; a value that is constant is shifted only.

        Args:
            targets: Batches of checked targets, ``(batch,)`` or ``(batch, values)``.
        """
        values = torch.cat([batch.detach().cpu().double() for batch in targets])
        std = values.std(0, correction=0)
        self._set(values.mean(0), torch.where(std > 0, std, 1.0))
        self.fitted.fill_(True)
        return self

    def _set(self, mean: Tensor, std: Tensor) -> None:
        self.mean = mean.to(self.mean)
        self.std = std.to(self.std)

    def forward(self, targets: Tensor) -> Tensor:
        """Return scaled targets."""
        return (targets - self.mean.to(targets.dtype)) / self.std.to(targets.dtype)

    def inverse(self, predictions: Tensor) -> Tensor:
        """Return predictions in the units of the targets."""
        return predictions * self.std.to(predictions.dtype) + self.mean.to(predictions.dtype)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        saved = state_dict.get(f"{prefix}mean")
        if isinstance(saved, Tensor) and saved.shape != self.mean.shape and saved.dim() < 2:
            self._set(torch.zeros(saved.shape), torch.ones(saved.shape))  # of several values
        super()._load_from_state_dict(state_dict, prefix, *arguments)
