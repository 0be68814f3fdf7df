"""The average of a function of the goodness and of the one-pass head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from forwardforward._utils.arguments import checked
from forwardforward.classifiers.chosen import BestInterval, WeightedSum
from forwardforward.classifiers.sums import SumOverLayers


@checked
class WithHead(nn.Module):
    """The average of the class probabilities of a function of the goodness and of the one-pass head.

    Args:
        classifier: Function of the goodness; default: a :class:`BestInterval`.

    Raises:
        TypeError: If ``classifier`` has the wrong type.

    Source: the ensemble of HCL-FF's program (CVPR 2026), arXiv 2605.24797.

    Example:
        >>> classifier = WithHead(SumOverLayers())
        >>> goodness, logits = torch.tensor([[[2.0, 0.0]]]), torch.tensor([[0.0, 9.0]])
        >>> classifier(goodness, logits).argmax(1)
        tensor([1])
    """

    def __init__(self, classifier: SumOverLayers | BestInterval | WeightedSum | None = None) -> None:
        super().__init__()
        self.classifier = BestInterval() if classifier is None else classifier

    def forward(self, goodness: Tensor, logits: Tensor) -> Tensor:
        """Return the log of the average probability, ``(batch, classes)``.

        Args:
            goodness: ``(batch, layers, classes)``.
            logits: Of the head, ``(batch, classes)``.
        """
        probabilities = self.classifier(goodness).softmax(1) + logits.to(goodness.dtype).softmax(1)
        return (probabilities / 2).clamp(min=torch.finfo(goodness.dtype).tiny).log()

    def choose(self, goodness: Tensor, labels: Tensor) -> None:
        """Let ``classifier`` choose its layers or weights, if it does so.

        Args:
            goodness: Goodness of samples that the layers were not trained on, ``(batch, layers, classes)``.
            labels: Their classes, ``(batch,)``.
        """
        if isinstance(self.classifier, BestInterval | WeightedSum):
            self.classifier.choose(goodness, labels)

    def __repr__(self) -> str:
        """Return the constructor call."""
        return f"WithHead({self.classifier!r})"
