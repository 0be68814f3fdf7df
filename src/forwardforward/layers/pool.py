"""A max-pool that keeps little for its gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["MaxPool2d"]


class MaxPool2d(nn.MaxPool2d):
    """:class:`torch.nn.MaxPool2d` over patches that do not overlap.

    For its gradient it keeps where the maxima are, a quarter of the maps for patches of 2x2, and not the maps.

    Args:
        size: Height and width of the patches, one number for square ones.
    """

    def __init__(self, size: int | tuple[int, int]) -> None:
        super().__init__(size)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the maxima of ``(rows, channels, height, width)``."""
        if not (torch.is_grad_enabled() and maps.requires_grad):
            return super().forward(maps)  # type: ignore[no-any-return]
        pooled: Tensor = _Pool.apply(maps, self.kernel_size)
        return pooled


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, size: int | tuple[int, int]) -> Tensor:
        pooled, places = F.max_pool2d(maps, size, return_indices=True)
        ctx.save_for_backward(places)
        ctx.size, ctx.shape = size, maps.shape[2:]
        return pooled

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (grad,), (places,) = grads, ctx.saved_tensors
        last = places.is_contiguous(memory_format=torch.channels_last)
        if last and not torch.are_deterministic_algorithms_enabled():  # keeps the channels last
            return F.max_unpool2d(grad, places, ctx.size, output_size=ctx.shape), None
        spread = grad.new_zeros(*grad.shape[:2], ctx.shape.numel())
        return spread.scatter_(2, places.flatten(2), grad.flatten(2)).unflatten(2, ctx.shape), None
