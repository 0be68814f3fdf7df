"""Batches of samples that are drawn by their weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler, TensorDataset

from forwardforward.data.tensors import batch_slices

__all__ = ["weighted_loader"]


class _WeightedBatches(Sampler[Tensor]):
    """Indices of batches, drawn with replacement; one pass draws as many samples as there are."""

    def __init__(self, weights: Tensor, batch_size: int) -> None:
        self.weights = weights
        self.parts = batch_slices(len(weights), batch_size)
        self.generator = torch.Generator()  # `fit` seeds it in every epoch

    def __len__(self) -> int:
        return len(self.parts)

    def __iter__(self) -> Iterator[Tensor]:
        order = torch.multinomial(self.weights, len(self.weights), replacement=True, generator=self.generator)
        return (order[part] for part in self.parts)


def weighted_loader(inputs: Tensor, targets: Tensor, weights: Tensor, batch_size: int) -> DataLoader[Any]:
    """Return a loader whose batches contain each sample with a probability that is proportional to its weight.

    In expectation, the gradient is that of the weighted loss, for every objective.

    Args:
        inputs: All inputs.
        targets: Their class indices.
        weights: Their weights.
        batch_size: Samples per batch.
    """
    sampler = _WeightedBatches(weights, batch_size)
    return DataLoader(TensorDataset(inputs, targets), sampler=sampler, batch_size=None)
