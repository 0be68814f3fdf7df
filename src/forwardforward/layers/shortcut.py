"""Residual connections, inside a layer and from one layer to a later one; they have no parameters."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from forwardforward._utils.checks import check_whole

__all__ = ["Shortcut", "Skip"]


class Shortcut(nn.Module):
    """A residual connection inside a layer: adds the layer's own input to its block's output.

    Where the output has more channels or is smaller, the input is filled up with zero channels or averaged over
    space.

    Args:
        stride: By how much the layer shrinks height and width up to here.

    Raises:
        ValueError: If ``stride`` is not positive or, on forward, the output has fewer channels than the input or
            another size.

    Source: option A of He et al. (2015), arXiv 1512.03385, with an average in place of every second pixel.
    """

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        self.stride = check_whole("stride", stride, 1)

    def forward(self, x: Tensor, start: Tensor) -> Tensor:
        """Return the sum.

        Args:
            x: What the layer has computed so far, ``(rows, channels, ...)``.
            start: The layer's input, ``(rows, at most as many channels, ...)``.
        """
        if self.stride > 1:
            start = _averaged(start, self.stride, x)
        more = x.shape[1] - start.shape[1]
        if more < 0 or x.shape[2:] != start.shape[2:]:
            raise ValueError(
                f"a shortcut must lead to at least as many channels of the same size, got {tuple(start.shape)} "
                f"(stride {self.stride}) to {tuple(x.shape)}"
            )
        if more:
            start = F.pad(start, (0, 0) * (start.dim() - 2) + (0, more))
        return x + start

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"stride={self.stride}" if self.stride > 1 else ""


def _averaged(start: Tensor, side: int, end: Tensor) -> Tensor:
    """Return the means of square patches; those at the border may be cut short where the end has a place for them."""
    if start.dim() != 4:
        raise ValueError(f"a connection that averages must begin at maps, got shape {tuple(start.shape)}")
    cut_short = any(a // side < b for a, b in zip(start.shape[2:], end.shape[2:], strict=False))
    return F.avg_pool2d(start, side, ceil_mode=cut_short)


class Skip(nn.Module):
    """A residual connection from one layer to a later one: what the first passes on is added or joined there.

    Give one object as ``tap`` to the layer where it begins and as ``shortcut`` to the layer where it ends. No
    gradient flows along it, unless a baseline sets ``cut`` to False. What is under way is not part of the model's
    state.

    Args:
        pool: Side of the patches that are averaged before the sum, for an end behind a smaller map.
        concatenate: Join the two along the channels instead of adding them.

    Raises:
        ValueError: If ``pool`` is not positive or, on forward, the maps differ in size.
        RuntimeError: If the connection ends without having begun.

    Source: the residual connections of Sun et al., DeeperForward (ICLR 2025).
    """

    def __init__(self, pool: int = 1, concatenate: bool = False) -> None:
        super().__init__()
        self.pool = check_whole("pool", pool, 1)
        self.concatenate = concatenate
        self.cut = True
        self._held: Tensor | None = None

    def remember(self, x: Tensor) -> None:
        """Take in what the first layer passes on."""
        self._held = x.detach() if self.cut else x

    def release(self) -> None:
        """Let go of what is remembered, where the layer at the end has not run."""
        self._held = None

    def __getstate__(self) -> dict[str, Any]:
        """Return what is copied and pickled, without what is under way."""
        return {**self.__dict__, "_held": None}

    def forward(self, x: Tensor, start: Tensor) -> Tensor:
        """Return ``x``, what the later layer has computed so far, with what was remembered."""
        held, self._held = self._held, None
        if held is None:
            raise RuntimeError("a Skip must be the tap of an earlier layer before it is the shortcut of a later one")
        if self.pool > 1:
            held = _averaged(held, self.pool, x)
        if held.shape[2:] != x.shape[2:] or not (self.concatenate or held.shape == x.shape):
            raise ValueError(f"a skip must lead to maps of its own size, got {tuple(held.shape)} to {tuple(x.shape)}")
        return torch.cat([x, held], dim=1) if self.concatenate else x + held

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"pool={self.pool}, concatenate={self.concatenate}"
