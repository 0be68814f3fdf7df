"""Shortcuts: what a residual layer adds to its block's output."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["ParameterFreeShortcut"]


class ParameterFreeShortcut(nn.Module):
    """The input itself, averaged over space and filled up with zero channels where the block's output differs.

    Give it as ``shortcut`` to a layer that adds it to its block's output.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the block's output, at least as many.
        stride: By how much the block shrinks height and width.

    Raises:
        ValueError: If the block has fewer channels than its input, or ``stride`` is not positive.

    Source: option A of He et al. (2015), arXiv 1512.03385, with an average in place of every second pixel; in
    Forward-Forward networks, Sun et al., DeeperForward (ICLR 2025).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        if out_channels < in_channels:
            raise ValueError(f"out_channels must be at least in_channels={in_channels}, got {out_channels}")
        if stride < 1:
            raise ValueError(f"stride must be at least 1, got {stride}")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(rows, out_channels, height / stride, width / stride)``, rounded up."""
        if self.stride > 1:
            x = F.avg_pool2d(x, self.stride, ceil_mode=True)
        more = self.out_channels - self.in_channels
        return F.pad(x, (0, 0, 0, 0, 0, more)) if more else x

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"{self.in_channels}, {self.out_channels}, stride={self.stride}"
