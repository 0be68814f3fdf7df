"""Objectives: a goodness with a loss, the number that a layer minimizes.

All three kinds of the field share one interface: an objective is called with a layer's activations and the batch, and
returns a :class:`LocalLoss`. ``goodness=`` and ``loss=`` of a layer or network make the objective of the loss's base
class; ``objective=`` states it explicitly. Objectives of one layer add up with ``+``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from forwardforward._utils.checks import check_arity, check_instance, check_not_negative, check_num_classes, check_whole
from forwardforward._utils.numerics import accumulator, full_precision
from forwardforward.batches import Batch
from forwardforward.goodness import Goodness, GoodnessByPosition, PerClassGoodness
from forwardforward.losses import BatchLoss, ClassLoss, PairLoss
from forwardforward.specs import LayerSpec, NeedsSetup

__all__ = [
    "BatchObjective",
    "ClassObjective",
    "Embedding",
    "LocalLoss",
    "Objective",
    "PairObjective",
    "SumObjective",
]


class LocalLoss(NamedTuple):
    """The loss of one layer on one batch, and figures of the same activations.

    Attributes:
        loss: The scalar to minimize.
        positive: Mean goodness of positive samples, or of the true class.
        negative: Mean goodness of negative samples, or of the other classes.
        accuracy: Share of decisions that the layer gets right by itself.
        parts: The terms of a summed loss by name.
    """

    loss: Tensor
    positive: Tensor | None = None
    negative: Tensor | None = None
    accuracy: Tensor | None = None
    parts: Mapping[str, Tensor] = {}

    def detach(self) -> LocalLoss:
        """Return the same figures without their graph."""
        positive, negative, accuracy = (
            None if value is None else value.detach() for value in (self.positive, self.negative, self.accuracy)
        )
        parts = {name: value.detach() for name, value in self.parts.items()}
        return LocalLoss(self.loss.detach(), positive, negative, accuracy, parts)


class Objective(nn.Module):
    """Base of the objectives.

    Attributes:
        uses_negatives: Whether the objective compares positive with negative rows; otherwise it reads plain images.
        num_classes: Number of classes for which :meth:`goodness_of` returns a goodness; None if it does not.

    Example:
        >>> class Sparse(Objective):
        ...     def forward(self, activations, batch):
        ...         return LocalLoss(activations.abs().mean())
        >>> Sparse()(torch.ones(2, 3), Batch(torch.ones(2, 3))).loss
        tensor(1.)
    """

    uses_negatives: bool = False
    num_classes: int | None = None

    def forward(self, activations: Tensor, batch: Batch) -> LocalLoss:
        """Return the local loss of a layer.

        Args:
            activations: Activations of the layer, ``(rows, ...)``.
            batch: The batch that the rows belong to.
        """
        raise NotImplementedError

    def goodness_of(self, activations: Tensor) -> Tensor | None:
        """Return the goodness for classification: ``(rows,)``, ``(rows, classes)``, or None."""
        return None

    @property
    def has_goodness(self) -> bool:
        """Whether :meth:`goodness_of` returns a goodness."""
        return type(self).goodness_of is not Objective.goodness_of

    def check_goodness(self, goodness: Tensor) -> None:
        """Check the goodness of one sample; called by the layer's setup.

        Args:
            goodness: What :meth:`goodness_of` returned for one sample.

        Raises:
            ValueError: If it has another shape than the objective needs.
        """

    def setup(self, spec: LayerSpec) -> None:
        """Create what depends on the layer, and check that the parts fit.

        Args:
            spec: The layer's place and the shape of its activations.
        """

    def __add__(self, other: Objective) -> SumObjective:
        """Return the sum of two objectives."""
        return SumObjective(self, other)


class PairObjective(Objective):
    """Goodness of positive samples against goodness of negative samples.

    Args:
        goodness: A scalar goodness, or one by position; any callable from activations ``(rows, ...)`` to ``(rows,
            ...)``.
        loss: A :class:`~forwardforward.losses.PairLoss`, or any callable ``loss(positive, negative)``.

    Raises:
        TypeError: If a part is not callable with these arguments.
        ValueError: If a part is of another kind.

    Example:
        >>> objective = PairObjective(lambda h: h.square().sum(1), lambda p, n: torch.relu(1 - p + n).mean())
        >>> objective(torch.tensor([[2.0], [1.0]]), Batch(torch.zeros(2, 1), has_negatives=True)).loss
        tensor(0.)
    """

    uses_negatives = True

    def __init__(
        self, goodness: Callable[[Tensor], Tensor], loss: PairLoss | Callable[[Tensor, Tensor], Tensor]
    ) -> None:
        super().__init__()
        check_instance(goodness=goodness, loss=loss)
        check_arity("goodness", goodness, "activations")
        if isinstance(goodness, PerClassGoodness):
            raise ValueError(f"goodness must be one number per sample for the loss {loss}, got {goodness}")
        if isinstance(loss, ClassLoss | BatchLoss):
            raise ValueError(f"loss must compare positive with negative goodness for a pair objective, got {loss}")
        check_arity("loss", loss, "positive", "negative")
        self.goodness = goodness
        self.loss = loss

    def forward(self, activations: Tensor, batch: Batch) -> LocalLoss:
        """Return the loss over the pairs of ``batch``."""
        if not batch.has_negatives:
            raise ValueError("batch must have positive and negative samples for a pair objective, got plain images")
        positive, negative = self.goodness(activations).chunk(2)
        loss = self.loss(positive, negative)
        with torch.no_grad():
            accuracy = (self.loss if isinstance(self.loss, PairLoss) else _BY_ORDER).accuracy(positive, negative)
            return LocalLoss(loss, positive.detach().mean(), negative.detach().mean(), accuracy)

    def goodness_of(self, activations: Tensor) -> Tensor:
        """Return the goodness of each row, ``(rows,)``; of a goodness by position, its mean."""
        goodness = self.goodness(activations)
        return goodness.flatten(1).mean(1) if goodness.dim() > 1 else goodness

    def check_goodness(self, goodness: Tensor) -> None:
        """Check that the goodness is one number per sample."""
        if goodness.shape != (1,):
            raise ValueError(
                f"goodness must have shape (rows,), or (rows, ...) by position, for a pair objective, "
                f"got {tuple(goodness.shape)} for one row"
            )

    def setup(self, spec: LayerSpec) -> None:
        """Set up the goodness, and the loss with the goodness's scale."""
        _setup(self.goodness, spec)
        scale = None
        if isinstance(self.goodness, Goodness | GoodnessByPosition):
            try:
                scale = float(self.goodness.scale(spec.size))
            except NotImplementedError:
                scale = None
        _setup(self.loss, replace(spec, scale=scale))


