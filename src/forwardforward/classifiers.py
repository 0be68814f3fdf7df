"""Classifiers: functions from the layers' goodness to scores of the classes.

A classifier is called as ``classifier(goodness)`` with the goodness ``(batch, layers, classes)`` of every layer for
every class, and returns scores ``(batch, classes)``; the largest score wins, and the softmax of the scores is
``predict_proba``.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor, nn

from forwardforward._utils.arguments import NumClasses, PositiveInt, Range, checked
from forwardforward._utils.checks import all_finite, check_labels
from forwardforward._utils.memory import check_memory

__all__ = [
    "BestInterval",
    "Candidates",
    "GoodnessReadout",
    "LayerEnsemble",
    "MeanOverLayers",
    "SumOverLayers",
    "WithHead",
]


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


class BestInterval(nn.Module):
    """The goodness summed over the run of layers with the smallest error on validation data.

    ``fit(..., validation=...)`` chooses the layers after every epoch; before that, all layers count. The choice is a
    buffer.

    Source: the selected-interval prediction (SIP) of Sun et al., DeeperForward (ICLR 2025).

    Example:
        >>> classifier = BestInterval()
        >>> classifier.choose(torch.tensor([[[5.0, 0.0], [0.0, 1.0]]]), torch.tensor([1]))
        >>> classifier.layers
        slice(1, 2, None)
    """

    bounds: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("bounds", torch.tensor([0, torch.iinfo(torch.int64).max]))

    @property
    def layers(self) -> slice:
        """The chosen layers."""
        start, stop = self.bounds.tolist()
        return slice(start, stop)

    def forward(self, goodness: Tensor) -> Tensor:
        """Return the goodness summed over the chosen layers, ``(batch, classes)``.

        Args:
            goodness: ``(batch, layers, classes)``.
        """
        return goodness[:, self.layers].sum(1)

    def choose(self, goodness: Tensor, labels: Tensor) -> None:
        """Choose the layers; of equally good runs, the shortest.

        Args:
            goodness: Goodness of samples that the layers were not trained on, ``(batch, layers, classes)``.
            labels: Their classes, ``(batch,)``.
        """
        depth = goodness.shape[1]
        sums = nn.functional.pad(goodness.double().cumsum(1), (0, 0, 1, 0))
        runs = [(stop - start, start, stop) for start in range(depth) for stop in range(start + 1, depth + 1)]
        wrong = {run: int(((sums[:, run[2]] - sums[:, run[1]]).argmax(1) != labels).sum()) for run in sorted(runs)}
        _, start, stop = min(wrong, key=lambda run: wrong[run])
        self.bounds.copy_(torch.tensor([start, stop], device=self.bounds.device))


@checked
class WithHead(nn.Module):
    """The average of the class probabilities of a function of the goodness and of the one-pass head.

    Args:
        classifier: Function of the goodness; default: a :class:`BestInterval`.

    Raises:
        TypeError: If ``classifier`` is of another kind.

    Source: the ensemble of HCL-FF's program (CVPR 2026), arXiv 2605.24797.

    Example:
        >>> classifier = WithHead(SumOverLayers())
        >>> goodness, logits = torch.tensor([[[2.0, 0.0]]]), torch.tensor([[0.0, 9.0]])
        >>> classifier(goodness, logits).argmax(1)
        tensor([1])
    """

    def __init__(self, classifier: SumOverLayers | BestInterval | None = None) -> None:
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
        """Let ``classifier`` choose its layers, if it is a :class:`BestInterval`.

        Args:
            goodness: Goodness of samples that the layers were not trained on, ``(batch, layers, classes)``.
            labels: Their classes, ``(batch,)``.
        """
        if isinstance(self.classifier, BestInterval):
            self.classifier.choose(goodness, labels)

    def __repr__(self) -> str:
        """Return the constructor call."""
        return f"WithHead({self.classifier!r})"


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
        TypeError: If ``classifier`` is of another kind.
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
        classifier: SumOverLayers | BestInterval | None = None,
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
        self.check_depth(goodness.shape[1])
        labels, remains = self.select(goodness[:, : self.after])
        scores = self.classifier(goodness)
        remaining = torch.zeros_like(scores, dtype=torch.bool).scatter(1, labels, remains)
        scores = scores.masked_fill(~remaining, -math.inf)
        return scores.masked_fill(remaining & (remains.sum(1, keepdim=True) == 1), 0)

    def choose(self, goodness: Tensor, labels: Tensor) -> None:
        """Let ``classifier`` choose its layers, if it is a :class:`BestInterval`.

        Args:
            goodness: Goodness of samples that the layers were not trained on, ``(batch, layers, classes)``.
            labels: Their classes, ``(batch,)``.
        """
        if isinstance(self.classifier, BestInterval):
            self.classifier.choose(goodness, labels)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        margin = "" if self.margin == math.inf else f", margin={self.margin}"
        layers = f", classifier={self.classifier}" if isinstance(self.classifier, SumOverLayers) else ""
        return f"k={self.k}, after={self.after}{margin}{layers}"


@checked
class GoodnessReadout(nn.Module):
    """A linear classifier on the goodness of all layers for all classes.

    Pass it as ``FFSequential(..., classifier=...)``, train the network, then call :meth:`fit` with the goodness of
    training data: ``model.classifier.fit(model.layer_goodness(images), labels)``.

    Args:
        num_classes: Number of classes.
        depth: Number of layers of the network.

    Example:
        >>> goodness = torch.rand(20, 3, 2)
        >>> GoodnessReadout(2, depth=3).fit(goodness, torch.arange(20) % 2)(goodness).shape
        torch.Size([20, 2])
    """

    def __init__(self, num_classes: NumClasses, depth: PositiveInt) -> None:
        super().__init__()
        self.depth, self.num_classes = depth, num_classes
        check_memory("num_classes and depth", num_classes, depth * num_classes)
        self.linear = nn.Linear(depth * num_classes, num_classes)
        with torch.no_grad():  # initially the sum over the layers
            self.linear.weight.copy_(torch.eye(num_classes).repeat(1, depth))
            self.linear.bias.zero_()

    def forward(self, goodness: Tensor) -> Tensor:
        """Return logits, ``(batch, classes)``.

        Args:
            goodness: ``(batch, layers, classes)``.

        Raises:
            ValueError: If the network has another number of layers or classes.
        """
        self._check_shape(goodness)
        logits: Tensor = self.linear(standardize(goodness).flatten(1).to(self.linear.weight.dtype))
        return logits

    def _check_shape(self, goodness: Tensor) -> None:
        if goodness.dim() != 3 or goodness.shape[1:] != (self.depth, self.num_classes):
            raise ValueError(
                f"goodness must be (batch, {self.depth}, {self.num_classes}) for GoodnessReadout(num_classes="
                f"{self.num_classes}, depth={self.depth}), got shape {tuple(goodness.shape)}"
            )

    @checked
    def fit(self, goodness: Tensor, labels: Tensor, steps: PositiveInt = 50) -> GoodnessReadout:
        """Train the classifier by cross-entropy, and return it.

        Args:
            goodness: Goodness of training samples, ``(batch, layers, classes)``.
            labels: Their classes, ``(batch,)``.
            steps: Number of iterations of L-BFGS over all samples.

        Raises:
            TypeError: If the labels are not of an integer type.
            ValueError: If the goodness is not finite or of another network, or there is not one label of each sample
                in range.
        """
        self._check_shape(goodness)
        if not all_finite(goodness):
            raise ValueError("goodness must be finite, got NaN or infinity")
        if labels.shape != goodness.shape[:1]:
            raise ValueError(f"labels must be one per sample, ({len(goodness)},), got {tuple(labels.shape)}")
        check_labels(labels, self.num_classes)
        optimizer = torch.optim.LBFGS(self.parameters(), max_iter=steps, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(self(goodness), labels.long())
            loss.backward()
            return loss

        optimizer.step(closure)
        return self
