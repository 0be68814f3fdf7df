"""The base of the objectives, and the local loss that they return."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from forwardforward._utils.annotations import describe
from forwardforward._utils.arguments import checked
from forwardforward._utils.plugins import calling
from forwardforward.batches import Batch
from forwardforward.specs import LayerSpec, Plugin
from forwardforward.targets import ClassIndices, TargetKind
from forwardforward.targets.kind import common_kind


class LocalLoss(NamedTuple):
    """The loss of one layer on one batch, and figures of the same activations.

    Attributes:
        loss: The scalar to minimize.
        positive: Mean goodness of positive samples, or of the true class.
        negative: Mean goodness of negative samples, or of the other classes.
        accuracy: Share of decisions that the layer gets right by itself.
        parts: The terms of a summed loss by name.

    Example:
        >>> LocalLoss(torch.tensor(0.5), accuracy=torch.tensor(0.9)).positive is None
        True
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


class Objective(Plugin, nn.Module):
    """Base of the objectives.

    Attributes:
        uses_negatives: Whether the objective compares positive with negative rows; otherwise it reads plain images.
        num_classes: Number of classes for which :meth:`goodness_of` returns a goodness; None if it does not.
        target_kind: The targets that the objective accepts, see :mod:`forwardforward.targets`; None for those of the
            other objectives of its network, which are class indices if no objective states another kind.

    Example:
        >>> class Sparse(Objective):
        ...     def forward(self, activations, batch):
        ...         return LocalLoss(activations.abs().mean())
        >>> Sparse()(torch.ones(2, 3), Batch(torch.ones(2, 3))).loss
        tensor(1.)
    """

    uses_negatives: bool = False
    num_classes: int | None = None
    target_kind: TargetKind | None = None

    @abstractmethod
    def forward(self, activations: Tensor, batch: Batch) -> LocalLoss:
        """Return the local loss of a layer.

        Args:
            activations: Activations of the layer, ``(rows, ...)``.
            batch: The batch that the rows belong to.
        """
        raise NotImplementedError

    def goodness_of(self, activations: Tensor) -> Tensor | None:
        """Return the goodness for classification, as scores: ``(rows,)``, ``(rows, classes)``, or None."""
        return None

    @property
    def term_name(self) -> str:
        """Name of this objective's loss in a sum; default: the class."""
        return type(self).__name__

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

    def try_on(self, activations: Tensor, batch: Batch) -> None:
        """Try the objective on a small batch, with gradients; called when a network is set up.

        Args:
            activations: Random activations of the layer, which require gradients.
            batch: The batch that the rows belong to.

        Raises:
            TypeError: If the objective is not callable in this way, or returns something else than a local loss.
            ValueError: If the loss is not a scalar, or has no gradient.
        """
        with calling("objective", self, "(activations, batch) -> LocalLoss", names_parts=True):
            local = self(activations, batch)
        check_gradient("objective", checked_local_loss(local, self).loss, self)
        figures = {"positive": local.positive, "negative": local.negative, "accuracy": local.accuracy, **local.parts}
        for name, value in figures.items():
            if value is not None and (not isinstance(value, Tensor) or value.dim()):
                raise TypeError(f"{name} must be one number as a tensor, got {describe(value)} from {self.term_name}")

    def for_prediction(self) -> Objective:
        """Return the objective without terms that only training reads; by default, the objective itself."""
        return self

    def __add__(self, other: Objective) -> SumObjective:
        """Return the sum of two objectives."""
        return SumObjective(self, other)


@checked
class SumObjective(Objective):
    """A sum of objectives of one layer; the first one with a goodness classifies.

    Args:
        *objectives: At least one, all with negatives or all without.

    Raises:
        TypeError: If an argument is not an objective.
        ValueError: If there is none, pair objectives are mixed with others, or no targets are accepted by all.

    Example:
        >>> from forwardforward.goodness import LearnedProjection
        >>> from forwardforward.objectives import BatchObjective, ClassObjective
        >>> from forwardforward.losses import CrossEntropy, SupervisedContrastive
        >>> total = ClassObjective(LearnedProjection(3), CrossEntropy()) + BatchObjective(SupervisedContrastive())
        >>> sorted(total(torch.eye(3), Batch(torch.eye(3), torch.arange(3))).parts)
        ['CrossEntropy', 'SupervisedContrastive']
    """

    def __init__(self, *objectives: Objective) -> None:
        super().__init__()
        if len({objective.uses_negatives for objective in objectives}) != 1:
            kinds = ", ".join(type(objective).__name__ for objective in objectives) or "none"
            raise ValueError(f"objectives of one layer must all use negatives or all use plain images, got {kinds}")
        self.objectives = nn.ModuleList(objectives)
        self.uses_negatives = objectives[0].uses_negatives
        self.target_kind = common_kind(objective.target_kind for objective in objectives)  # refuses two kinds

    @property
    def _terms(self) -> list[Objective]:
        terms = []
        for term in self.objectives:
            if not isinstance(term, Objective):
                raise TypeError(f"objectives must be instances of Objective, got {describe(term)}")
            terms.append(term)
        return terms

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
        terms = [checked_local_loss(term(activations, batch), term) for term in self._terms]
        main = next((term for term in terms if term.accuracy is not None), terms[0])
        parts: dict[str, Tensor] = {}
        for objective, term in zip(self._terms, terms, strict=True):
            name = unique_name(objective.term_name, parts)
            parts[name] = term.loss
        total = torch.stack([term.loss for term in terms]).sum()
        return LocalLoss(total, main.positive, main.negative, main.accuracy, parts)

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

    def try_on(self, activations: Tensor, batch: Batch) -> None:
        """Try every objective."""
        for term in self._terms:
            term.try_on(activations, batch)

    def for_prediction(self) -> Objective:
        """Return the objective that classifies; the whole sum if none does."""
        return next((term.for_prediction() for term in self._terms if term.has_goodness), self)