class ClassObjective(Objective):
    """Per-class goodness against the label: no negatives, no label in the input, one pass.

    Args:
        goodness: A :class:`~forwardforward.goodness.PerClassGoodness`, or any callable from activations ``(batch,
            ...)`` to ``(batch, classes)``.
        loss: A :class:`~forwardforward.losses.ClassLoss`, or any callable ``loss(goodness, targets)``.

    Raises:
        TypeError: If a part is not callable with these arguments.
        ValueError: If a part is of another kind.

    Example:
        >>> objective = ClassObjective(lambda h: h[:, :2], torch.nn.functional.cross_entropy)
        >>> objective(torch.zeros(1, 5), Batch(torch.zeros(1, 5), torch.tensor([1]))).loss
        tensor(0.6931)
    """

    def __init__(
        self, goodness: Callable[[Tensor], Tensor], loss: ClassLoss | Callable[[Tensor, Tensor], Tensor]
    ) -> None:
        super().__init__()
        check_instance(goodness=goodness, loss=loss)
        check_arity("goodness", goodness, "activations")
        if isinstance(goodness, Goodness | GoodnessByPosition):
            raise ValueError(f"goodness must be per class for the loss {loss}, got {goodness}")
        if isinstance(loss, PairLoss | BatchLoss):
            raise ValueError(f"loss must compare per-class goodness with labels for a class objective, got {loss}")
        check_arity("loss", loss, "goodness", "targets")
        self.goodness = goodness
        self.loss = loss
        self.num_classes = goodness.num_classes if isinstance(goodness, PerClassGoodness) else None

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

    def check_goodness(self, goodness: Tensor) -> None:
        """Check that the goodness is one number per class, and set the number of classes if it is not known."""
        if goodness.dim() != 2 or len(goodness) != 1 or goodness.shape[1] != (self.num_classes or goodness.shape[1]):
            classes = "classes" if self.num_classes is None else self.num_classes
            raise ValueError(
                f"goodness must have shape (rows, {classes}) for a class objective, "
                f"got {tuple(goodness.shape)} for one row"
            )
        self.num_classes = check_num_classes(goodness.shape[1])

    def setup(self, spec: LayerSpec) -> None:
        """Set up goodness and loss."""
        _setup(self.goodness, spec)
        _setup(self.loss, spec)


