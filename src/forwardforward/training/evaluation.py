"""Evaluation: errors of the model, its layers and its head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol, TypeGuard, runtime_checkable

import torch
from torch import Tensor, nn

from forwardforward._utils.arguments import PositiveInt, checked
from forwardforward._utils.checks import check_finite
from forwardforward.classifiers import Candidates, WithHead
from forwardforward.data.batching import Data, Pair
from forwardforward.network import Network
from forwardforward.replicas import Replicas
from forwardforward.targets.kind import measured
from forwardforward.training.arguments import check_same_classes, checked_model, move_to
from forwardforward.training.randomness import derive_generator

__all__ = ["Evaluation", "choose_layers", "evaluate"]


@dataclass(frozen=True)
class Evaluation:
    """Errors, in percent unless the targets are real values.

    Attributes:
        error: Share of samples that the model classifies incorrectly. For several labels per sample, the share of wrong
            labels; for real values the root mean squared error, in their unit.
        layer_errors: The same for each layer by its own goodness; None if layers cannot classify.
        layer_accuracies: For pair objectives, each layer's share of samples on the right side of its threshold, or of
            pairs in the right order if its loss has none; for class objectives 100 minus the error. Rounded to the
            precision of float32, and for pairs over batches of two samples or more, since some negatives need two. None
            for models without local objectives, without such a batch, or for real values.
        largest_goodness: Each layer's largest goodness of any sample under any label; None if layers cannot classify.
        head_error: The same as ``error`` for the one-pass head; None if there is none.
        samples: Number of samples.
        metric: Name of the error, see :class:`~forwardforward.targets.TargetKind`.
        unit: Its unit.

    Example:
        >>> print(Evaluation(2.5, (3.0, 2.75), (97.0, 97.25), (5.0, 4.0), None, samples=400))
        error 2.50 % (layers 3.00, 2.75)
    """

    error: float
    layer_errors: tuple[float, ...] | None
    layer_accuracies: tuple[float | None, ...] | None
    largest_goodness: tuple[float, ...] | None
    head_error: float | None
    samples: int
    metric: str = "error"
    unit: str = "%"

    @property
    def accuracy(self) -> float:
        """100 minus the error.

        Raises:
            ValueError: If the error is not in percent.
        """
        if self.unit != "%":
            raise ValueError(f"accuracy is not defined for real values, whose error is the {self.metric}")
        return 100 - self.error

    def __str__(self) -> str:
        """Return the errors in one line."""
        digits = ".2f" if self.unit else ".4g"
        layers = self.layer_errors
        parts = [] if layers is None else ["layers " + ", ".join(format(error, digits) for error in layers)]
        parts += [] if self.head_error is None else [f"one-pass head {self.head_error:.2f}"]
        return measured(self.error, self.metric, self.unit) + (f" ({'; '.join(parts)})" if parts else "")

    def to_dict(self) -> dict[str, Any]:
        """Return the figures in a form that JSON can represent."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


@dataclass(frozen=True)
class ReplicaEvaluation(Evaluation):
    """Errors of :class:`~forwardforward.Replicas`: means over the members, and each member's.

    Attributes:
        members: The errors of each member.

    Example:
        >>> errors = [Evaluation(error, None, None, None, None, samples=400) for error in (2.0, 3.0)]
        >>> print(ReplicaEvaluation.of(errors))
        error 2.50 %
    """

    members: tuple[Evaluation, ...] = ()

    @classmethod
    def of(cls, members: Sequence[Evaluation]) -> ReplicaEvaluation:
        """Return the means over the members.

        Args:
            members: The errors of each member.
        """
        means = mean_record([asdict(member) for member in members])
        means = {name: tuple(value) if isinstance(value, list) else value for name, value in means.items()}
        return cls(**{**means, "samples": members[0].samples}, members=tuple(members))

    def to_dict(self) -> dict[str, Any]:
        """Return the figures in a form that JSON can represent."""
        figures = {key: value for key, value in super().to_dict().items() if key != "members"}
        return {**figures, "members": [member.to_dict() for member in self.members]}


@checked
@torch.no_grad()
def evaluate(
    model: nn.Module, data: Data, *, batch_size: PositiveInt = 1000, device: torch.device | str | None = None
) -> Evaluation:
    """Measure a model on labeled data.

    Args:
        model: An :class:`~forwardforward.FFSequential`, a baseline or :class:`~forwardforward.Replicas`.
        data: Raw labeled data: :class:`~forwardforward.TensorData`, a pair of tensors or arrays, a map-style data set
            or a ``DataLoader``, of any number of samples.
        batch_size: Samples per batch; the errors do not depend on it.
        device: Device that the model is moved to; default: the model stays where it is.

    Returns:
        The errors, in percent or, of real values, as root mean squared error; of replicas a
        :class:`~forwardforward.training.ReplicaEvaluation`.

    Raises:
        TypeError: If the model or the data are of another kind.
        ValueError: If the data are empty or have no targets, a target is out of range, a score is NaN or infinite, or
            the device is not available.

    Example:
        >>> import forwardforward as ff
        >>> model = ff.FFSequential(
        ...     ff.FFLinear(8, 6), goodness=ff.goodness.LearnedProjection(2), loss=ff.losses.CrossEntropy()
        ... )
        >>> evaluate(model, (torch.rand(20, 8), torch.arange(20) % 2)).samples
        20
    """
    network = checked_model(model)
    batch_size = max(2, batch_size)
    move_to(network, device)
    counts = counts_of(network)
    batches = network.batches(data, batch_size)
    check_same_classes(network, batches.class_names)
    for images, labels in batches.batches(None):
        counts.add(images, labels)
    return counts.result()


