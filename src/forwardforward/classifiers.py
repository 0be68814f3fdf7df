"""Classifiers: from goodness or features to a class.

A classifier is called as ``classifier(model, images)`` and returns scores ``(batch, classes)``; the largest
wins and their softmax is ``predict_proba``. One that reads the layers' goodness may offer
``combine(goodness)``, so that an evaluation computes the goodness once for all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from forwardforward._utils.checks import check_num_classes
from forwardforward.normalization import RMSNorm
from forwardforward.pooling import SpatialPool

if TYPE_CHECKING:
    from forwardforward.layers import FFLayer
    from forwardforward.sequential import FFSequential

__all__ = ["BestInterval", "Goodness", "GoodnessReadout", "Head", "LayerEnsemble", "LinearHead"]


class Goodness:
    """The label with the most goodness, added up over layers.

    Pair objectives try every label in the input; class objectives read it off one pass.

    Args:
        layers: Which layers count: ``slice(None)`` all, ``slice(1, None)`` all but the first (Hinton's
            choice), ``slice(-1, None)`` the last, any other slice.

    Raises:
        ValueError: When called, if the slice holds no layer.
    """

    def __init__(self, layers: slice = slice(None)) -> None:
        if not isinstance(layers, slice):
            raise TypeError(f"layers must be a slice, such as slice(1, None), got {layers!r}")
        self.layers = layers

    def __call__(self, model: FFSequential, images: Tensor) -> Tensor:
        """Return the summed goodness of every label, ``(batch, classes)``."""
        return self.combine(model.layer_goodness(images))

    def combine(self, goodness: Tensor) -> Tensor:
        """Return the sum over the chosen layers of goodness ``(batch, layers, classes)``."""
        return self._chosen(goodness).sum(1)

    def _chosen(self, goodness: Tensor) -> Tensor:
        chosen = goodness[:, self.layers]
        if not chosen.shape[1]:
            raise ValueError(f"layers must hold at least one of {goodness.shape[1]} layers, got {self.layers}")
        return chosen

    def __repr__(self) -> str:
        """Return the call that made this."""
        return f"{type(self).__name__}({self.layers})"


class LayerEnsemble(Goodness):
    """The average of the layers' own class probabilities.

    Each layer's goodness is standardised over the labels first, so that layers of different size weigh the
    same.

    Args:
        layers: Which layers count, as for :class:`Goodness`.
    """

    def combine(self, goodness: Tensor) -> Tensor:
        """Return the log of the average probability, ``(batch, classes)``."""
        return standardise(self._chosen(goodness)).softmax(2).mean(1).log()


def standardise(goodness: Tensor) -> Tensor:
    """Return goodness ``(..., classes)`` with mean zero and variance one over the labels."""
    centred = goodness - goodness.mean(-1, keepdim=True)
    return centred / centred.std(-1, keepdim=True, correction=0).clamp(min=1e-12)


class BestInterval(nn.Module):
    """The summed goodness of the run of layers that is right most often on data held out for this choice.

    ``fit(..., validation=...)`` chooses after every epoch, on the validation data; all layers count until then. The
    choice is part of the state.

    Source: the selected-interval prediction (SIP) of Sun et al., DeeperForward (ICLR 2025).
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

    def forward(self, model: FFSequential, images: Tensor) -> Tensor:
        """Return the chosen layers' summed goodness of every label, ``(batch, classes)``."""
        return self.combine(model.layer_goodness(images))

    def combine(self, goodness: Tensor) -> Tensor:
        """Return the sum over the chosen layers of goodness ``(batch, layers, classes)``."""
        return goodness[:, self.layers].sum(1)

    def choose(self, goodness: Tensor, labels: Tensor) -> None:
        """Choose the layers, the fewest of those runs that are right equally often.

        Args:
            goodness: Of images that the layers have not learned from, ``(batch, layers, classes)``.
            labels: Their classes, ``(batch,)``.
        """
        depth = goodness.shape[1]
        sums = nn.functional.pad(goodness.double().cumsum(1), (0, 0, 1, 0))
        runs = [(stop - start, start, stop) for start in range(depth) for stop in range(start + 1, depth + 1)]
        wrong = {run: int(((sums[:, run[2]] - sums[:, run[1]]).argmax(1) != labels).sum()) for run in sorted(runs)}
        _, start, stop = min(wrong, key=lambda run: wrong[run])
        self.bounds.copy_(torch.tensor([start, stop]))


