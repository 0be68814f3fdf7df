"""Runs that were spoiled on purpose, each by one known cause, and healthy runs.

`FIRST` and `SECOND` were written before the rules of the diagnosis. `FIRST` served to choose the rules' limits;
`SECOND` did not: it has other recipes, other magnitudes and, in nine of ten runs, no validation data. `THIRD` is of
real values, of several labels per sample and of a baseline, and was written with their rules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from forwardforward.batches import Batch
from forwardforward.data import Splits, TensorData
from forwardforward.label_encoders import LabelEncoder
from forwardforward.layers import FFLayer
from forwardforward.losses import Pyramidal, Threshold, Uniform
from forwardforward.negatives import Negatives
from forwardforward.normalization import Identity
from forwardforward.recipes.architectures import Dense

__all__ = ["FIRST", "HEALTHY_FIRST", "HEALTHY_SECOND", "HEALTHY_THIRD", "SECOND", "THIRD", "Spoiled"]

#: Changes the data set of a run.
ChangeOfData = Callable[[Splits, torch.Generator], Splits]


@dataclass(frozen=True)
class Spoiled:
    """A run on a small data set.

    Args:
        name: Name of the run.
        recipe: Name of the recipe.
        cause: The cause that the diagnosis should name first, one of ``CAUSES`` in ``diagnostics/findings.py``; None
            for a healthy run, about which it should be silent.
        changes: Fields of the recipe that differ.
        data: Changes the data set; default: unchanged.
        validation: Whether the run holds out the validation split.
        dataset: Name of the data set.
    """

    name: str
    recipe: str
    cause: str | None
    changes: Mapping[str, Any] = field(default_factory=dict)
    data: ChangeOfData | None = None
    validation: bool = True
    dataset: str = "digits"


@dataclass(frozen=True)
class Biased:
    """A dense network in which some biases of one layer begin at a number so low that the units are never active.

    Args:
        layer: Index of the layer.
        bias: The bias.
        share: Share of the layer's units.
    """

    layer: int
    bias: float
    share: float = 1.0

    def __call__(self, input_shape: Sequence[int], widths: Sequence[int], num_classes: int) -> list[FFLayer]:
        layers = Dense()(input_shape, widths, num_classes)
        biases = layers[self.layer].block.bias
        assert isinstance(biases, Tensor)
        with torch.no_grad():
            biases[: round(self.share * len(biases))] = self.bias
        return layers


class WithoutLabel(Negatives):
    """Negatives without a label, which the label's presence alone distinguishes from the positives."""

    def __call__(
        self,
        images: Tensor,
        labels: Tensor | None,
        label_encoder: LabelEncoder | None,
        scores: Tensor | None,
        generator: torch.Generator | None,
    ) -> Batch:
        assert labels is not None
        assert label_encoder is not None
        positive = label_encoder(images, labels).joined()
        negative = positive.clone()
        negative[:, label_encoder(images, labels).columns] = 0
        return Batch(torch.cat([positive, negative]), labels, has_negatives=True)


def shuffled(share: float) -> ChangeOfData:
    """Permute a share of the labels of all three splits."""

    def permuted(data: TensorData, generator: torch.Generator) -> TensorData:
        assert data.targets is not None
        rows = torch.randperm(len(data), generator=generator)[: round(share * len(data))]
        labels = data.targets.clone()
        labels[rows] = data.targets[rows[torch.randperm(len(rows), generator=generator)]]
        return TensorData(data.inputs, labels)

    return lambda splits, generator: _each(splits, lambda part: permuted(part, generator))


def one_class(share: float) -> ChangeOfData:
    """Leave samples out until a share of every split is of class 0; a few of each other class remain."""

    def thinned(data: TensorData, generator: torch.Generator) -> TensorData:
        assert data.targets is not None
        first, others = (data.targets == 0).nonzero()[:, 0], (data.targets != 0).nonzero()[:, 0]
        count = max(3, round(len(first) * (1 - share) / share))
        rows = others[torch.randperm(len(others), generator=generator)[:count]]
        return data[torch.cat([first, rows]).sort().values]

    return lambda splits, generator: _each(splits, lambda part: thinned(part, generator))


def label_among_inputs(splits: Splits, generator: torch.Generator) -> Splits:
    """Append ten features to the inputs: the label in the training data, a random class in the others."""

    def appended(data: TensorData, labels: Tensor) -> TensorData:
        codes = torch.nn.functional.one_hot(labels, 10).to(data.inputs.dtype)
        return TensorData(torch.cat([data.inputs.flatten(1), 3 * codes], 1), data.targets)

    assert splits.train.targets is not None
    parts = {
        name: appended(data, torch.randint(10, (len(data),), generator=generator))
        for name, data in (("validation", splits.validation), ("test", splits.test))
    }
    return Splits("digits", appended(splits.train, splits.train.targets), **parts, num_classes=10, input_shape=(74,))


def _each(splits: Splits, change: Callable[[TensorData], TensorData]) -> Splits:
    parts = {name: change(getattr(splits, name)) for name in ("train", "validation", "test")}
    return Splits(splits.name, **parts, num_classes=splits.num_classes, input_shape=splits.input_shape)


SMALL = (100, 100, 100)


