"""Evaluation: how often the model, its layers and its head are wrong."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from forwardforward._utils.checks import check_whole
from forwardforward.label_encoders.encoder import check_labels
from forwardforward.training.arguments import check_model, placed
from forwardforward.training.randomness import derive_generator
from forwardforward.training.sources import Data, source_for

__all__ = ["Evaluation", "choose_layers", "evaluate"]


@dataclass(frozen=True)
class Evaluation:
    """Errors in percent.

    Attributes:
        error: Share of samples that the model's classifier gets wrong.
        layer_errors: The same for each layer by its own goodness alone; None where layers cannot classify.
        layer_accuracies: For pair objectives, each layer's share of samples on the right side of its threshold, or of
            pairs in the right order where its loss has none; for class objectives 100 minus the error. Rounded to
            what float32 tells, and for pairs over batches of two samples or more, since some negatives need two. None
            for models without local objectives, and where there is no such batch.
        largest_goodness: Each layer's largest goodness of any sample under any label; None where layers cannot
            classify.
        head_error: The same as ``error`` for the one-pass head; None where there is none.
        samples: Number of samples.
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
        """Return the errors in a line."""
        parts = [] if self.layer_errors is None else ["layers " + ", ".join(f"{e:.2f}" for e in self.layer_errors)]
        parts += [] if self.head_error is None else [f"one-pass head {self.head_error:.2f}"]
        return f"error {self.error:.2f} %" + (f" ({'; '.join(parts)})" if parts else "")

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON can hold them."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


@torch.no_grad()
def evaluate(
    model: nn.Module, data: Data, *, batch_size: int = 1000, device: torch.device | str | None = None
) -> Evaluation:
    """Measure a model on labelled data.

    Args:
        model: An :class:`~forwardforward.FFSequential` or a baseline.
        data: Labelled :class:`~forwardforward.data.TensorData`, a pair of tensors, a map-style dataset or a
            ``DataLoader``, of any number of samples. Floating inputs are read in the model's type.
        batch_size: Samples at a time; the errors do not depend on it.
        device: Where to compute; where the model is unless given.

    Returns:
        The errors in percent.

    Raises:
        TypeError: If the model cannot score, or the data are of another kind.
        ValueError: If the data are empty or have no labels, or the device is not here.
    """
    check_model(model, "scores")
    batch_size = max(2, check_whole("batch_size", batch_size, 1))
    place = placed(model, device)
    counts = _Counts(model)
    generator = derive_generator(0, 0, "evaluation", place)
    for images, labels in source_for(model, data, batch_size).batches(None):
        counts.add(images, labels, generator)
    return counts.result()


@torch.no_grad()
def check_validation(model: nn.Module, data: Data) -> None:
    """Score two samples, so that what would fail after an epoch fails before the first.

    Raises:
        ValueError: If the data are none that the model can be measured on.
    """
    try:
        images, labels = source_for(model, data).some()
        if labels is not None and getattr(model, "num_classes", None) is not None:
            check_labels(labels, model.num_classes)  # type: ignore[arg-type]
        labels = None if labels is None else labels[: len(images)]
        _Counts(model).add(images, labels, derive_generator(0, 0, "evaluation", images.device))
    except (ValueError, TypeError, RuntimeError, IndexError) as error:
        raise ValueError(f"validation must be labelled data that the model can score: {error}") from error


@torch.no_grad()
def choose_layers(model: nn.Module, data: Data, *, batch_size: int = 1000) -> None:
    """Let the model's classifier choose the layers that it asks, if it has such a choice to make.

    Args:
        model: A model whose ``classifier`` may have a method ``choose(goodness, labels)``, such as
            :class:`~forwardforward.classifiers.BestInterval`.
        data: Labelled data that the layers have not learned from, of the same kinds as for :func:`evaluate`.
        batch_size: Samples at a time.
    """
    choose = getattr(getattr(model, "classifier", None), "choose", None)
    if choose is None:
        return
    found = [
        (model.layer_goodness(images), labels)  # type: ignore[operator]
        for images, labels in source_for(model, data, batch_size).batches(None)
    ]
    choose(*map(torch.cat, zip(*found, strict=True)))


class _Counts:
    """A model's wrong answers so far."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.paired = getattr(model, "paired", False)
        self.samples = 0
        self.wrong: Tensor | int = 0
        self.layers: Tensor | None = None
        self.largest: Tensor | None = None
        self.head: Tensor | None = None
        self.local: list[tuple[int, list[Tensor | None]]] = []

    def add(self, images: Tensor, labels: Tensor | None, generator: torch.Generator) -> None:
        if labels is None:
            raise ValueError("data must have labels to evaluate on, got none")
        if labels.shape != (len(images),):
            raise ValueError(f"labels must be one per sample, ({len(images)},), got {tuple(labels.shape)}")
        model = self.model
        self.samples += len(images)
        goodness = model.layer_goodness(images) if getattr(model, "layers_classify", False) else None
        if goodness is not None:
            wrong = (goodness.argmax(2) != labels[:, None]).sum(0)
            self.layers = wrong if self.layers is None else self.layers + wrong
            largest = goodness.amax((0, 2))
            self.largest = largest if self.largest is None else self.largest.maximum(largest)
        combine = getattr(getattr(model, "classifier", None), "combine", None)
        scores = model.scores(images) if goodness is None or combine is None else combine(goodness)
        self.wrong = self.wrong + (scores.argmax(1) != labels).sum()
        if getattr(model, "head", None) is not None:
            wrong = (model.head_logits(images).argmax(1) != labels).sum()
            self.head = wrong if self.head is None else self.head + wrong
        if self.paired and len(images) > 1:
            local = model.local_losses((images, labels), generator)
            self.local.append((len(images), [one.accuracy for one in local]))

    def result(self) -> Evaluation:
        errors = None if self.layers is None else tuple(map(self._percent, self.layers.tolist()))
        accuracies: tuple[float | None, ...] | None = None
        if self.local:
            accuracies = tuple(self._accuracy(layer) for layer in range(len(self.local[0][1])))
        elif errors is not None and not self.paired:
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
        return round(100 * total / sum(count for count, _ in parts), 4)  # a share in float32 is known to 6e-8
