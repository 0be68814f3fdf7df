"""Evaluation: errors of the model, its layers and its head."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from forwardforward._utils.arguments import PositiveInt, checked
from forwardforward._utils.checks import check_finite, check_labels
from forwardforward.data.batching import Data
from forwardforward.network import Network
from forwardforward.training.arguments import check_same_classes, checked_model, move_to
from forwardforward.training.randomness import derive_generator

__all__ = ["Evaluation", "choose_layers", "evaluate"]


@dataclass(frozen=True)
class Evaluation:
    """Errors in percent.

    Attributes:
        error: Share of samples that the model classifies incorrectly.
        layer_errors: The same for each layer by its own goodness; None if layers cannot classify.
        layer_accuracies: For pair objectives, each layer's share of samples on the right side of its threshold, or of
            pairs in the right order if its loss has none; for class objectives 100 minus the error. Rounded to the
            precision of float32, and for pairs over batches of two samples or more, since some negatives need two. None
            for models without local objectives, or without such a batch.
        largest_goodness: Each layer's largest goodness of any sample under any label; None if layers cannot classify.
        head_error: The same as ``error`` for the one-pass head; None if there is none.
        samples: Number of samples.

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

    @property
    def accuracy(self) -> float:
        """100 minus the error."""
        return 100 - self.error

    def __str__(self) -> str:
        """Return the errors in one line."""
        parts = [] if self.layer_errors is None else ["layers " + ", ".join(f"{e:.2f}" for e in self.layer_errors)]
        parts += [] if self.head_error is None else [f"one-pass head {self.head_error:.2f}"]
        return f"error {self.error:.2f} %" + (f" ({'; '.join(parts)})" if parts else "")

    def to_dict(self) -> dict[str, Any]:
        """Return the figures in a form that JSON can represent."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


@checked
@torch.no_grad()
def evaluate(
    model: nn.Module, data: Data, *, batch_size: PositiveInt = 1000, device: torch.device | str | None = None
) -> Evaluation:
    """Measure a model on labeled data.

    Args:
        model: An :class:`~forwardforward.FFSequential` or a baseline.
        data: Raw labeled data: :class:`~forwardforward.TensorData`, a pair of tensors or arrays, a map-style data set
            or a ``DataLoader``, of any number of samples.
        batch_size: Samples per batch; the errors do not depend on it.
        device: Device that the model is moved to; default: the model stays where it is.

    Returns:
        The errors in percent.

    Raises:
        TypeError: If the model or the data are of another kind.
        ValueError: If the data are empty or have no labels, a label is out of range, a score is NaN or infinite, or the
            device is not available.

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
    target = move_to(network, device)
    counts = _Counts(network)
    generator = derive_generator(0, 0, "evaluation", target)
    batches = network.batches(data, batch_size)
    check_same_classes(network, batches.class_names)
    for images, labels in batches.batches(None):
        counts.add(images, labels, generator)
    return counts.result()


@torch.no_grad()
def check_validation(model: Network, data: Data) -> None:
    """Score two samples, so that a fault of the data is found before the first epoch and not after it.

    Raises:
        ValueError: If the model cannot be measured on the data.
    """
    try:
        batches = model.batches(data)
        check_same_classes(model, batches.class_names)
        images, labels = batches.some()
        if labels is not None:
            check_labels(labels, model.num_classes)
            labels = labels[: len(images)]
        _Counts(model).add(images, labels, derive_generator(0, 0, "evaluation", images.device))
    except (ValueError, TypeError, RuntimeError, IndexError) as error:
        raise ValueError(f"validation must be labeled data that the model can score: {error}") from error


@runtime_checkable
class ChoosesLayers(Protocol):
    """A classifier that chooses layers by validation data."""

    def choose(self, goodness: Tensor, labels: Tensor) -> None:
        """Choose the layers by their goodness ``(batch, layers, classes)`` and labels ``(batch,)``."""
        ...


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
    if not isinstance(network.classifier, ChoosesLayers):
        return
    parts: list[tuple[Tensor, Tensor]] = []
    for images, labels in network.batches(data, batch_size).batches(None):
        if labels is None:
            raise ValueError("data must have labels to choose layers by, got none")
        parts.append((check_finite(network.layer_goodness(images)), network.check_labels(images, labels)))
    goodness, targets = map(torch.cat, zip(*parts, strict=True))
    network.classifier.choose(goodness, targets)


class _Counts:
    """The wrong answers of a model."""

    def __init__(self, model: Network) -> None:
        self.model = model
        self.samples = 0
        self.wrong: Tensor | int = 0
        self.layers: Tensor | None = None
        self.largest: Tensor | None = None
        self.head: Tensor | None = None
        self.local: list[tuple[int, list[Tensor | None]]] = []

    def add(self, images: Tensor, labels: Tensor | None, generator: torch.Generator) -> None:
        """Add one batch."""
        if labels is None:
            raise ValueError("data must have labels to be evaluated on, got none")
        model = self.model
        labels = model.check_labels(images, labels)
        self.samples += len(images)
        goodness: Tensor | None = None
        if model.layers_classify:
            goodness = check_finite(model.layer_goodness(images))
            wrong = (goodness.argmax(2) != labels[:, None]).sum(0)
            self.layers = wrong if self.layers is None else self.layers + wrong
            largest = goodness.amax((0, 2))
            self.largest = largest if self.largest is None else self.largest.maximum(largest)
        reusable = goodness if callable(model.classifier) else None
        scores = model.scores(images) if reusable is None else model.classify(reusable)
        self.wrong = self.wrong + (scores.argmax(1) != labels).sum()
        if model.head is not None:
            wrong = (model.head_logits(images).argmax(1) != labels).sum()
            self.head = wrong if self.head is None else self.head + wrong
        if model.uses_negatives and len(images) > 1:
            local = model.local_losses((images, labels), generator)
            self.local.append((len(images), [loss.accuracy for loss in local]))

    def result(self) -> Evaluation:
        """Return the errors."""
        errors = None if self.layers is None else tuple(map(self._percent, self.layers.tolist()))
        accuracies: tuple[float | None, ...] | None = None
        if self.local:
            accuracies = tuple(self._accuracy(layer) for layer in range(len(self.local[0][1])))
        elif errors is not None and not self.model.uses_negatives:
            accuracies = tuple(round(100 - error, 4) for error in errors)
        return Evaluation(
            error=self._percent(int(self.wrong)),
            layer_errors=errors,
            layer_accuracies=accuracies,
            largest_goodness=None if self.largest is None else tuple(self.largest.tolist()),
            head_error=None if self.head is None else self._percent(int(self.head)),
            samples=self.samples,
        )

    def _percent(self, wrong: int) -> float:
        return 100 * wrong / self.samples

    def _accuracy(self, layer: int) -> float | None:
        parts = [(count, values[layer]) for count, values in self.local]
        if any(value is None for _, value in parts):
            return None
        total = sum(count * float(value) for count, value in parts if value is not None)
        return round(100 * total / sum(count for count, _ in parts), 4)  # float32 represents a share to 6e-8