class Embedding(nn.Module):
    """A learned linear map of a layer's pooled, batch-normalized activations, for a batch loss.

    It prevents a batch loss from shaping the activations themselves, which a goodness may use at the same time.

    Args:
        dimensions: Number of values per embedding.
        pool: Module from maps or sequences to rows; default: flatten.

    Raises:
        ValueError: If ``dimensions`` is not positive, or the number of activations per sample changes.

    Source: the contrastive head of HCL-FF (2026), arXiv 2605.24797.

    Example:
        >>> Embedding(4)(torch.rand(3, 8)).shape
        torch.Size([3, 4])
    """

    normalization: nn.BatchNorm1d | None
    linear: nn.Linear | None

    def __init__(self, dimensions: int = 128, pool: nn.Module | None = None) -> None:
        super().__init__()
        self.dimensions = check_whole("dimensions", dimensions, 1)
        self.pool = nn.Flatten() if pool is None else pool
        self.normalization = None
        self.linear = None

    def setup(self, spec: LayerSpec) -> None:
        """Create normalization and map.

        Args:
            spec: Shape of the activations.
        """
        features = self.pool(torch.zeros(1, *spec.shape)).shape[1]
        if self.linear is None or self.linear.in_features != features:
            self.normalization = nn.BatchNorm1d(features)
            self.linear = nn.Linear(features, self.dimensions)

    def forward(self, activations: Tensor) -> Tensor:
        """Return embeddings ``(batch, dimensions)``."""
        if self.linear is None:  # used alone
            self.setup(LayerSpec(0, 1, tuple(activations.shape[1:])))
            self.to(activations.device, accumulator(activations))
        assert self.linear is not None
        assert self.normalization is not None
        rows = self.pool(activations)
        if rows.shape[1] != self.linear.in_features:
            raise ValueError(
                f"activations must have {self.linear.in_features} values per sample for the embedding, "
                f"got {rows.shape[1]}; pool=SpatialPool(2) accepts maps of any size"
            )
        with full_precision(rows):
            embeddings: Tensor = self.linear(self.normalization(rows.to(self.linear.weight.dtype)))
        return embeddings

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"{self.dimensions}"


class BatchObjective(Objective):
    """A loss over the embeddings of a whole batch.

    Args:
        loss: A :class:`~forwardforward.losses.BatchLoss`, or any callable ``loss(embeddings, targets)``.
        embedding: Activations to embeddings, such as :class:`Embedding`; default: flatten.
        weight: Factor on the loss, for a sum of objectives.

    Raises:
        TypeError: If a part is not callable with these arguments.
        ValueError: If a part is of another kind, or ``weight`` is negative.

    Example:
        >>> from forwardforward.losses import SupervisedContrastive
        >>> objective = BatchObjective(SupervisedContrastive())
        >>> objective(torch.eye(2), Batch(torch.eye(2), torch.tensor([0, 1]))).loss
        tensor(0.)
    """

    def __init__(
        self,
        loss: BatchLoss | Callable[[Tensor, Tensor], Tensor],
        embedding: Callable[[Tensor], Tensor] | None = None,
        weight: float = 1.0,
    ) -> None:
        super().__init__()
        check_instance(loss=loss, embedding=embedding)
        if isinstance(loss, PairLoss | ClassLoss):
            raise ValueError(f"loss must compare embeddings for a batch objective, got {loss}")
        check_arity("loss", loss, "embeddings", "targets")
        self.loss = loss
        self.embedding = nn.Flatten() if embedding is None else embedding
        self.weight = check_not_negative("weight", weight)

    def forward(self, activations: Tensor, batch: Batch) -> LocalLoss:
        """Return the loss over the embeddings of ``batch``."""
        if batch.targets is None:
            raise ValueError("targets must be given for a batch objective, got None")
        return LocalLoss(self.weight * self.loss(self.embedding(activations), batch.targets))

    def setup(self, spec: LayerSpec) -> None:
        """Set up embedding and loss."""
        _setup(self.embedding, spec)
        _setup(self.loss, spec)

    def extra_repr(self) -> str:
        """Return the factor on the loss."""
        return f"weight={self.weight}"


