"""Classifiers: from goodness or features to a class.

A classifier is called as ``classifier(model, images)`` and returns scores ``(batch, classes)``; the largest
wins and their softmax is ``predict_proba``. One that reads the layers' goodness may offer
``combine(goodness)``, so that an evaluation computes the goodness once for all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from forwardforward.normalization import RMSNorm
from forwardforward.pooling import SpatialPool

if TYPE_CHECKING:
    from forwardforward.sequential import FFSequential

__all__ = ["Goodness", "GoodnessReadout", "Head", "LayerEnsemble", "LinearHead"]


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
        pool: How maps become rows, such as ``SpatialPool(4)``; all their activations count unless given.

    Raises:
        ValueError: If ``label`` is another word, ``layers`` holds no layer or the layers' widths are unknown.

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
        self.num_classes = num_classes
        self.layers = layers
        self.label = label
        self.features = features
        self.pool = nn.Flatten() if pool is None else pool
        self.normalization = RMSNorm()

    def bind(self, widths: list[int | None]) -> None:
        """Shape the weights for a stack of layers of these widths; called by the stack."""
        self.indices = list(range(len(widths)))[self.layers]
        if not self.indices:
            if len(widths) > 1:
                raise ValueError(f"layers must hold at least one of {len(widths)} layers, got {self.layers}")
            self.indices = [0]
        chosen = [widths[i] for i in self.indices]
        if self.features is None:
            if any(width is None for width in chosen):
                raise ValueError("features must be given, LinearHead(..., features=...), for blocks of unknown width")
            pool = self.pool if isinstance(self.pool, SpatialPool) else None
            self.features = sum(pool.features(width) if pool else width for width in chosen if width is not None)
        self.linear = nn.Linear(self.features, self.num_classes)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def read(self, activations: dict[int, Tensor]) -> Tensor:
        """Return the features, ``(batch, features)``, from activations by layer."""
        return torch.cat([self.normalization(self._rows(activations[i])) for i in self.indices], dim=1)

    def _rows(self, activations: Tensor) -> Tensor:
        rows: Tensor = self.pool(activations) if activations.dim() > 2 else activations
        return rows

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
