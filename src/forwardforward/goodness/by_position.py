"""Goodness by position: one number per position of a map."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn

from forwardforward._utils.numerics import accumulator
from forwardforward.specs import Plugin


class GoodnessByPosition(Plugin, nn.Module):
    """Base of the goodness functions by position: ``(batch, channels, height, width)`` to ``(batch, height, width)``.

    A pair loss compares position with position; predictions use the mean over positions.

    Example:
        >>> import torch
        >>> class MeanByPosition(GoodnessByPosition):
        ...     def forward(self, activations):
        ...         return activations.mean(1)
        >>> MeanByPosition()(torch.ones(2, 3, 4, 4)).shape
        torch.Size([2, 4, 4])
    """

    @abstractmethod
    def forward(self, activations: Tensor) -> Tensor:
        """Return the goodness of each position.

        Args:
            activations: Maps, ``(batch, channels, height, width)``.

        Returns:
            One number per position, ``(batch, height, width)``, in float32 or finer.
        """
        raise NotImplementedError

    def scale(self, features: int) -> float:
        """Return the goodness of a position whose activations all have magnitude one.

        Args:
            features: Number of channels.

        Raises:
            NotImplementedError: If the goodness does not define a scale.
        """
        raise NotImplementedError


class MeanOfSquaresByPosition(GoodnessByPosition):
    r"""Mean of squares over the channels at each position of a map, :math:`g_{xy} = \frac1C \sum_c h_{cxy}^2`.

    Its scale is 1.

    Source: Chen et al., Self-Contrastive Forward-Forward (Nature Communications 16, 2025).

    Example:
        >>> import torch
        >>> MeanOfSquaresByPosition()(torch.ones(2, 3, 4, 4)).shape
        torch.Size([2, 4, 4])
    """

    def forward(self, activations: Tensor) -> Tensor:
        """Return ``(batch, height, width)`` of maps ``(batch, channels, height, width)``."""
        return activations.to(accumulator(activations)).square().mean(1)

    def scale(self, features: int) -> float:
        """Return 1."""
        return 1.0