class SumObjective(Objective):
    """A sum of objectives of one layer; the first one with a goodness classifies.

    Args:
        *objectives: At least one, all with negatives or all without.

    Raises:
        TypeError: If an argument is not an objective.
        ValueError: If there is none, or pair objectives are mixed with others.

    Example:
        >>> from forwardforward.goodness import LearnedProjection
        >>> from forwardforward.losses import CrossEntropy, SupervisedContrastive
        >>> total = ClassObjective(LearnedProjection(3), CrossEntropy()) + BatchObjective(SupervisedContrastive())
        >>> sorted(total(torch.eye(3), Batch(torch.eye(3), torch.arange(3))).parts)
        ['CrossEntropy', 'SupervisedContrastive']
    """

    def __init__(self, *objectives: Objective) -> None:
        super().__init__()
        for objective in objectives:
            if not isinstance(objective, Objective):
                raise TypeError(f"objectives must be instances of Objective, got {objective!r}")
        if len({objective.uses_negatives for objective in objectives}) != 1:
            kinds = ", ".join(type(objective).__name__ for objective in objectives) or "none"
            raise ValueError(f"objectives of one layer must all use negatives or all use plain images, got {kinds}")
        self.objectives = nn.ModuleList(objectives)
        self.uses_negatives = objectives[0].uses_negatives

    @property
    def _terms(self) -> list[Objective]:
        return [term for term in self.objectives if isinstance(term, Objective)]

    @property
    def num_classes(self) -> int | None:  # type: ignore[override]
        """Number of classes of the objective that classifies."""
        return next((term.num_classes for term in self._terms if term.num_classes is not None), None)

    @property
    def has_goodness(self) -> bool:
        """Whether one of the objectives has a goodness."""
        return any(term.has_goodness for term in self._terms)

    def forward(self, activations: Tensor, batch: Batch) -> LocalLoss:
        """Return the summed loss, its terms, and the goodness and accuracy of the first objective that has them."""
        terms: list[LocalLoss] = [term(activations, batch) for term in self._terms]
        main = next((term for term in terms if term.accuracy is not None), terms[0])
        parts: dict[str, Tensor] = {}
        for objective, term in zip(self._terms, terms, strict=True):
            name = unique_name(_term_name(objective), parts)
            parts[name] = term.loss
        return main._replace(loss=torch.stack([term.loss for term in terms]).sum(), parts=parts)

    def goodness_of(self, activations: Tensor) -> Tensor | None:
        """Return the goodness of the first objective that has one."""
        for term in self._terms:
            goodness = term.goodness_of(activations)
            if goodness is not None:
                return goodness
        return None

    def check_goodness(self, goodness: Tensor) -> None:
        """Check the goodness of the objective that classifies."""
        next(term for term in self._terms if term.has_goodness).check_goodness(goodness)

    def setup(self, spec: LayerSpec) -> None:
        """Set up every objective."""
        for term in self._terms:
            term.setup(spec)


def unique_name(name: str, taken: Mapping[str, object]) -> str:
    """Return ``name``, with a number if it is taken."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}{number}"
    return free


def make_objective(goodness: Callable[[Tensor], Tensor] | None, loss: object) -> Objective:
    """Return the objective of a goodness and a loss; the loss's base class states its kind.

    Args:
        goodness: Scalar or per-class goodness; None for a batch loss.
        loss: A pair, class or batch loss.

    Raises:
        TypeError: If the loss has none of the base classes.
        ValueError: If goodness and loss are of different kinds, or a goodness is missing or not used.
    """
    check_instance(goodness=goodness, loss=loss)
    if isinstance(loss, BatchLoss):
        if goodness is not None:
            raise ValueError(f"goodness must be None for the loss {loss}, which compares embeddings, got {goodness}")
        return BatchObjective(loss)
    if not isinstance(loss, PairLoss | ClassLoss):
        name = getattr(loss, "__name__", type(loss).__name__)
        kind = "ClassObjective" if isinstance(goodness, PerClassGoodness) else "PairObjective"
        raise TypeError(
            f"loss must be a PairLoss, ClassLoss or BatchLoss, got {name}; state the kind of any other function by "
            f"objective=ff.objectives.{kind}(goodness, {name})"
        )
    if goodness is None:
        raise ValueError(f"goodness must be given with the loss {loss}, got None")
    return ClassObjective(goodness, loss) if isinstance(loss, ClassLoss) else PairObjective(goodness, loss)


def _setup(plugin: object, spec: LayerSpec) -> None:
    if isinstance(plugin, NeedsSetup):
        plugin.setup(spec)


def _term_name(objective: Objective) -> str:
    if isinstance(objective, PairObjective | ClassObjective | BatchObjective):
        return getattr(objective.loss, "__name__", type(objective.loss).__name__)
    return type(objective).__name__


_BY_ORDER = PairLoss()  # accuracy of plain functions: share of pairs in the right order
