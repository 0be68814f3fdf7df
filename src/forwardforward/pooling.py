"""Pooling of maps and sequences to rows, for goodness functions, embeddings and heads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from forwardforward._utils.arguments import PoolSize, PositiveInt, checked

__all__ = ["LimitedPool", "MeanPool", "SequencePool", "SpatialPool"]

Kind = Literal["mean", "max", "rms"]
EPS = 1e-7  # bounds the slope of the root at 0; far below the squares of activations of size one


class _PatchMeans(torch.autograd.Function):
    """Means over equal patches of maps, with a gradient that is written once.

    Torch's gradient of adaptive pooling adds to a map of zeros, and takes ten times as long on a CPU if the pooled rows
    and the maps differ in the order of channels and positions.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(maps: Tensor, rows: int, columns: int) -> Tensor:
        return F.adaptive_avg_pool2d(maps, (rows, columns))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, int, int], output: Tensor) -> None:
        maps, ctx.rows, ctx.columns = inputs
        ctx.shape = maps.shape
        ctx.channels_last = maps.stride(1) == 1

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        batch, channels, height, width = ctx.shape
        height, width = height // ctx.rows, width // ctx.columns
        patches: Tensor = grads[0] / (height * width)
        if ctx.channels_last:
            patches = patches.permute(0, 2, 3, 1).contiguous()[:, :, None, :, None]
            spread = patches.expand(-1, -1, height, -1, width, -1)
            return spread.reshape(batch, *ctx.shape[2:], channels).permute(0, 3, 1, 2), None, None
        return patches[..., None, :, None].expand(-1, -1, -1, height, -1, width).reshape(ctx.shape), None, None


def _overlapping_patch_means(maps: Tensor, rows: int, columns: int) -> Tensor:
    """Return the means over the patches of adaptive pooling, which overlap where their number does not divide the side.

    As a product with a matrix of zeros and ones: torch's own gradient takes ten times as long on a CPU.
    """
    vertical, horizontal = _windows(maps.shape[2], rows, maps), _windows(maps.shape[3], columns, maps)
    windows = (vertical[:, None, :, None] * horizontal[None, :, None, :]).flatten(2).flatten(0, 1)
    positions = maps.permute(0, 2, 3, 1).flatten(1, 2)  # a view of maps with channels last
    sums: Tensor = torch.matmul(windows, positions).transpose(1, 2).unflatten(2, (rows, columns))
    return sums / (vertical.sum(1)[:, None] * horizontal.sum(1)).to(sums.dtype)


