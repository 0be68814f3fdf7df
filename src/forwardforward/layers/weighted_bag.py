"""The mean of a bag's vectors, each times a fixed weight of its index that is fitted to the training data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from forwardforward._utils.memory import check_memory

__all__ = ["WeightedBag"]


class WeightedBag(nn.EmbeddingBag):
    r"""The weighted mean of a bag's vectors, :math:`\operatorname*{mean}_{e \ne 0} w_e v_e`.

    The weight of an index is the log of the ratio of its largest to its smallest share over the classes,

    .. math:: w_e = \max_k \log p_{ke} - \min_k \log p_{ke}, \qquad
              p_{ke} = \frac{1 + n_{ke}}{\sum_{e'} (1 + n_{ke'})}

    with the number :math:`n_{ke}` of bags of class :math:`k` that contain it; of several occurrences in a bag, each
    counts. Before :meth:`fit`, all weights are 1. Index 0 is padding.

    Args:
        num_embeddings: Number of vectors, with the padding's.
        features: Size of the vectors.

    Source: the log-count ratios of Wang and Manning, Baselines and Bigrams (ACL 2012).
    """

    weights: Tensor
    fitted: Tensor

    def __init__(self, num_embeddings: int, features: int) -> None:
        super().__init__(num_embeddings, features, mode="sum", padding_idx=0)
        self.register_buffer("weights", torch.ones(num_embeddings))
        self.register_buffer("fitted", torch.tensor(False))

    @torch.no_grad()
    def fit(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Fit the weights.

        Args:
            batches: Indices, ``(batch, ...)``, and the probabilities of their classes, ``(batch, classes)``.
        """
        counts: Tensor | None = None
        for indices, probabilities in batches:
            rows = indices.flatten(1).long()
            if counts is None:
                check_memory("num_embeddings", self.num_embeddings, probabilities.shape[1])
                counts = torch.ones(
                    probabilities.shape[1], self.num_embeddings, dtype=torch.float64, device=rows.device
                )
            for count, share in zip(counts, probabilities.double().T, strict=True):
                count.index_add_(0, rows.flatten(), share[:, None].expand_as(rows).flatten())
        assert counts is not None
        shares = (counts[:, 1:] / counts[:, 1:].sum(1, keepdim=True)).log()
        self.weights[1:] = (shares.amax(0) - shares.amin(0)).to(self.weights)
        self.fitted.fill_(True)

    def forward(self, input: Tensor, *_: Any) -> Tensor:
        """Return the weighted means, ``(rows, features)``.

        Args:
            input: Indices, ``(rows, words)``.
        """
        weights = self.weights.to(self.weight.dtype)[input.long()]
        total = F.embedding_bag(input, self.weight, per_sample_weights=weights, mode="sum", padding_idx=0)
        return total / (input != 0).sum(1, keepdim=True).clamp(min=1)