def unique_name(name: str, taken: Mapping[str, object]) -> str:
    """Return ``name``, with a number if it is taken."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}{number}"
    return free


def checked_goodness(goodness: object, function: object) -> Tensor:
    """Return what a goodness function returned, which must be a tensor.

    Args:
        goodness: What it returned.
        function: The function, for the message.

    Raises:
        TypeError: If it is something else.
    """
    if not isinstance(goodness, Tensor):
        raise TypeError(f"goodness must return a tensor, got {describe(goodness)} from {describe(function)}")
    if not goodness.is_floating_point():
        raise TypeError(
            f"goodness must return floating-point numbers, got {describe(goodness)} from {describe(function)}"
        )
    return goodness


def checked_local_loss(local: object, objective: Objective) -> LocalLoss:
    """Return what an objective returned, which must be a local loss of one number.

    Args:
        local: What it returned.
        objective: The objective, for the message.

    Raises:
        TypeError: If it is something else.
        ValueError: If the loss is not a scalar.
    """
    if not isinstance(local, LocalLoss):
        raise TypeError(f"objective must return a LocalLoss, got {describe(local)} from {describe(objective)}")
    if not isinstance(local.loss, Tensor) or local.loss.dim():
        got = f"shape {tuple(local.loss.shape)}" if isinstance(local.loss, Tensor) else describe(local.loss)
        raise ValueError(f"loss must be one number per batch, such as a mean, got {got} from {objective.term_name}")
    return local


def check_gradient(name: str, value: object, part: object) -> None:
    """Check that a part's result has a gradient, without which the layer would not be trained.

    Args:
        name: Name of the part's argument.
        value: Its result for activations that require gradients; only tensors are checked.
        part: The part, for the message.

    Raises:
        ValueError: If it has none.
    """
    if isinstance(value, Tensor) and not value.requires_grad:
        raise ValueError(
            f"{name} must return numbers with a gradient, which trains the layer, got some without (such as those of "
            f"detach, argmax or a comparison) from {describe(part)}"
        )


def tried(name: str, part: Callable[..., Tensor], form: str, *arguments: Tensor) -> Tensor:
    """Return the result of a part that is called with activations that require gradients, or what follows from them.

    Args:
        name: Name of the part's argument.
        part: The part.
        form: Form of the call, for the message.
        *arguments: Its arguments.

    Raises:
        TypeError: If the part fails.
        ValueError: If it raises one, or its result has no gradient.
    """
    with calling(name, part, form, names_parts=True):
        value = part(*arguments)
    check_gradient(name, value, part)
    return value


def check_loss(loss: Callable[..., Tensor], form: str, *arguments: Tensor) -> None:
    """Try a loss of unknown kind, so that one of another kind is refused when the layer is set up.

    Args:
        loss: The loss.
        form: Form of the call, for the message.
        *arguments: Goodness or embeddings and, except for a pair loss, labels.

    Raises:
        TypeError: If the loss fails.
        ValueError: If the loss raises one or returns no tensor.
    """
    with torch.no_grad(), calling("loss", loss, form):
        value = loss(*arguments)
    if not isinstance(value, Tensor):
        raise ValueError(f"loss must be a tensor, got {describe(value)} of {describe(loss)}")


def loss_name(loss: object) -> str:
    """Return the name of a loss: that of a function, or of the class."""
    return getattr(loss, "__name__", type(loss).__name__)


def kind_of(loss: object) -> TargetKind:
    """Return the targets that a loss declares; of a plain function, class indices."""
    kind = getattr(loss, "target_kind", None)
    return kind if isinstance(kind, TargetKind) else ClassIndices()


def is_cross_entropy(loss: object) -> bool:
    """Return whether a loss is torch's cross-entropy, which accepts two vectors of goodness too."""
    return loss in (F.cross_entropy, F.nll_loss) or isinstance(loss, nn.CrossEntropyLoss | nn.NLLLoss)