def _windows(side: int, count: int, like: Tensor) -> Tensor:
    """Return which of ``side`` positions each of ``count`` windows contains, ``(count, side)``."""
    window = torch.arange(count, device=like.device)[:, None]
    position = torch.arange(side, device=like.device)
    return ((position >= window * side // count) & (position < -(-(window + 1) * side // count))).to(like.dtype)


def _patch_means(maps: Tensor, rows: int, columns: int) -> Tensor:
    """Return the means over ``rows`` times ``columns`` patches, ``(batch, channels, rows, columns)``."""
    if (rows, columns) == maps.shape[2:]:
        return maps
    if rows == columns == 1:
        return F.adaptive_avg_pool2d(maps, 1)
    if maps.shape[2] % rows or maps.shape[3] % columns:
        return _overlapping_patch_means(maps, rows, columns)
    if torch.compiler.is_compiling():  # the compiler fuses a sum and its gradient with the operations around it
        means: Tensor = maps.unflatten(3, (columns, -1)).unflatten(2, (rows, -1)).mean((3, 5))
        return means
    return _apply(maps, rows, columns)


_apply: Callable[[Tensor, int, int], Tensor] = _PatchMeans.apply


def _check_maps(maps: Tensor, pool: nn.Module) -> None:
    if maps.dim() != 4:
        raise ValueError(
            f"activations must be (rows, channels, height, width) for {type(pool).__name__}, got {tuple(maps.shape)}"
        )


@checked
class SpatialPool(nn.Module):
    r"""Maps ``(rows, channels, height, width)`` to rows ``(rows, channels * size * size)``.

    The map is divided into ``size`` times ``size`` equal patches, each of which gives one number per channel.

    Args:
        size: Number of patches along each side.
        kind: ``"mean"``, ``"max"`` or ``"rms"``, the root of the mean square.

    Raises:
        ValueError: If an argument is out of range or, when called, the input is not a batch of maps.

    Example:
        >>> import torch
        >>> SpatialPool(2)(torch.rand(3, 8, 6, 6)).shape
        torch.Size([3, 32])
    """

    def __init__(self, size: PoolSize = 1, kind: Kind = "mean") -> None:
        super().__init__()
        self.size = size
        self.kind = kind

    def forward(self, maps: Tensor) -> Tensor:
        """Return the pooled rows."""
        _check_maps(maps, self)
        if self.kind == "max":
            return F.adaptive_max_pool2d(maps, self.size).flatten(1)
        if self.kind == "mean":
            return _patch_means(maps, self.size, self.size).flatten(1)
        return _patch_means(maps.square(), self.size, self.size).add(EPS).sqrt().flatten(1)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"{self.size}" + ("" if self.kind == "mean" else f", kind={self.kind!r}")


@checked
class LimitedPool(nn.Module):
    """Maps ``(rows, channels, height, width)`` to rows of at most ``limit`` means over equal patches.

    Rows ``(rows, features)`` are returned unchanged, so that dense layers can follow convolutions. Height and width are
    halved in turn, height first, until the limit is kept or each channel is one number.

    Args:
        limit: Largest number of values per row, unless there are more channels.

    Raises:
        ValueError: If ``limit`` is below 1 or, when called, the input is neither a batch of maps nor of rows.

    Source: the pooling before the local classifiers of Nøkland and Eidnes (2019), arXiv 1901.06656.

    Example:
        >>> import torch
        >>> [LimitedPool(2048)(torch.rand(1, channels, 32, 32)).shape[1] for channels in (128, 256, 512)]
        [2048, 2048, 2048]
    """

    def __init__(self, limit: PositiveInt) -> None:
        super().__init__()
        self.limit = limit

    def forward(self, maps: Tensor) -> Tensor:
        """Return the pooled rows."""
        if maps.dim() == 2:
            return maps
        _check_maps(maps, self)
        channels, rows, columns = maps.shape[1:]
        while channels * rows * columns > self.limit and rows * columns > 1:
            if rows >= columns:
                rows = -(-rows // 2)
            else:
                columns = -(-columns // 2)
        return _patch_means(maps, rows, columns).flatten(1)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"{self.limit}"


@checked
class SequencePool(nn.Module):
    """Sequences ``(rows, channels, length)`` to rows ``(rows, channels * size)``.

    Args:
        size: Number of equal segments that the sequence is divided into.
        kind: ``"mean"``, ``"max"`` or ``"rms"``, the root of the mean square.
        channels_last: Whether sequences are ``(rows, length, channels)``, the form of recurrent and attention blocks.

    Raises:
        ValueError: If an argument is out of range or, when called, the input is not a batch of sequences.

    Example:
        >>> import torch
        >>> SequencePool(1, channels_last=True)(torch.rand(3, 12, 8)).shape
        torch.Size([3, 8])
    """

    def __init__(self, size: PoolSize = 1, kind: Kind = "mean", channels_last: bool = False) -> None:
        super().__init__()
        self.size = size
        self.kind = kind
        self.channels_last = channels_last

    def forward(self, sequences: Tensor) -> Tensor:
        """Return the pooled rows."""
        if sequences.dim() != 3:
            form = "(rows, length, channels)" if self.channels_last else "(rows, channels, length)"
            raise ValueError(f"activations must be {form} for SequencePool, got {tuple(sequences.shape)}")
        if self.channels_last:
            sequences = sequences.transpose(1, 2)
        if self.kind == "max":
            return F.adaptive_max_pool1d(sequences, self.size).flatten(1)
        if self.kind == "mean":
            return F.adaptive_avg_pool1d(sequences, self.size).flatten(1)
        return F.adaptive_avg_pool1d(sequences.square(), self.size).add(EPS).sqrt().flatten(1)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        parts = [f"{self.size}"]
        parts += [f"kind={self.kind!r}"] if self.kind != "mean" else []
        return ", ".join([*parts, *(["channels_last=True"] if self.channels_last else [])])


@checked
class MeanPool(nn.Module):
    """Means over patches of maps or over positions of sequences, for layers of different kinds.

    Maps ``(rows, channels, height, width)`` become ``(rows, channels * size * size)`` as in :class:`SpatialPool`, with
    fewer patches if the maps are smaller; sequences ``(rows, positions, features)`` become ``(rows, features)``. Rows
    ``(rows, features)`` are unchanged.

    Args:
        size: Largest number of patches along each side of a map.

    Raises:
        ValueError: If ``size`` is out of range or, when called, the input has another number of dimensions.

    Example:
        >>> import torch
        >>> [MeanPool(2)(torch.rand(3, *shape)).shape[1] for shape in [(8, 6, 6), (8, 1, 1), (12, 8), (8,)]]
        [32, 8, 8, 8]
    """

    def __init__(self, size: PoolSize = 2) -> None:
        super().__init__()
        self.size = size

    def forward(self, activations: Tensor) -> Tensor:
        """Return the pooled rows."""
        if activations.dim() == 4:
            side = min(self.size, *activations.shape[2:])
            return _patch_means(activations, side, side).flatten(1)
        if activations.dim() == 3:
            return activations.mean(1)
        if activations.dim() == 2:
            return activations
        raise ValueError(
            "activations must be maps (rows, channels, height, width), sequences (rows, positions, features) or rows "
            f"for MeanPool, got shape {tuple(activations.shape)}"
        )

    def extra_repr(self) -> str:
        """Return the constructor's argument."""
        return f"{self.size}"
