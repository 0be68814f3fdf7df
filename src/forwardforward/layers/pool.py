"""A max-pool that stores little for its gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from forwardforward._utils.arguments import PoolSize, checked
from forwardforward._utils.numerics import full_precision

__all__ = ["MaxPool2d"]


@checked
class MaxPool2d(nn.MaxPool2d):
    """:class:`torch.nn.MaxPool2d` over patches that do not overlap.

    For its gradient it stores the positions of the maxima, a quarter of the size of the maps for patches of 2x2, and
    not the maps.

    Args:
        size: Height and width of the patches, one number for square ones.

    Example:
        >>> MaxPool2d(2)(torch.arange(4.0).view(1, 1, 2, 2))
        tensor([[[[3.]]]])
    """

    def __init__(self, size: PoolSize | tuple[PoolSize, PoolSize]) -> None:
        super().__init__(size)
        self.size = size

    def forward(self, maps: Tensor) -> Tensor:
        """Return the maxima of ``(rows, channels, height, width)`` or ``(channels, height, width)``."""
        if torch.compiler.is_compiling() or not (torch.is_grad_enabled() and maps.requires_grad):
            return super().forward(maps)  # type: ignore[no-any-return]
        pooled, _ = _apply(maps, self.kernel_size)
        return pooled


class _Pool(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(maps: Tensor, size: int | tuple[int, int]) -> tuple[Tensor, Tensor]:
        return F.max_pool2d(maps, size, return_indices=True)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, int | tuple[int, int]], output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)  # no zeros for the positions, which are twice as large as the pooled maps
        ctx.save_for_backward(output[1])
        ctx.size, ctx.shape = inputs[1], inputs[0].shape[-2:]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, None]:
        grad, (places,) = grads[0], ctx.saved_tensors
        if grad is None:
            return None, None
        channels_last = places.dim() == 4 and places.is_contiguous(memory_format=torch.channels_last)
        if channels_last and not torch.are_deterministic_algorithms_enabled():  # keeps the memory layout
            return _unpool(grad, places, ctx.size, ctx.shape), None
        zeros = grad.new_zeros(*grad.shape[:-2], ctx.shape.numel())
        return zeros.scatter(-1, places.flatten(-2), grad.flatten(-2)).unflatten(-1, ctx.shape), None


class _Unpool(torch.autograd.Function):
    """``max_unpool2d``, for which torch.vmap has no rule: members become rows."""

    @staticmethod
    def forward(grad: Tensor, places: Tensor, size: Any, shape: torch.Size) -> Tensor:
        with full_precision(grad):  # autocast computes this in float32
            return F.max_unpool2d(grad, places, size, output_size=shape)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        pass

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[Tensor, int]:
        rows = [
            (x.expand(info.batch_size, *x.shape) if dim is None else x.movedim(dim, 0)).flatten(0, 1)
            for x, dim in zip(inputs[:2], in_dims[:2], strict=True)
        ]
        return _unpool(*rows, *inputs[2:]).unflatten(0, (info.batch_size, -1)), 0


_unpool: Callable[..., Tensor] = _Unpool.apply
_apply: Callable[[Tensor, Any], tuple[Tensor, Tensor]] = _Pool.apply
