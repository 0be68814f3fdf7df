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
        chance: Accuracy of a guess, None if unknown.
        accuracy: Accuracy in training, by epoch, from 0 to 1; empty if there is none.
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
        deviations: Of real values, root mean squared error on held-out data relative to the standard deviation of the
            targets, by epoch; empty if unknown.
        pair_accuracy: Accuracy on pairs of held-out data from 0 to 1, None if unknown or for other objectives.
    """

    index: int
    chance: float | None
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
    deviations: tuple[float, ...] = ()
    pair_accuracy: float | None = None

    @property
    def name(self) -> str:
        """What the figures are of, in words."""
        return "the network" if self.index < 0 else f"layer {self.index}"

    @property
    def skill(self) -> float:
        """Accuracy of the last epoch, as a share of the way from chance to perfect."""
        return self.skills[-1]

    @property
    def skills(self) -> tuple[float, ...]:
        """The skill in every epoch; empty if it is unknown."""
        if self.chance is None or self.chance >= 1:
            return tuple(map(skill_of_values, self.deviations))
        return tuple((value - self.chance) / (1 - self.chance) for value in self.accuracy)

    def result(self, epoch: int = -1) -> str:
        """Return how well the layer did in an epoch, in words."""
        if self.chance is None:
            return f"RMSE of {self.deviations[epoch]:.2f} standard deviations"
        return f"accuracy of {100 * self.accuracy[epoch]:.0f} %"

    @property
    def guess(self) -> str:
        """How well a guess does, in words."""
        return "that of the mean is 1" if self.chance is None else f"chance is {100 * self.chance:.0f} %"

    @property
    def uses_pairs(self) -> bool:
        """Whether the objective compares pairs."""
        return self.chance == 0.5 and (self.thresholds is not None or self.scale is not None or bool(self.negative))


@dataclass(frozen=True)
class Symptoms:
    """The figures of a training.

    Attributes:
        layers: The layers that were trained.
        epochs: Number of completed epochs.
        planned: Number of epochs that were planned.
        num_classes: Number of classes, None if unknown.
        class_counts: Number of training samples of each class, None if unknown.
        errors: Error of the model on validation data after each epoch, in percent; empty without validation.
        error: Error of the model on held-out data at the end, in percent, None if unknown.
        unit: Unit of the errors: percent, or empty for real values.
        guess_error: Error of the best answer that is the same for every sample, in this unit; None if unknown.
        failure: Message of the error that ended the training, None if none did.
    """

    layers: tuple[LayerSymptoms, ...]
    epochs: int
    planned: int
    num_classes: int | None = None
    class_counts: tuple[int, ...] | None = None
    errors: tuple[float, ...] = ()
    error: float | None = None
    unit: str = "%"
    guess_error: float | None = None
    failure: str | None = None

    @property
    def judged(self) -> tuple[LayerSymptoms, ...]:
        """The layers whose skill is known."""
        return tuple(layer for layer in self.layers if layer.skills)

    @property
    def chance_error(self) -> float | None:
        """Error of the most frequent class, or of another answer that is the same for every sample; None if unknown."""
        samples = 0 if self.class_counts is None else sum(self.class_counts)
        if self.class_counts is not None and samples:
            return 100 * (1 - max(self.class_counts) / samples)
        if self.guess_error is not None:
            return self.guess_error
        return None if self.num_classes is None else 100 * (1 - 1 / self.num_classes)

    @property
    def held_out_skill(self) -> float | None:
        """How far the model's error is from chance, 0, on the way to none, 1; None if unknown."""
        return self.skill_of(self.error)

    def skill_of(self, error: float | None) -> float | None:
        """Return the skill of an error, None if it or that of a guess is unknown."""
        chance = self.chance_error
        if error is None or not chance:
            return None
        return 1 - error / chance if self.unit else skill_of_values(error / chance)

    @property
    def skill(self) -> float:
        """Skill of the model on held-out data; if unknown, the best of a layer in training."""
        if self.held_out_skill is not None:
            return self.held_out_skill
        return max((layer.skill for layer in self.judged), default=0.0)

    @property
    def is_judged(self) -> bool:
        """Whether it is known how well the model or a layer does."""
        return self.held_out_skill is not None or bool(self.judged)

    def measured(self, error: float) -> str:
        """Return an error as text."""
        return f"{error:.1f} %" if self.unit else f"{error:.4g}"

    @property
    def has_learned(self) -> bool:
        """Whether the result needs no explanation."""
        return self.skill >= 0.8 and all(layer.skill >= 0.5 for layer in self.judged)

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
        errors = [value for value in validations if value is not None] or [held_out] * bool(held_out)
        guess = None if not records else records[-1].get("chance_error")
        unit = held_out.get("unit", "%")
        layers = [_layer(records, index, held_out, errors, guess, unit) for index in range(depth)]
        known = [layer for layer in layers if layer is not None]
        if not any(layer.skills for layer in known):
            chance = guess if guess is not None else 100 * (1 - 1 / num_classes) if num_classes else None
            known += _network(records, held_out, chance, unit)
        if num_classes is None:
            chances = (layer.chance for layer in known if layer.chance and not layer.uses_pairs)
            num_classes = next((round(1 / chance) for chance in chances if chance <= 0.5), None)
        return cls(
            layers=tuple(known),
            epochs=len(records),
            planned=len(records) if epochs is None else epochs,
            num_classes=num_classes,
            class_counts=None if class_counts is None else tuple(class_counts),
            errors=tuple(value["error"] for value in validations if value is not None),
            error=held_out.get("error"),
            unit=unit,
            guess_error=guess,
            failure=failure,
        )


