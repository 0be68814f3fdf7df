"""Pooling of maps to few numbers a channel, for what reads a convolution's activations."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from forwardforward._utils.checks import check_whole

__all__ = ["SequencePool", "SpatialPool"]

KINDS = ("mean", "max", "rms")
EPS = 1e-7  # bounds the root's slope at 0, far below the squares of activations of size one


class SpatialPool(nn.Module):
    r"""Maps ``(rows, channels, height, width)`` to rows ``(rows, channels * size * size)``.

    The map is cut into ``size`` times ``size`` equal patches, of which each gives one number per channel.

    Args:
        size: Number of patches along each side.
        kind: ``"mean"``, ``"max"`` or ``"rms"``, the root of the mean square.

    Raises:
        ValueError: If an argument is out of range or, when called, the input is no map.
    """

    def __init__(self, size: int = 1, kind: str = "mean") -> None:
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
        self.size = check_whole("size", size, 1)
        self.kind = kind

    def features(self, channels: int) -> int:
        """Return how many numbers come of ``channels`` channels."""
        return channels * self.size**2

    def forward(self, maps: Tensor) -> Tensor:
        """Return the pooled rows."""
        if maps.dim() != 4:
            raise ValueError(
                f"activations must be (rows, channels, height, width) to be pooled, got {tuple(maps.shape)}"
            )
        if self.kind == "max":
            return F.adaptive_max_pool2d(maps, self.size).flatten(1)
        if self.kind == "mean":
            return F.adaptive_avg_pool2d(maps, self.size).flatten(1)
        return F.adaptive_avg_pool2d(maps.square(), self.size).add(EPS).sqrt().flatten(1)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"{self.size}" + ("" if self.kind == "mean" else f", kind={self.kind!r}")


class SequencePool(SpatialPool):
    """Sequences ``(rows, channels, length)`` to rows ``(rows, channels * size)``, as :class:`SpatialPool` does maps.

    Args:
        size: Number of equal stretches that the sequence is cut into.
        kind: ``"mean"``, ``"max"`` or ``"rms"``, the root of the mean square.

    Raises:
        ValueError: If an argument is out of range or, when called, the input is no sequence.
    """

    def features(self, channels: int) -> int:
        """Return how many numbers come of ``channels`` channels."""
        return channels * self.size

    def forward(self, sequences: Tensor) -> Tensor:
        """Return the pooled rows."""
        if sequences.dim() != 3:
            raise ValueError(f"activations must be (rows, channels, length) to be pooled, got {tuple(sequences.shape)}")
        if self.kind == "max":
            return F.adaptive_max_pool1d(sequences, self.size).flatten(1)
        if self.kind == "mean":
            return F.adaptive_avg_pool1d(sequences, self.size).flatten(1)
        return F.adaptive_avg_pool1d(sequences.square(), self.size).add(EPS).sqrt().flatten(1)