class GoodnessReadout(nn.Module):
    """A small linear classifier over the goodness that the layers give to each label.

    Put it into ``FFSequential(..., classifier=...)``, train the network, then call :meth:`fit` with training data.

    Args:
        num_classes: Number of classes.
        depth: Number of layers of the network.
    """

    def __init__(self, num_classes: int, depth: int) -> None:
        super().__init__()
        self.linear = nn.Linear(depth * num_classes, num_classes)
        with torch.no_grad():  # starts as the sum over the layers
            self.linear.weight.copy_(torch.eye(num_classes).repeat(1, depth))
            self.linear.bias.zero_()

    def forward(self, model: FFSequential, images: Tensor) -> Tensor:
        """Return logits, ``(batch, classes)``."""
        return self.combine(model.layer_goodness(images))

    def combine(self, goodness: Tensor) -> Tensor:
        """Return logits ``(batch, classes)`` of goodness ``(batch, layers, classes)``."""
        logits: Tensor = self.linear(standardise(goodness).flatten(1).to(self.linear.weight.dtype))
        return logits

    def fit(self, model: FFSequential, images: Tensor, labels: Tensor, steps: int = 50) -> GoodnessReadout:
        """Train the classifier by cross-entropy on the layers' goodness, which stand still.

        Args:
            model: The trained network.
            images: Training images, ``(batch, ...)``.
            labels: Their classes, ``(batch,)``.
            steps: Steps of L-BFGS over all images.
        """
        goodness = model.layer_goodness(images)
        optimizer = torch.optim.LBFGS(self.parameters(), max_iter=steps, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(self.combine(goodness), labels)
            loss.backward()
            return loss

        optimizer.step(closure)
        return self


class Head:
    """The model's one-pass linear head: one forward pass whatever the number of classes."""

    def __call__(self, model: FFSequential, images: Tensor) -> Tensor:
        """Return the head's logits, ``(batch, classes)``."""
        return model.head_logits(images)

    def __repr__(self) -> str:
        """Return the call that made this."""
        return "Head()"


class LinearHead(nn.Module):
    """A linear classifier on the layers' normalized activations, trained alongside them.

    No error passes from it into the layers. A network with labels in its input reads the features under a
    label that tells nothing.

    Args:
        num_classes: Number of classes.
        layers: Which layers it reads; all but the first unless given (of a single layer, that one).
        label: ``"neutral"`` or ``"random"``, the label under which features are read.
        features: Total number of features of those layers, pooled where they are; taken from the stack where it knows
            them.
        pool: How maps become rows, such as ``SpatialPool(4)``; without one all their activations count, and
            ``features`` must be given. A head that a stack adds by itself has ``SpatialPool(2)``, on sequences
            ``SequencePool(2)``.

    Raises:
        ValueError: If ``label`` is another word, there are fewer than two classes, ``layers`` holds no layer or the
            layers' sizes are unknown.

    Source: Hinton (2022), arXiv 2212.13345.
    """

    def __init__(
        self,
        num_classes: int,
        layers: slice = slice(1, None),
        label: str = "neutral",
        features: int | None = None,
        pool: SpatialPool | None = None,
    ) -> None:
        super().__init__()
        if label not in ("neutral", "random"):
            raise ValueError(f"label must be 'neutral' or 'random', got {label!r}")
        self.num_classes = check_num_classes(num_classes)
        self.layers = layers
        self.label = label
        self.features = features
        self.pool = nn.Flatten() if pool is None else pool
        self.normalization = RMSNorm()

    def bind(self, stack: list[FFLayer]) -> None:
        """Shape the weights for a stack of layers; called by the stack."""
        if hasattr(self, "linear"):
            raise ValueError("head must be new to the stack, got one that is part of a stack already")
        self.indices = list(range(len(stack)))[self.layers]
        if not self.indices:
            if len(stack) > 1:
                raise ValueError(f"layers must hold at least one of {len(stack)} layers, got {self.layers}")
            self.indices = [0]
        if self.features is None:
            self.features = sum(self._features(stack[i]) for i in self.indices)
        self.linear = nn.Linear(self.features, self.num_classes)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def _features(self, layer: FFLayer) -> int:
        """Return how many numbers the head reads of a layer."""
        if layer.features is None:
            raise ValueError("features must be given, LinearHead(..., features=...), for blocks of unknown width")
        if not layer.space:
            return layer.features
        if not isinstance(self.pool, SpatialPool):
            name, pool = ("maps", "SpatialPool(2)") if layer.space == 2 else ("sequences", "SequencePool(2)")
            raise ValueError(f"pool must be given for a head on {name}, such as LinearHead(..., pool={pool})")
        return self.pool.features(layer.features)

    def rows(self, activations: Tensor) -> Tensor:
        """Return what the head reads of one layer, ``(batch, features of the layer)``."""
        rows: Tensor = self.normalization(self.pool(activations) if activations.dim() > 2 else activations)
        return rows

    def read(self, rows: Mapping[int, Tensor]) -> Tensor:
        """Return the features, ``(batch, features)``, from the rows of its layers by their number."""
        return torch.cat([rows[i] for i in self.indices], dim=1)

    def forward(self, features: Tensor) -> Tensor:
        """Return logits ``(batch, classes)`` of features ``(batch, features)``."""
        if features.shape[1] != self.linear.in_features:
            raise ValueError(
                f"features must be {self.linear.in_features} a sample for the head, got {features.shape[1]}"
            )
        logits: Tensor = self.linear(features)
        return logits

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"num_classes={self.num_classes}, layers={self.layers}, label={self.label!r}"
