"""Layer specifications: where in the network a plug-in is used, and the shape of its input."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

__all__ = ["LayerSpec", "NeedsSetup"]


@dataclass(frozen=True)
class LayerSpec:
    """Where a plug-in is used.

    Attributes:
        index: Index of the layer, from 0.
        depth: Number of layers of the network.
        shape: Shape of one sample of the plug-in's input, ``(features, ...)``.
        scale: For losses: the goodness of a sample whose activations all have magnitude one; None if the goodness has
            no scale.

    Example:
        >>> LayerSpec(index=0, depth=2, shape=(8, 4, 4)).size
        128
    """

    index: int
    depth: int
    shape: tuple[int, ...]
    scale: float | None = None

    @property
    def features(self) -> int:
        """Number of features (channels), the first dimension of a sample."""
        return self.shape[0]

    @property
    def size(self) -> int:
        """Number of values per sample."""
        return math.prod(self.shape)


@runtime_checkable
class NeedsSetup(Protocol):
    """A plug-in with parameters, buffers or settings that depend on its layer.

    A layer calls :meth:`setup` in a dry run on one sample of zeros, before the plug-in is first used, and again when
    the layer becomes part of a network. A second call with the same shape must leave parameters unchanged.

    Example:
        >>> class Scale:
        ...     def setup(self, spec):
        ...         self.factor = spec.size**-0.5
        >>> isinstance(Scale(), NeedsSetup)
        True
    """

    def setup(self, spec: LayerSpec) -> None:
        """Create what depends on the layer.

        Args:
            spec: The layer's place and the shape of the plug-in's input.
        """
        ...
