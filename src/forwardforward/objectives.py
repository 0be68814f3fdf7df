"""Objectives: goodness plus loss, what a layer minimises.

The three contracts of the field go through one interface: an objective is called with a layer's activations
and the batch, and returns a :class:`LocalLoss`. Objectives of one layer add up with ``+``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from forwardforward._utils.checks import check_whole
from forwardforward._utils.numerics import full_precision
from forwardforward.batches import Batch
from forwardforward.goodness import PerClassGoodness
from forwardforward.pooling import SpatialPool

__all__ = [
    "BatchObjective",
    "ClassObjective",
    "Embedding",
    "LocalLoss",
    "Objective",
    "PairObjective",
    "SumObjective",
    "objective",
]


class LocalLoss(NamedTuple):
    """What an objective finds in a layer's activations.

    Attributes:
        loss: The scalar to minimise.
        positive: Mean goodness of what should have much: positive samples, or the true class.
        negative: Mean goodness of what should have little: negative samples, or the other classes.
        accuracy: Share of decisions that the layer gets right by itself.
    """

    loss: Tensor
    positive: Tensor | None = None
    negative: Tensor | None = None
    accuracy: Tensor | None = None


class Objective(nn.Module):
    """Base of the objectives.

    Attributes:
        paired: Whether it reads positive and negative rows, or plain images.
        classifies: Whether :meth:`goodness_of` gives one number per class.
        num_classes: Number of those classes, where the goodness tells.
    """

    paired: bool = False
    classifies: bool = False
    num_classes: int | None = None

    def forward(self, activations: Tensor, batch: Batch) -> LocalLoss:
        """Return the local loss of a layer.

        Args:
            activations: What the layer put out, ``(rows, ...)``.
            batch: What the rows are.
        """
        raise NotImplementedError

    def goodness_of(self, activations: Tensor) -> Tensor | None:
        """Return the goodness by which one classifies: ``(rows,)``, ``(rows, classes)``, or None."""
        return None

    def bind(self, layer: int, features: int | None) -> None:
        """Tell goodness and loss which layer they serve and its number of features; called by the stack."""

    def __add__(self, other: Objective) -> SumObjective:
        """Return the sum of two objectives."""
        return SumObjective(self, other)


class PairObjective(Objective):
    """Goodness of positive samples against goodness of negative ones.

    Args:
        goodness: Activations ``(batch, ...)`` to ``(batch,)``.
        loss: Positive and negative goodness to a scalar; see :mod:`forwardforward.losses`.
    """

    paired = True

    def __init__(self, goodness: Callable[[Tensor], Tensor], loss: Callable[..., Tensor]) -> None:
        super().__init__()
        self.goodness = goodness
        self.loss = loss

    def forward(self, activations: Tensor, batch: Batch) -> LocalLoss:
        """Return the loss over the pairs of ``batch``."""
        if not batch.paired:
            raise ValueError("batch must hold positive and negative samples for a pair objective, got plain images")
        positive, negative = self.goodness(activations).chunk(2)
        scale = (self._scale(activations),) if getattr(self.loss, "uses_scale", False) else ()
        loss = self.loss(positive, negative, *scale)
        with torch.no_grad():
            if hasattr(self.loss, "accuracy"):
                accuracy = self.loss.accuracy(positive, negative, *scale)
            else:
                accuracy = (positive > negative).float().mean()
            return LocalLoss(loss, positive.detach().mean(), negative.detach().mean(), accuracy)

    def goodness_of(self, activations: Tensor) -> Tensor:
        """Return the goodness of each row, ``(rows,)``: the mean of one that is said position by position."""
        goodness = self.goodness(activations)
        return goodness.flatten(1).mean(1) if goodness.dim() > 1 else goodness

    def bind(self, layer: int, features: int | None) -> None:
        """Hand the layer's number to the loss and its width to the goodness."""
        _bind(self.goodness, features)
        _bind(self.loss, layer)

    def _scale(self, activations: Tensor) -> float:
        if not hasattr(self.goodness, "scale"):
            raise ValueError(
                f"goodness must have a method scale(features) for the loss {self.loss}, which reads it; "
                "or give theta as a number"
            )
        return float(self.goodness.scale(activations[0].numel()))


