"""Sums, means and mean probabilities over the layers."""

from __future__ import annotations

from torch import Tensor

from forwardforward._utils.arguments import checked
from forwardforward.classifiers.checks import check_goodness


@checked
class SumOverLayers:
    """The goodness summed over layers.

    Args:
        layers: The layers that count: ``slice(None)`` for all, ``slice(1, None)`` for all but the first (Hinton's
            choice), ``slice(-1, None)`` for the last, or any other slice.

    Raises:
        TypeError: If ``layers`` is not a slice.
        ValueError: When called, if the slice selects no layer.

    Example:
        >>> import torch
        >>> SumOverLayers(slice(1, None))(torch.tensor([[[9.0, 0.0], [1.0, 2.0], [3.0, 4.0]]]))
        tensor([[4., 6.]])
    """

    def __init__(self, layers: slice = slice(None)) -> None:
        try:
            layers.indices(1)
        except (TypeError, ValueError):
            raise TypeError(f"layers must be a slice of whole numbers, got {layers}") from None
        self.layers = layers

    def __call__(self, goodness: Tensor) -> Tensor:
        """Return the summed goodness, ``(batch, classes)``.

        Args:
            goodness: ``(batch, layers, classes)``.
        """
        return self._selected(goodness).sum(1)

    def _selected(self, goodness: Tensor) -> Tensor:
        check_goodness(goodness)
        selected = goodness[:, self.layers]
        if not selected.shape[1]:
            raise ValueError(f"layers must select at least one of {goodness.shape[1]} layers, got {self.layers}")
        return selected

    def __repr__(self) -> str:
        """Return the constructor call."""
        return f"{type(self).__name__}({self.layers})"


class MeanOverLayers(SumOverLayers):
    """The mean of the goodness over layers, the default for real-valued targets.

    Goodness that is the prediction itself must not be summed; of logits of bins, the mean is the normalized geometric
    mean of the layers' distributions.

    Args:
        layers: The layers that count, as for :class:`SumOverLayers`.

    Example:
        >>> import torch
        >>> MeanOverLayers()(torch.tensor([[[1.0], [2.0]]]))
        tensor([[1.5000]])
    """

    def __call__(self, goodness: Tensor) -> Tensor:
        """Return the mean goodness, ``(batch, classes)``.

        Args:
            goodness: ``(batch, layers, classes)``.
        """
        return self._selected(goodness).mean(1)


class LayerEnsemble(SumOverLayers):
    """The average of the layers' class probabilities.

    Each layer's goodness is standardized over the classes first, so that layers of different size have the same weight.

    Args:
        layers: The layers that count, as for :class:`SumOverLayers`.

    Example:
        >>> import torch
        >>> LayerEnsemble()(torch.tensor([[[0.0, 2.0], [0.0, 200.0]]])).argmax(1)
        tensor([1])
    """

    def __call__(self, goodness: Tensor) -> Tensor:
        """Return the log of the average probability, ``(batch, classes)``.

        Args:
            goodness: ``(batch, layers, classes)``.
        """
        return standardize(self._selected(goodness)).softmax(2).mean(1).log()


def standardize(goodness: Tensor) -> Tensor:
    """Return goodness ``(..., classes)`` with mean zero and variance one over the classes."""
    centered = goodness - goodness.mean(-1, keepdim=True)
    return centered / centered.std(-1, keepdim=True, correction=0).clamp(min=1e-12)
