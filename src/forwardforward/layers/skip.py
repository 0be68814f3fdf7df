"""Residual connections, inside a layer and from an earlier layer; they have no parameters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from forwardforward._utils.arguments import PoolSize, PositiveInt, checked

__all__ = ["Residual", "SkipConnection", "SkipTensors"]


@checked
class Residual(nn.Module):
    """A residual connection inside a layer: adds the layer's input to its block's output.

    If the output has more channels or is smaller, the input is padded with zero channels or averaged over space.

    Args:
        stride: Factor by which the layer reduces height and width up to the sum.

    Raises:
        ValueError: If ``stride`` is not positive or, on forward, the output has fewer channels than the input or
            another size.

    Source: option A of He et al. (2015), arXiv 1512.03385, with an average in place of every second pixel.

    Example:
        >>> Residual()(torch.ones(1, 3), torch.ones(1, 2))
        tensor([[2., 2., 1.]])
    """

    def __init__(self, stride: PoolSize = 1) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor, start: Tensor) -> Tensor:
        """Return the sum.

        Args:
            x: The layer's value at this point, ``(rows, channels, ...)``.
            start: The layer's input, ``(rows, at most as many channels, ...)``.
        """
        if self.stride > 1:
            start = _average(start, self.stride, x)
        missing = x.shape[1] - start.shape[1]
        if missing < 0 or x.shape[2:] != start.shape[2:]:
            raise ValueError(
                f"a residual connection needs at least as many channels of the same size, got {tuple(start.shape)} "
                f"(stride {self.stride}) to {tuple(x.shape)}"
            )
        if missing:
            start = F.pad(start, (0, 0) * (start.dim() - 2) + (0, missing))
        return x + start

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"stride={self.stride}" if self.stride > 1 else ""


@checked
class SkipConnection(nn.Module):
    """A residual connection from an earlier layer, whose output is added or concatenated.

    Give it to the layer where it ends, as ``residual=``. Local learning stops gradients along it; the baselines, which
    are trained end to end, do not.

    Args:
        distance: Number of layers back: 1 is the layer before, whose output is also this layer's input.
        pool: Side of the patches over which the earlier output is averaged, if maps have become smaller.
        concatenate: Whether to concatenate the two along the channels instead of adding them.
        groups: Number of equal groups of channels that are concatenated one by one, so that each group of the result
            contains a group of each; 1 for one tensor after the other.

    Raises:
        ValueError: If ``distance``, ``pool`` or ``groups`` is not positive or, on forward, the maps differ in size or
            the channels do not divide into the groups.

    Source: the residual connections of Sun et al., DeeperForward (ICLR 2025).

    Example:
        >>> SkipConnection(2)(torch.ones(1, 3), torch.ones(1, 3))
        tensor([[2., 2., 2.]])
    """

    def __init__(
        self, distance: PositiveInt, pool: PoolSize = 1, concatenate: bool = False, groups: PositiveInt = 1
    ) -> None:
        super().__init__()
        self.distance = distance
        self.pool = pool
        self.concatenate = concatenate
        self.groups = groups

    def forward(self, x: Tensor, earlier: Tensor) -> Tensor:
        """Return ``x`` with the earlier layer's output.

        Args:
            x: The later layer's value at this point, ``(rows, channels, ...)``.
            earlier: Output of the earlier layer.
        """
        if self.pool > 1:
            earlier = _average(earlier, self.pool, x)
        if earlier.shape[2:] != x.shape[2:] or not (self.concatenate or earlier.shape == x.shape):
            raise ValueError(
                f"a skip connection needs tensors of the same size, got {tuple(earlier.shape)} to {tuple(x.shape)}"
            )
        if not self.concatenate:
            return x + earlier
        if self.groups == 1:
            return torch.cat([x, earlier], dim=1)
        if x.shape[1] % self.groups or earlier.shape[1] % self.groups:
            raise ValueError(f"groups must divide the channels, {x.shape[1]} and {earlier.shape[1]}, got {self.groups}")
        grouped = [value.unflatten(1, (self.groups, -1)) for value in (x, earlier)]
        return torch.cat(grouped, dim=2).flatten(1, 2)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        groups = "" if self.groups == 1 else f", groups={self.groups}"
        return f"distance={self.distance}, pool={self.pool}, concatenate={self.concatenate}{groups}"


class SkipTensors:
    """The outputs that later layers of one pass still read through their skip connections.

    Args:
        residuals: The residual connection of every layer, in order.

    Attributes:
        outputs: The outputs, by the index of their layer.

    Raises:
        ValueError: If a connection begins before the first layer.
    """

    def __init__(self, residuals: Sequence[nn.Module | None]) -> None:
        self._source: dict[int, int] = {}
        for index, residual in enumerate(residuals):
            if isinstance(residual, SkipConnection):
                if residual.distance > index:
                    raise ValueError(
                        f"distance must be at most {index} for a skip connection of layer {index}, "
                        f"got {residual.distance}"
                    )
                self._source[index] = index - residual.distance
        self._last_reader = {source: reader for reader, source in self._source.items()}
        self.outputs: dict[int, Tensor] = {}

    def store(self, index: int, output: Tensor) -> None:
        """Keep a layer's output if a later layer reads it."""
        if index in self._last_reader:
            self.outputs[index] = output

    def get(self, index: int) -> Tensor | None:
        """Return the earlier output that a layer reads, None if it reads none."""
        source = self._source.get(index)
        if source is None:
            return None
        last = self._last_reader[source] == index
        return self.outputs.pop(source) if last else self.outputs[source]


def _average(start: Tensor, side: int, end: Tensor) -> Tensor:
    """Return the means of square patches; patches at the border may be incomplete if the end's map includes them."""
    if start.dim() != 4:
        raise ValueError(f"a connection that averages must begin at maps, got shape {tuple(start.shape)}")
    incomplete = any(a // side < b for a, b in zip(start.shape[2:], end.shape[2:], strict=False))
    return F.avg_pool2d(start, side, ceil_mode=incomplete)
