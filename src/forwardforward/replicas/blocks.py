"""Blocks in a form that torch.vmap supports."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["MeanOfVectors"]


class MeanOfVectors(nn.Module):
    """The mean of each row's vectors without those of the padding, as ``nn.EmbeddingBag(mode="mean")`` computes it.

    Args:
        bag: The block with the vectors, which this one has in common.
    """

    def __init__(self, bag: nn.EmbeddingBag) -> None:
        super().__init__()
        self.weight = bag.weight
        self.padding = bag.padding_idx

    def forward(self, indices: Tensor) -> Tensor:
        """Return the means, ``(rows, features)``.

        Args:
            indices: ``(rows, words)``.
        """
        counted = torch.ones_like(indices) if self.padding is None else (indices != self.padding)
        counted = counted.to(self.weight.dtype).unsqueeze(-1)
        vectors = F.embedding(indices, self.weight, self.padding)
        return (vectors * counted).sum(1) / counted.sum(1).clamp(min=1)