@torch.no_grad()
def check_validation(model: Network, data: Data) -> None:
    """Score two samples, so that a fault of the data is found before the first epoch and not after it.

    Raises:
        ValueError: If the model cannot be measured on the data.
    """
    try:
        counts_of(model).add(*some_checked(model, data))
    except (ValueError, TypeError, RuntimeError, IndexError) as error:
        raise ValueError(f"validation must be labeled data that the model can score: {error}") from error


def some_checked(model: Network, data: Data) -> Pair:
    """Return two samples of data, after a check of all targets that are available.

    Args:
        model: The network that will read them.
        data: The data.
    """
    batches = model.batches(data)
    check_same_classes(model, batches.class_names)
    images, labels = batches.some()
    if labels is not None:
        model.target_kind.check(labels, len(labels), model.num_classes)
        labels = labels[: len(images)]
    return images, labels


@runtime_checkable
class ChoosesLayers(Protocol):
    """A classifier that chooses layers by validation data."""

    def choose(self, goodness: Tensor, labels: Tensor) -> None:
        """Choose the layers by their goodness ``(batch, layers, classes)`` and labels ``(batch,)``."""
        ...


def chooses_layers(classifier: object) -> TypeGuard[ChoosesLayers]:
    """Return whether a classifier, or the one inside it, chooses layers by validation data."""
    part = classifier
    while isinstance(part, Candidates | WithHead):  # their method only calls that of the classifier inside
        part = part.classifier
    return isinstance(part, ChoosesLayers)


@checked
@torch.no_grad()
def choose_layers(model: nn.Module, data: Data, *, batch_size: PositiveInt = 1000) -> None:
    """Let the model's classifier choose its layers, if it chooses any.

    Args:
        model: A model whose ``classifier`` may have a method ``choose(goodness, labels)``, such as
            :class:`~forwardforward.classifiers.BestInterval`.
        data: Labeled data that the layers were not trained on, of the same kinds as for :func:`evaluate`.
        batch_size: Samples per batch.

    Raises:
        ValueError: If the data have no labels, a label is out of range, or a goodness is NaN or infinite.
    """
    network = checked_model(model)
    if isinstance(network, Replicas):
        for member in network.members:
            choose_layers(member, data, batch_size=batch_size)
        return
    if chooses_layers(network.classifier):
        kind = network.target_kind
        if not kind.has_one_class:
            raise ValueError(f"data must have one class per sample to choose layers by, got {kind!r}")
        goodness, targets = labeled_goodness(network, data, "to choose layers by", batch_size)
        network.classifier.choose(goodness, targets.argmax(1) if targets.is_floating_point() else targets)


@torch.no_grad()
def labeled_goodness(network: Network, data: Data, purpose: str, batch_size: int = 1000) -> tuple[Tensor, Tensor]:
    """Return the goodness ``(samples, layers, classes)`` of labeled data, and their targets.

    Args:
        network: A network whose layers classify.
        data: Labeled data.
        purpose: What they are for, for the message.
        batch_size: Samples per batch.

    Raises:
        ValueError: If the data have no labels, a label is out of range, or a goodness is NaN or infinite.
    """
    parts: list[tuple[Tensor, Tensor]] = []
    for images, labels in network.batches(data, batch_size).batches(None):
        if labels is None:
            raise ValueError(f"data must have labels {purpose}, got none")
        parts.append((check_finite(network.layer_goodness(images)), network.check_targets(images, labels)))
    goodness, targets = map(torch.cat, zip(*parts, strict=True))
    return goodness, targets


