"""Symptoms of a training: the figures of its history by which the rules of the diagnosis decide."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forwardforward.training import History

__all__ = ["LayerSymptoms", "Symptoms"]


@dataclass(frozen=True)
class LayerSymptoms:
    """The figures of one layer over the epochs; those of a baseline are the network's.

    Attributes:
        index: Index of the layer; -1 for a whole network without local objectives.
        chance: Accuracy of a guess.
        accuracy: Accuracy in training, by epoch, from 0 to 1.
        positive: Goodness of positive samples, or of the true class.
        negative: Goodness of negative samples, or of the other classes.
        change: Relative change of the weights in each epoch.
        gradient: Norm of the gradient.
        dead: Share of dead units.
        rate: Learning rate.
        loss: Loss.
        largest_weight: Largest weight.
        thresholds: Thresholds for positive and negative samples after the last epoch, None if the loss has none.
        scale: Goodness of a sample whose activations all have magnitude one, None if unknown.
        error: Error on held-out data in percent, None if unknown.
        pair_accuracy: Accuracy on pairs of held-out data from 0 to 1, None if unknown or for other objectives.
    """

    index: int
    chance: float
    accuracy: tuple[float, ...]
    positive: tuple[float, ...] = ()
    negative: tuple[float, ...] = ()
    change: tuple[float, ...] = ()
    gradient: tuple[float, ...] = ()
    dead: tuple[float, ...] = ()
    rate: tuple[float, ...] = ()
    loss: tuple[float, ...] = ()
    largest_weight: tuple[float, ...] = ()
    thresholds: tuple[float, float] | None = None
    scale: float | None = None
    error: float | None = None
    pair_accuracy: float | None = None

    @property
    def skill(self) -> float:
        """Accuracy of the last epoch, as a share of the way from chance to perfect."""
        return self.skills[-1]

    @property
    def skills(self) -> tuple[float, ...]:
        """The skill in every epoch."""
        return tuple((value - self.chance) / (1 - self.chance) for value in self.accuracy)

    @property
    def uses_pairs(self) -> bool:
        """Whether the objective compares pairs."""
        return self.chance == 0.5 and (self.thresholds is not None or self.scale is not None or bool(self.negative))


@dataclass(frozen=True)
class Symptoms:
    """The figures of a training.

    Attributes:
        layers: The layers that were trained and whose accuracy is known.
        epochs: Number of completed epochs.
        planned: Number of epochs that were planned.
        num_classes: Number of classes, None if unknown.
        class_counts: Number of training samples of each class, None if unknown.
        errors: Error of the model on validation data after each epoch, in percent; empty without validation.
        error: Error of the model on held-out data at the end, in percent, None if unknown.
        failure: Message of the error that ended the training, None if none did.
    """

    layers: tuple[LayerSymptoms, ...]
    epochs: int
    planned: int
    num_classes: int | None = None
    class_counts: tuple[int, ...] | None = None
    errors: tuple[float, ...] = ()
    error: float | None = None
    failure: str | None = None

    @property
    def chance_error(self) -> float | None:
        """Error of the most frequent class in percent, None if the number of classes is unknown."""
        samples = 0 if self.class_counts is None else sum(self.class_counts)
        if self.class_counts is not None and samples:
            return 100 * (1 - max(self.class_counts) / samples)
        return None if self.num_classes is None else 100 * (1 - 1 / self.num_classes)

    @property
    def held_out_skill(self) -> float | None:
        """How far the model's error is from chance, 0, on the way to none, 1; None if unknown."""
        return self.skill_of(self.error)

    def skill_of(self, error: float | None) -> float | None:
        """Return the skill of an error in percent, None if it or the number of classes is unknown."""
        chance = self.chance_error
        return None if error is None or not chance else 1 - error / chance

    @property
    def skill(self) -> float:
        """Skill of the model on held-out data; if unknown, the best of a layer in training."""
        if self.held_out_skill is not None:
            return self.held_out_skill
        return max((layer.skill for layer in self.layers), default=0.0)

    @property
    def has_learned(self) -> bool:
        """Whether the result needs no explanation."""
        return self.skill >= 0.8 and all(layer.skill >= 0.5 for layer in self.layers)

    @classmethod
    def of(
        cls,
        history: History,
        evaluation: Mapping[str, Any] | None = None,
        class_counts: Sequence[int] | None = None,
        num_classes: int | None = None,
        epochs: int | None = None,
        failure: str | None = None,
    ) -> Symptoms:
        """Return the symptoms of a history, see :func:`~forwardforward.diagnostics.diagnose` for the arguments."""
        records = list(history)
        depth = max((len(record["layers"]) for record in records), default=0)
        validations = [record.get("validation") for record in records]
        held_out = dict(evaluation or (validations[-1] if validations else None) or {})
        if num_classes is None and class_counts is not None:
            num_classes = len(class_counts)
        layers = [_layer(records, index, held_out) for index in range(depth)]
        known = [layer for layer in layers if layer is not None]
        if not known and (network := _network(records, num_classes, held_out)) is not None:
            known = [network]
        if num_classes is None:
            num_classes = next((round(1 / layer.chance) for layer in known if not layer.uses_pairs), None)
        return cls(
            layers=tuple(known),
            epochs=len(records),
            planned=len(records) if epochs is None else epochs,
            num_classes=num_classes,
            class_counts=None if class_counts is None else tuple(class_counts),
            errors=tuple(value["error"] for value in validations if value is not None),
            error=held_out.get("error"),
            failure=failure,
        )