def _spoiled(name: str, recipe: str, cause: str | None, **changes: Any) -> Spoiled:
    others = {field: changes.pop(field) for field in ("data", "validation", "dataset") if field in changes}
    return Spoiled(name, recipe, cause, {"widths": SMALL, **changes}, **others)


def _without_validation(name: str, recipe: str, cause: str | None, **changes: Any) -> Spoiled:
    return _spoiled(name, recipe, cause, validation=False, **changes)


#: Ten runs by which the limits of the rules were chosen.
FIRST = (
    _spoiled("steps that explode", "symba", "divergence", lr=1e4, optimizer=torch.optim.SGD, normalization=Identity()),
    _spoiled("a layer without active units", "symba", "dead units", architecture=Biased(1, -1000.0)),
    _spoiled("a threshold of 100 widths", "hinton", "threshold", loss=Threshold(theta=Uniform(100.0))),
    _spoiled("negatives without a label", "symba", "label leak", negatives=WithoutLabel()),
    _spoiled("a learning rate of 1e-7", "mono", "learning rate too low", lr=1e-7),
    _spoiled("a learning rate of 5", "mono", "learning rate too high", lr=5.0),
    _spoiled("a last layer that is not updated", "symba", "stalled layer", overrides={"2": {"lr": 0.0}}),
    _spoiled("one epoch", "hinton", "too few epochs", epochs=1),
    _spoiled("all labels shuffled", "mono", "unrelated labels", data=shuffled(1.0)),
    _spoiled("98 % of one class", "mono", "imbalanced classes", data=one_class(0.98)),
)

#: Ten other runs, which were not looked at before the limits were chosen.
SECOND = (
    _without_validation("steps that explode by weight decay", "hinton", "divergence", lr=1e5),
    _without_validation("nine of ten units inactive", "mono", "dead units", architecture=Biased(0, -50.0, 0.9)),
    _without_validation("a threshold near zero", "gandhi", "threshold", loss=Threshold(theta=Pyramidal(1e-5))),
    _spoiled("the label among the training inputs", "mono", "label leak", data=label_among_inputs),
    _without_validation("a learning rate of 1e-6", "symba", "learning rate too low", lr=1e-6),
    _without_validation("a learning rate of 1", "symba", "learning rate too high", lr=1.0),
    _without_validation("a middle layer of learning rate 1e-8", "mono", "stalled layer", overrides={"1": {"lr": 1e-8}}),
    _without_validation("two epochs of 11 steps", "mono", "too few epochs", epochs=2, batch_size=128),
    _without_validation("70 % of the labels shuffled", "best-mlp", "unrelated labels", data=shuffled(0.7)),
    _without_validation("95 % of one class", "symba", "imbalanced classes", data=one_class(0.95)),
)

#: Healthy runs beside `FIRST`.
HEALTHY_FIRST = (
    _spoiled("hinton as it is", "hinton", None),
    _spoiled("symba as it is", "symba", None),
    _spoiled("mono as it is", "mono", None),
)

#: Healthy runs beside `SECOND`.
HEALTHY_SECOND = (
    _without_validation("best-mlp as it is", "best-mlp", None),
    _without_validation("gandhi as it is", "gandhi", None),
    _without_validation("trifecta-fcn as it is", "trifecta-fcn", None),
    _without_validation("backpropagation as it is", "backprop", None),
    _spoiled("class groups as they are", "class-groups", None, widths=(20, 40), epochs=8),
    _spoiled("mono with other widths and rates", "mono", None, widths=(200, 60), lr=3e-3),
)


def _values(name: str, cause: str | None, **changes: Any) -> Spoiled:
    return _spoiled(name, "ordinal", cause, dataset="diabetes", **changes)


def _labels(name: str, cause: str | None, **changes: Any) -> Spoiled:
    return _spoiled(name, "multi-label", cause, dataset="digit-pairs", **{"widths": (50, 50), "epochs": 6, **changes})


#: Real values, several labels per sample and a baseline.
THIRD = (
    _values("values, a learning rate of 1e-7", "learning rate too low", lr=1e-7, validation=False),
    _values("values, a learning rate of 50", "learning rate too high", lr=50.0, validation=False),
    _values("values, one epoch", "too few epochs", epochs=1, validation=False),
    _values("values, a last layer that is not updated", "stalled layer", overrides={"2": {"lr": 0.0}}),
    _values("values, all shuffled", "unrelated labels", data=shuffled(1.0)),
    _labels("labels, a learning rate of 1e-7", "learning rate too low", lr=1e-7, validation=False),
    _labels("labels, a learning rate of 10", "learning rate too high", lr=10.0, validation=False),
    _labels("labels, one epoch", "too few epochs", epochs=1),
    _labels("labels, a last layer that is not updated", "stalled layer", overrides={"1": {"lr": 0.0}}),
    _labels("labels, all shuffled", "unrelated labels", data=shuffled(1.0)),
    _without_validation("baseline, a learning rate of 1e-7", "backprop", "learning rate too low", lr=1e-7),
    _without_validation("baseline, a learning rate of 100", "backprop", "learning rate too high", lr=100.0),
    _without_validation("baseline, all labels shuffled", "backprop", "unrelated labels", data=shuffled(1.0)),
)

#: Healthy runs beside `THIRD`.
HEALTHY_THIRD = (
    _values("ordinal as it is", None, validation=False),
    _values("ordinal as it is, with validation", None),
    _labels("multi-label with two layers", None, epochs=20),
)