def _layer(
    records: Sequence[Mapping[str, Any]],
    index: int,
    held_out: Mapping[str, Any],
    errors: Sequence[Mapping[str, Any]],
    guess: float | None,
    unit: str,
) -> LayerSymptoms | None:
    """Return the symptoms of one layer, None if it was not trained."""
    rows = [record["layers"][index] for record in records if index < len(record["layers"])]
    rows = [row for row in rows if row is not None]
    if not rows:
        return None
    accuracy, last = _figures(rows, "accuracy"), rows[-1]
    chance = last.get("chance")
    if chance is None and accuracy and guess is not None and unit:
        chance = 1 - guess / 100
    deviations = [_at(value.get("layer_errors"), index) for value in errors] if not unit and guess else []
    pair_accuracy = _at(held_out.get("layer_accuracies"), index)
    return LayerSymptoms(
        index=index,
        chance=chance if accuracy else None,
        accuracy=accuracy,
        positive=_figures(rows, "positive"),
        negative=_figures(rows, "negative"),
        change=_figures(rows, "weight_change"),
        gradient=_figures(rows, "gradient_norm"),
        dead=_figures(rows, "dead_units"),
        rate=_figures(rows, "learning_rate"),
        loss=_figures(rows, "loss"),
        largest_weight=_figures(rows, "largest_weight"),
        thresholds=None if last.get("thresholds") is None else tuple(last["thresholds"]),
        scale=last.get("scale"),
        error=_at(held_out.get("layer_errors"), index),
        deviations=tuple(value / guess for value in deviations if value is not None and guess),
        pair_accuracy=None if pair_accuracy is None or chance != 0.5 else pair_accuracy / 100,
    )


def _network(
    records: Sequence[Mapping[str, Any]], held_out: Mapping[str, Any], guess: float | None, unit: str
) -> list[LayerSymptoms]:
    """Return the symptoms of a baseline, whose figures are in place of a head's."""
    rows = [record["head"] for record in records if record.get("head") is not None]
    if not rows:
        return []
    error = held_out.get("error")
    accuracy = _figures(rows, "accuracy")
    return [
        LayerSymptoms(
            index=-1,
            chance=1 - guess / 100 if guess is not None and accuracy else None,
            accuracy=accuracy,
            change=_figures(rows, "weight_change"),
            rate=_figures(rows, "learning_rate"),
            loss=_figures(rows, "loss"),
            error=error,
            deviations=(error / guess,) if not unit and error is not None and guess else (),
        )
    ]


def skill_of_values(deviation: float) -> float:
    """Return the skill for an error of real values: the share of the variance that is explained, at most a half of it.

    Half of the variance counts as perfect, since real values contain noise.

    Args:
        deviation: Root mean squared error, relative to the standard deviation of the targets.
    """
    return min(1.0, 2 * (1 - deviation**2))


def _figures(rows: Sequence[Mapping[str, Any]], key: str) -> tuple[float, ...]:
    return tuple(row[key] for row in rows if row.get(key) is not None)


def _at(values: Sequence[float | None] | None, index: int) -> float | None:
    return None if values is None or index >= len(values) else values[index]


def relative_improvements(values: Sequence[float]) -> list[float]:
    """Return by which share each value is below the one before it."""
    return [1 - b / a if a > 0 else 0.0 for a, b in itertools.pairwise(values)]


def is_finite(layer: LayerSymptoms) -> bool:
    """Return whether all figures of a layer are finite."""
    return all(math.isfinite(value) for value in (*layer.accuracy, *layer.loss, *layer.largest_weight))