def _layer(records: Sequence[Mapping[str, Any]], index: int, held_out: Mapping[str, Any]) -> LayerSymptoms | None:
    """Return the symptoms of one layer, None if it was not trained or its accuracy is unknown."""
    rows = [record["layers"][index] for record in records if index < len(record["layers"])]
    rows = [row for row in rows if row is not None]
    if not rows or rows[-1].get("chance") is None:
        return None

    def figures(key: str) -> tuple[float, ...]:
        return tuple(row[key] for row in rows if row.get(key) is not None)

    accuracy, last = figures("accuracy"), rows[-1]
    if not accuracy:
        return None
    pair_accuracy = _at(held_out.get("layer_accuracies"), index)
    return LayerSymptoms(
        index=index,
        chance=last["chance"],
        accuracy=accuracy,
        positive=figures("positive"),
        negative=figures("negative"),
        change=figures("weight_change"),
        gradient=figures("gradient_norm"),
        dead=figures("dead_units"),
        rate=figures("learning_rate"),
        loss=figures("loss"),
        largest_weight=figures("largest_weight"),
        thresholds=None if last.get("thresholds") is None else tuple(last["thresholds"]),
        scale=last.get("scale"),
        error=_at(held_out.get("layer_errors"), index),
        pair_accuracy=None if pair_accuracy is None or last["chance"] != 0.5 else pair_accuracy / 100,
    )


def _network(
    records: Sequence[Mapping[str, Any]], num_classes: int | None, held_out: Mapping[str, Any]
) -> LayerSymptoms | None:
    """Return the symptoms of a baseline, whose figures are in place of a head's."""
    heads = [record["head"] for record in records if record.get("head") is not None]
    if not heads or num_classes is None:
        return None
    accuracy = tuple(head["accuracy"] for head in heads)
    loss = tuple(head["loss"] for head in heads)
    return LayerSymptoms(-1, 1 / num_classes, accuracy, loss=loss, error=held_out.get("error"))


def _at(values: Sequence[float | None] | None, index: int) -> float | None:
    return None if values is None or index >= len(values) else values[index]


def relative_improvements(values: Sequence[float]) -> list[float]:
    """Return by which share each value is below the one before it."""
    return [1 - b / a if a > 0 else 0.0 for a, b in itertools.pairwise(values)]


def is_finite(layer: LayerSymptoms) -> bool:
    """Return whether all figures of a layer are finite."""
    return all(math.isfinite(value) for value in (*layer.accuracy, *layer.loss, *layer.largest_weight))
