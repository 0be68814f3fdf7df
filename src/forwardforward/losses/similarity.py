"""Similarity matching: the similarities between a batch's samples against those between their labels."""

from __future__ import annotations

import torch
from torch import Tensor

from forwardforward._utils.arguments import NumClasses, checked
from forwardforward._utils.numerics import accumulator, full_precision
from forwardforward.losses.base import BatchLoss

EPS = 1e-8  # in units of a row's length


@checked
class SimilarityMatching(BatchLoss):
    r"""Mean squared distance between the similarity matrix of the embeddings and that of the labels.

    With rows :math:`\tilde e_i` centered over their dimensions and scaled to length 1, and :math:`K` classes,

    .. math:: L = \mathrm{mean}_{ij} \left(\tilde e_i \cdot \tilde e_j - r_{ij}\right)^2, \qquad
              r_{ij} = \begin{cases} 1 & y_i = y_j \\ -1 / (K - 1) & y_i \ne y_j \end{cases}

    where :math:`r` is the same similarity of one-hot labels; with several labels per sample, that of their rows. Unlike
    cross-entropy it leaves the classes' directions free, so that the next layer has more to work with.

    Args:
        num_classes: Number of classes :math:`K`, or of labels.

    Raises:
        ValueError: If ``num_classes`` is below 2, or targets are rows of another length.

    Source: Nøkland and Eidnes, Training Neural Networks with Local Error Signals (ICML 2019), arXiv 1901.06656.

    Example:
        >>> loss = SimilarityMatching(num_classes=2)
        >>> round(float(loss(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1]))), 6)
        0.0
    """

    def __init__(self, num_classes: NumClasses) -> None:
        super().__init__()
        self.num_classes = num_classes

    def forward(self, embeddings: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of embeddings ``(batch, dimensions)`` with classes ``(batch,)`` or labels ``(batch, K)``."""
        rows = embeddings.flatten(1).to(accumulator(embeddings))
        distance = _similarity(rows) - self._similarity_of_targets(targets, rows.dtype)
        return distance.square().mean()

    def _similarity_of_targets(self, targets: Tensor, dtype: torch.dtype) -> Tensor:
        if targets.dim() == 1:
            return torch.where(targets[:, None] == targets[None, :], 1.0, -1 / (self.num_classes - 1))
        if targets.shape[1] != self.num_classes:
            raise ValueError(f"targets must have {self.num_classes} labels per sample, got {targets.shape[1]}")
        return _similarity(targets.to(dtype))

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"num_classes={self.num_classes}"


def _similarity(rows: Tensor) -> Tensor:
    """Return the inner products of the rows, centered over their dimensions and of length 1."""
    rows = rows - rows.mean(1, keepdim=True)
    rows = rows / (torch.linalg.vector_norm(rows, dim=1, keepdim=True) + EPS)
    with full_precision(rows):
        return rows @ rows.T