class ClassObjective(Objective):
    """Per-class goodness against the label; no negatives, no label in the input, one pass.

    Args:
        goodness: Activations ``(batch, ...)`` to ``(batch, classes)``.
        loss: Goodness and labels to a scalar.
    """

    classifies = True

    def __init__(self, goodness: Callable[[Tensor], Tensor], loss: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.goodness = goodness
        self.loss = loss
        self.num_classes = getattr(goodness, "num_classes", None)

    def forward(self, activations: Tensor, batch: Batch) -> LocalLoss:
        """Return the loss over the images of ``batch``."""
        if batch.targets is None:
            raise ValueError("targets must be given for a class objective, got None")
        goodness = self.goodness(activations)
        loss = self.loss(goodness, batch.targets)
        with torch.no_grad():
            true = goodness.gather(1, batch.targets[:, None]).squeeze(1)
            others = (goodness.sum(1) - true) / (goodness.shape[1] - 1)
            accuracy = (goodness.argmax(1) == batch.targets).float().mean()
            return LocalLoss(loss, true.mean(), others.mean(), accuracy)

    def goodness_of(self, activations: Tensor) -> Tensor:
        """Return the goodness of each row for each class, ``(rows, classes)``."""
        return self.goodness(activations)

    def bind(self, layer: int, features: int | None) -> None:
        """Hand the layer's number to the loss and its width to the goodness."""
        _bind(self.goodness, features)
        _bind(self.loss, layer)


class Embedding(nn.Module):
    """A learned linear map of a layer's pooled, batch-normalized activations, for a batch loss to read.

    Keeps a batch loss from shaping the activations themselves, which a goodness reads at the same time.

    Args:
        dimensions: Of the embedding.
        pool: How maps become rows; all their activations count unless given.
        features: Number of activations a sample, pooled where they are; taken from the layer where that knows its
            width.

    Raises:
        ValueError: If ``dimensions`` is not positive or the layer's width is unknown.

    Source: the contrastive head of HCL-FF (2026), arXiv 2605.24797.
    """

    def __init__(self, dimensions: int = 128, pool: SpatialPool | None = None, features: int | None = None) -> None:
        super().__init__()
        self.dimensions = check_whole("dimensions", dimensions, 1)
        self.pool = nn.Flatten() if pool is None else pool
        self.features = features
        if features is not None:
            self._shape(features)

    def bind(self, features: int | None) -> None:
        """Shape the map for a layer of ``features`` features (channels); called by the layer."""
        if self.features is None:
            if features is None:
                raise ValueError("features must be given, Embedding(features=...), for a block of unknown width")
            self.features = self.pool.features(features) if isinstance(self.pool, SpatialPool) else features
            self._shape(self.features)

    def _shape(self, features: int) -> None:
        self.normalization = nn.BatchNorm1d(features)
        self.linear = nn.Linear(features, self.dimensions)

    def forward(self, activations: Tensor) -> Tensor:
        """Return embeddings ``(batch, dimensions)``."""
        if self.features is None:
            raise ValueError("features must be given, Embedding(features=...), outside a layer that knows its width")
        rows = self.pool(activations)
        if rows.shape[1] != self.features:
            raise ValueError(
                f"activations must come to {self.features} features a sample for the embedding, got {rows.shape[1]}; "
                "give Embedding(pool=SpatialPool(2)) on maps, or features="
            )
        with full_precision(rows):
            embeddings: Tensor = self.linear(self.normalization(rows.to(self.linear.weight.dtype)))
        return embeddings

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"{self.dimensions}, features={self.features}"


class BatchObjective(Objective):
    """A loss that sees the batch's embeddings together.

    Args:
        loss: Embeddings ``(batch, dimensions)`` and labels to a scalar.
        embedding: Activations to embeddings, such as :class:`Embedding`; flattens them unless given.
        weight: Factor on the loss, for a sum of objectives.
    """

    def __init__(
        self,
        loss: Callable[[Tensor, Tensor], Tensor],
        embedding: Callable[[Tensor], Tensor] | None = None,
        weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.loss = loss
        self.embedding = nn.Flatten() if embedding is None else embedding
        self.weight = weight

    def extra_repr(self) -> str:
        """Return the factor on the loss."""
        return f"weight={self.weight}"

    def forward(self, activations: Tensor, batch: Batch) -> LocalLoss:
        """Return the loss over the embeddings of ``batch``."""
        if batch.targets is None:
            raise ValueError("targets must be given for a batch objective, got None")
        return LocalLoss(self.weight * self.loss(self.embedding(activations), batch.targets))

    def bind(self, layer: int, features: int | None) -> None:
        """Hand the layer's number to the loss and its width to the embedding."""
        _bind(self.embedding, features)
        _bind(self.loss, layer)


class SumObjective(Objective):
    """Several objectives of one layer, added up; the first that has a goodness classifies.

    Args:
        objectives: At least one; all must read the same kind of batch.

    Raises:
        ValueError: If pair objectives are mixed with others.
    """

    def __init__(self, *objectives: Objective) -> None:
        super().__init__()
        if len({o.paired for o in objectives}) != 1:
            kinds = ", ".join(type(one).__name__ for one in objectives) or "none"
            raise ValueError(f"objectives of one layer must all read pairs or all read plain images, got {kinds}")
        self.objectives = nn.ModuleList(objectives)
        self.paired = objectives[0].paired
        self.classifies = any(one.classifies for one in objectives)
        self.num_classes = next((o.num_classes for o in objectives if o.num_classes is not None), None)

    def forward(self, activations: Tensor, batch: Batch) -> LocalLoss:
        """Return the summed loss, with the goodness and accuracy of the first objective that has them."""
        parts: list[LocalLoss] = [objective(activations, batch) for objective in self.objectives]
        loss = torch.stack([part.loss for part in parts]).sum()
        return next((p for p in parts if p.accuracy is not None), parts[0])._replace(loss=loss)

    def goodness_of(self, activations: Tensor) -> Tensor | None:
        """Return the goodness of the first objective that has one."""
        for one in self.objectives:
            assert isinstance(one, Objective)
            goodness = one.goodness_of(activations)
            if goodness is not None:
                return goodness
        return None

    def bind(self, layer: int, features: int | None) -> None:
        """Bind every objective."""
        for one in self.objectives:
            assert isinstance(one, Objective)
            one.bind(layer, features)


def _bind(plugin: object, value: int | None) -> None:
    bind = getattr(plugin, "bind", None)
    if bind is not None:
        bind(value)


def objective(goodness: Callable[[Tensor], Tensor] | None, loss: Callable[..., Tensor]) -> Objective:
    """Return the objective that a goodness and a loss make together.

    The loss's attribute ``contract`` decides, ``"pair"``, ``"class"`` or ``"batch"``. Without one, torch's
    cross-entropy is a class loss, any other callable is one behind a per-class goodness, else a pair loss.

    Args:
        goodness: Scalar or per-class goodness; None for a batch loss.
        loss: A loss of one of the three contracts.

    Raises:
        ValueError: If goodness and loss are of different contracts, a goodness is missing or has no use, or the
            contract is another word.
    """
    per_class = isinstance(goodness, PerClassGoodness)
    classes = per_class or loss is nn.functional.cross_entropy or isinstance(loss, nn.CrossEntropyLoss)
    contract = getattr(loss, "contract", "class" if classes else "pair")
    if contract not in ("pair", "class", "batch"):
        raise ValueError(f"loss must have a contract of 'pair', 'class' or 'batch', got {contract!r} in {loss}")
    if contract == "batch":
        if goodness is not None:
            raise ValueError(f"goodness must be None for the loss {loss}, which reads embeddings, got {goodness}")
        return BatchObjective(loss)
    if goodness is None:
        raise ValueError(f"goodness must be given beside the loss {loss}")
    if contract == "class":
        if isinstance(goodness, nn.Module) and not per_class and hasattr(goodness, "scale"):
            raise ValueError(f"goodness must be per class for the loss {loss}, got {goodness}")
        return ClassObjective(goodness, loss)
    if per_class:
        raise ValueError(f"goodness must be one number per sample for the loss {loss}, got {goodness}")
    return PairObjective(goodness, loss)
