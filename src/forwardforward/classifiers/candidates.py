"""Candidate lists: the first layers choose the labels that compete in the later ones."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor, nn

from forwardforward._utils.arguments import PositiveInt, Range, checked
from forwardforward.classifiers.checks import check_goodness
from forwardforward.classifiers.chosen import BestInterval, WeightedSum
from forwardforward.classifiers.sums import LayerEnsemble, SumOverLayers


@checked
class Candidates(nn.Module):
    r"""A candidate list: the first layers choose the labels that compete in the later ones.

    In a network with a pair objective, the first layer costs one product for all labels of an image, and each later
    layer one product per label. Here the later layers compute only the ``k`` labels with the largest goodness, summed
    over the first ``after`` layers, and of these only labels with at most ``margin`` less goodness than the first. An
    image with one such label is classified and leaves the batch, so that a finite margin is an early exit by
    confidence. The true label is never used.

    Labels that were ruled out have the score :math:`-\infty`, hence the probability 0; a label that remains alone has
    the score 0, hence the probability 1. Others have the scores of ``classifier``. Called with the goodness of all
    layers and labels, the list returns the same scores as the network, which computes only what it needs. In a network
    that computes the goodness of all classes at once, it saves nothing.

    Args:
        k: Largest number of labels that remain.
        after: Number of layers that choose the labels.
        margin: Largest difference from the largest goodness, in units of goodness; default: only ``k`` counts.
        classifier: Scores the remaining labels by their goodness in all layers; default: the sum over all layers but
            the first. A classifier that compares a label with all others, such as :class:`LayerEnsemble`, is refused.

    Raises:
        TypeError: If ``classifier`` has the wrong type.
        ValueError: If a number is out of range or, when called, no layer is left after the first ``after``.

    Example:
        >>> goodness = torch.tensor([[[9.0, 0.0, 8.0], [1.0, 7.0, 3.0]]])  # one image, two layers, three labels
        >>> Candidates(k=2)(goodness)
        tensor([[1., -inf, 3.]])
        >>> Candidates(k=2, margin=0.5)(goodness)
        tensor([[0., -inf, -inf]])
    """

    def __init__(
        self,
        k: PositiveInt = 2,
        after: PositiveInt = 1,
        margin: Annotated[float, Range(0, finite=False)] = math.inf,
        classifier: SumOverLayers | BestInterval | WeightedSum | None = None,
    ) -> None:
        super().__init__()
        if isinstance(classifier, LayerEnsemble):
            raise ValueError(
                f"classifier must score each label by itself, as SumOverLayers and BestInterval do, got {classifier}"
            )
        self.k, self.after, self.margin = k, after, margin
        self.classifier = SumOverLayers(slice(1, None)) if classifier is None else classifier

    @property
    def is_ragged(self) -> bool:
        """Whether images with one remaining label leave the batch."""
        return self.margin < math.inf or self.k == 1

    def check_depth(self, depth: int) -> None:
        """Check that layers are left after the first ``after``.

        Args:
            depth: Number of layers.
        """
        if self.after >= depth:
            raise ValueError(f"after must be below the number of layers, {depth}, for candidates, got {self.after}")

    def select(self, goodness: Tensor) -> tuple[Tensor, Tensor]:
        """Return the candidates of each image, best first, and whether each remains: both ``(batch, k)``.

        Args:
            goodness: Goodness of the first ``after`` layers, ``(batch, after, classes)``.
        """
        values, labels = goodness.sum(1).topk(min(self.k, goodness.shape[2]), dim=1)
        return labels, values >= values[:, :1] - self.margin

    def forward(self, goodness: Tensor) -> Tensor:
        """Return the scores, ``(batch, classes)``.

        Args:
            goodness: ``(batch, layers, classes)``; values of labels that are ruled out are not used.
        """
        check_goodness(goodness)
        self.check_depth(goodness.shape[1])
        labels, remains = self.select(goodness[:, : self.after])
        scores = self.classifier(goodness)
        remaining = torch.zeros_like(scores, dtype=torch.bool).scatter(1, labels, remains)
        scores = scores.masked_fill(~remaining, -math.inf)
        return scores.masked_fill(remaining & (remains.sum(1, keepdim=True) == 1), 0)

    def choose(self, goodness: Tensor, labels: Tensor) -> None:
        """Let ``classifier`` choose its layers or weights, if it does so.

        Args:
            goodness: Goodness of samples that the layers were not trained on, ``(batch, layers, classes)``.
            labels: Their classes, ``(batch,)``.
        """
        if isinstance(self.classifier, BestInterval | WeightedSum):
            self.classifier.choose(goodness, labels)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        margin = "" if self.margin == math.inf else f", margin={self.margin}"
        layers = f", classifier={self.classifier}" if isinstance(self.classifier, SumOverLayers) else ""
        return f"k={self.k}, after={self.after}{margin}{layers}"