class Counts:
    """The wrong answers of a model."""

    def __init__(self, model: Network) -> None:
        self.model = model
        self.kind = model.target_kind
        self.outputs = 1
        self.generator = derive_generator(0, 0, "evaluation", model.device)
        self.samples = 0
        self.wrong: Tensor | int = 0
        self.layers: Tensor | None = None
        self.largest: Tensor | None = None
        self.head: Tensor | None = None
        self.local: list[tuple[int, list[Tensor | None]]] = []

    def add(self, images: Tensor, labels: Tensor | None) -> None:
        """Add one batch."""
        model, labels = self.model, _checked_labels(self.model, images, labels)
        goodness = check_finite(model.layer_goodness(images)) if model.layers_classify else None
        logits = None if model.head is None else model.head_logits(images)
        accuracies: list[Tensor | None] | None = None
        scores = None
        if not callable(model.classifier):
            scores = model.scores(images) if model.classifier != "head" or logits is None else logits
        if model.uses_negatives and len(images) > 1:
            accuracies = [loss.accuracy for loss in model.local_losses((images, labels), self.generator)]
        self.count(labels, goodness, logits, accuracies, scores)

    def count(
        self,
        labels: Tensor,
        goodness: Tensor | None,
        logits: Tensor | None,
        accuracies: list[Tensor | None] | None,
        scores: Tensor | None = None,
    ) -> None:
        """Add the figures of one batch.

        Args:
            labels: Checked targets.
            goodness: Of every layer; None if layers cannot classify.
            logits: Of the head; None if there is none.
            accuracies: Each layer's accuracy by its loss; None if it is not measured.
            scores: Of the classes; default: what the classifier returns for the goodness.
        """
        self.samples += len(labels)
        if goodness is not None:
            # layers first, so that decisions of each are compared with the targets
            wrong = self._mistakes(goodness.transpose(0, 1), labels).sum(-1)
            self.layers = wrong if self.layers is None else self.layers + wrong
            largest = goodness.amax((0, 2))
            self.largest = largest if self.largest is None else self.largest.maximum(largest)
            scores = self.model.classify(goodness, logits) if scores is None else scores
        assert scores is not None
        self.outputs = scores.shape[-1]
        self.wrong = self.wrong + self._mistakes(scores, labels).sum()
        if logits is not None:
            wrong = self._mistakes(logits, labels).sum()
            self.head = wrong if self.head is None else self.head + wrong
        if accuracies is not None:
            self.local.append((len(labels), accuracies))

    def _mistakes(self, scores: Tensor, targets: Tensor) -> Tensor:
        return self.kind.mistakes(self.model.decide(scores), targets)

    def result(self) -> Evaluation:
        """Return the errors."""
        errors = None if self.layers is None else tuple(map(self._error, self.layers.tolist()))
        accuracies: tuple[float | None, ...] | None = None
        if self.local:
            accuracies = tuple(self._accuracy(layer) for layer in range(len(self.local[0][1])))
        elif errors is not None and not self.model.uses_negatives and self.kind.unit == "%":
            accuracies = tuple(round(100 - error, 4) for error in errors)
        return Evaluation(
            error=self._error(float(self.wrong)),
            layer_errors=errors,
            layer_accuracies=accuracies,
            largest_goodness=None if self.largest is None else tuple(self.largest.tolist()),
            head_error=None if self.head is None else self._error(float(self.head)),
            samples=self.samples,
            metric=self.kind.metric,
            unit=self.kind.unit,
        )

    def _error(self, total: float) -> float:
        return self.kind.error(total, self.samples, self.outputs)

    def _accuracy(self, layer: int) -> float | None:
        parts = [(count, values[layer]) for count, values in self.local]
        if any(value is None for _, value in parts):
            return None
        total = sum(count * float(value) for count, value in parts if value is not None)
        return round(100 * total / sum(count for count, _ in parts), 4)  # float32 represents a share to 6e-8


class _MemberCounts:
    """The wrong answers of every member of replicas, which read each batch at once."""

    def __init__(self, model: Replicas) -> None:
        self.model = model
        self.members = [Counts(member) for member in model.members]

    def add(self, images: Tensor, labels: Tensor | None) -> None:
        """Add one batch."""
        labels = _checked_labels(self.model, images, labels)
        measured = self.model.measure(images, labels, [counts.generator for counts in self.members])
        for index, counts in enumerate(self.members):
            logits = None if measured.logits is None else measured.logits[index]
            accuracies = measured.accuracies
            counts.count(
                labels,
                None if measured.goodness is None else measured.goodness[index],
                logits,
                None if accuracies is None else [None if a is None else a[index] for a in accuracies],
                None if callable(counts.model.classifier) else logits,
            )

    def result(self) -> ReplicaEvaluation:
        """Return the errors."""
        return ReplicaEvaluation.of([counts.result() for counts in self.members])


def counts_of(model: Network) -> Counts | _MemberCounts:
    """Return a counter of a model's wrong answers.

    Args:
        model: The model.
    """
    return _MemberCounts(model) if isinstance(model, Replicas) else Counts(model)


def _checked_labels(model: Network, images: Tensor, labels: Tensor | None) -> Tensor:
    if labels is None:
        raise ValueError("data must have labels to be evaluated on, got none")
    return model.check_targets(images, labels)


def mean_record(records: Sequence[Any]) -> Any:
    """Return the means of records of equal structure; None where one of them has none.

    Args:
        records: Numbers, or nested dictionaries and lists of them; texts are those of the first.
    """
    first = records[0]
    if isinstance(first, str):
        return first
    if any(record is None for record in records):
        return None
    if isinstance(first, Mapping):
        return {key: mean_record([record[key] for record in records]) for key in first}
    if isinstance(first, list | tuple):
        return [mean_record(values) for values in zip(*records, strict=True)]
    return sum(records) / len(records)
