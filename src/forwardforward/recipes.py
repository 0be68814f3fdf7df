"""Recipes: whole trainings that read like a paper's table of hyperparameters.

A recipe holds plug-ins and numbers, and makes a fresh model and fresh optimizers whenever it is asked:

    >>> recipe = get("hinton").on("digits").with_(hidden=(100, 100), epochs=5)
    >>> model = recipe.model(input_shape=(1, 8, 8), num_classes=10)
    >>> optimizer = recipe.optimizer()
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from forwardforward.baselines import Backpropagation
from forwardforward.classifiers import LinearHead
from forwardforward.goodness import LearnedProjection, MeanOfSquares, SumOfSquares
from forwardforward.labels import Concatenation, LabelEncoder, Overlay
from forwardforward.layers import FFLayer
from forwardforward.losses import CrossEntropy, SwishSymBa, SymBa, Threshold
from forwardforward.models import Dense
from forwardforward.negatives import HardLabel, HybridMask, Negatives, RandomLabel
from forwardforward.normalization import PeerNormalization, RMSNorm
from forwardforward.optimizers import Cooldown, LocalOptimizer, SmoothedSGD
from forwardforward.schedules import EndToEnd, Groups, Joint
from forwardforward.sequential import FFSequential

__all__ = ["RECIPES", "Recipe", "get"]


@dataclass(frozen=True)
class Recipe:
    """A training's hyperparameters.

    Plug-ins that depend on the number of classes are given as something to call with it, such as a class; all
    others are instances, of which each model gets copies.

    Args:
        name: What the command line calls it.
        summary: One line.
        source: Paper or program.
        architecture: ``(input_shape, widths, num_classes) -> layers``, see :mod:`forwardforward.models`.
        hidden: Widths of the layers (channels, where they are convolutions).
        goodness: Scalar goodness, or ``num_classes -> per-class goodness``.
        loss: Loss over the goodness.
        normalization: Of each layer's input, the first's too.
        peer: Peer normalization.
        labels: ``num_classes -> label encoder``, given the images' ``size`` too where it asks for it; None for a
            network that sees images alone.
        negatives: Makes positive and negative samples.
        head: Layers that a one-pass linear head reads; None adds a head only where something needs one.
        classifier: What ``predict`` asks; the stack's choice unless given.
        baseline: A class of :mod:`forwardforward.baselines` that trains the stack otherwise, with no use for the
            plug-ins above but the normalization.
        rule: Torch optimizer class of every layer.
        lr: Its learning rate.
        options: Its other options.
        overrides: Options that differ for a unit, by its name, such as ``"head"``.
        lr_schedule: Learning-rate factor, ``progress -> factor``.
        schedule: Which layers are updated when.
        standardize: Whether each channel of the data is shifted and scaled to mean 0 and variance 1.
        augment: Changes the images of each training batch, see :mod:`forwardforward.data.augmentation`.
        epochs: Passes over the training data.
        batch_size: Samples a step.
        data_settings: Fields that differ on a data set, by its name; see :meth:`on`.
    """

    name: str
    summary: str
    source: str
    architecture: Callable[[Sequence[int], Sequence[int], int], list[FFLayer]] = field(default_factory=Dense)
    hidden: tuple[int, ...] = (1000, 1000, 1000)
    goodness: nn.Module | Callable[[int], nn.Module] | None = None
    loss: nn.Module | None = None
    normalization: nn.Module | None = None
    peer: PeerNormalization | None = None
    labels: Callable[..., LabelEncoder] | None = None
    negatives: Negatives | None = None
    head: slice | None = None
    classifier: Callable[..., torch.Tensor] | None = None
    baseline: Callable[..., nn.Module] | None = None
    rule: Callable[..., torch.optim.Optimizer] = torch.optim.Adam
    lr: float = 1e-3
    options: Mapping[str, Any] = field(default_factory=dict)
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    lr_schedule: Callable[[float], float] | None = None
    schedule: Callable[[int, int, int, int], Groups] = field(default_factory=Joint)
    standardize: bool = False
    augment: Callable[[torch.Tensor, torch.Generator | None], torch.Tensor] | None = None
    epochs: int = 60
    batch_size: int = 100
    data_settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def model(self, input_shape: Iterable[int], num_classes: int) -> nn.Module:
        """Return a new, untrained model; ``torch.manual_seed`` before decides its weights.

        Args:
            input_shape: Shape of one input.
            num_classes: Number of classes.

        Raises:
            ValueError: If the label does not fit into the input.
        """
        shape = tuple(input_shape)
        encoder = None if self.labels is None else self._encoder(num_classes, shape)
        blank = torch.zeros(1, *shape)
        if encoder is not None:
            labelled = encoder.neutral(blank)
            shape = (labelled.features, *labelled.images.shape[2:])
        layers = self.architecture(shape, self.hidden, num_classes)
        if self.baseline is not None:
            for layer in layers:
                if layer.normalization is None and self.normalization is not None:
                    layer.normalize_by(copy.deepcopy(self.normalization))
            return self.baseline(*layers, num_classes=num_classes, features=_width(layers, blank))
        return FFSequential(
            *layers,
            goodness=self._goodness(num_classes),
            loss=self.loss,
            normalization=self.normalization,
            peer=self.peer,
            labels=encoder,
            negatives=copy.deepcopy(self.negatives),
            head=None if self.head is None else LinearHead(num_classes, self.head),
            classifier=copy.deepcopy(self.classifier),
            num_classes=num_classes,
        )

    def optimizer(self) -> LocalOptimizer:
        """Return new local optimizers, not yet attached to a model."""
        return LocalOptimizer(
            self.rule, schedule=self.lr_schedule, overrides=self.overrides, lr=self.lr, **self.options
        )

    def with_(self, **changes: Any) -> Recipe:
        """Return the recipe with other values in some fields.

        Raises:
            ValueError: If a name is not one of the fields.
        """
        unknown = sorted(set(changes) - set(self._fields()))
        if unknown:
            raise ValueError(f"changes must name fields of a recipe, got {', '.join(unknown)}")
        return dataclasses.replace(self, **changes)

    def on(self, data: str) -> Recipe:
        """Return the recipe with the settings that it names for a data set, the same recipe where it names none.

        Args:
            data: Name of the data set.
        """
        return self.with_(**self.data_settings.get(data, {}))

    def table(self) -> dict[str, str]:
        """Return what the recipe sets, field by field, in words; fields that are not used are left out."""
        hidden = {"name", "summary", "source", "data_settings"}
        values = {name: getattr(self, name) for name in self._fields() if name not in hidden}
        return {name: _words(value) for name, value in values.items() if value not in (None, False, {})}

    def _encoder(self, num_classes: int, shape: tuple[int, ...]) -> LabelEncoder:
        assert self.labels is not None
        if "size" in inspect.signature(self.labels).parameters:
            return self.labels(num_classes, size=shape[-2:])
        return self.labels(num_classes)

    def _goodness(self, num_classes: int) -> nn.Module | None:
        if self.goodness is None or isinstance(self.goodness, nn.Module):
            return self.goodness
        return self.goodness(num_classes)

    @classmethod
    def _fields(cls) -> list[str]:
        return [one.name for one in dataclasses.fields(cls)]


@torch.no_grad()
def _width(layers: list[FFLayer], x: torch.Tensor) -> int:
    """Return how many activations the last layer has of one image ``x``."""
    for layer in layers:
        x = layer.eval()(x)
        layer.train()
    return x.numel()


def _words(value: Any) -> str:
    """Return a repr that is the same in every process."""
    if isinstance(value, functools.partial):
        given = (f"{name}={_words(one)}" for name, one in value.keywords.items())
        return f"{_words(value.func)}(..., {', '.join(given)})"
    return str(value.__qualname__) if inspect.isclass(value) or inspect.isroutine(value) else repr(value)


HINTON = Recipe(
    name="hinton",
    summary="supervised, threshold = width, hard wrong labels, peer normalization",
    source="Hinton (2022), arXiv 2212.13345, and its Matlab program",
    hidden=(1000, 1000, 1000),
    goodness=SumOfSquares(),
    loss=Threshold(theta="width"),
    normalization=RMSNorm(),
    peer=PeerNormalization(),
    labels=Overlay,
    negatives=HardLabel(),
    rule=SmoothedSGD,
    lr=0.005,
    options={"weight_cost": 0.002},
    overrides={"head": {"lr": 0.1, "weight_cost": 0.003}},
    lr_schedule=Cooldown(0.5),
    epochs=60,
    batch_size=100,
    data_settings={"digits": {"hidden": (300, 300, 300), "labels": Concatenation, "epochs": 30, "batch_size": 20}},
)

SYMBA = Recipe(
    name="symba",
    summary="supervised, symmetric loss without a threshold, random wrong labels",
    source="Lee and Song (2023), arXiv 2303.08418; its random class pattern replaced by Hinton's one-hot overlay",
    goodness=MeanOfSquares(),
    loss=SymBa(alpha=4.0),
    normalization=RMSNorm(),
    labels=Overlay,
    negatives=RandomLabel(),
    rule=torch.optim.Adam,
    lr=1e-3,
    lr_schedule=Cooldown(0.5),
    epochs=60,
    data_settings={"digits": {"hidden": (300, 300, 300), "labels": Concatenation, "epochs": 30, "batch_size": 50}},
)

UNSUPERVISED = HINTON.with_(
    name="unsupervised",
    summary="hybrid images as negatives, linear readout of the layers after the first",
    source="Hinton (2022), arXiv 2212.13345",
    hidden=(2000, 2000, 2000, 2000),
    labels=None,
    negatives=HybridMask(),
    head=slice(1, None),
    epochs=100,
    data_settings={"digits": {"hidden": (300, 300, 300), "lr": 0.01, "epochs": 30, "batch_size": 20}},
)

MONO = Recipe(
    name="mono",
    summary="no negatives: cross-entropy of a learned projection to the classes in every layer",
    source="Gong, Li and Abdulla (2025), Mono-Forward, arXiv 2501.09238",
    goodness=LearnedProjection,
    loss=CrossEntropy(),
    normalization=RMSNorm(),
    rule=torch.optim.Adam,
    lr=1e-3,
    lr_schedule=Cooldown(0.5),
    epochs=10,
    data_settings={"digits": {"hidden": (300, 300, 300), "epochs": 20, "batch_size": 50}},
)

BEST_MLP = SYMBA.with_(
    name="best-mlp",
    summary="the pair objective that a validation split of MNIST likes best",
    source="swish form of SymBa (arXiv 2303.08418) with Hinton's hard wrong labels (arXiv 2212.13345)",
    hidden=(1000, 1000),
    loss=SwishSymBa(alpha=4.0),
    negatives=HardLabel(),
    overrides={"head": {"lr": 1e-3}},
)

BACKPROP = Recipe(
    name="backprop",
    summary="baseline: the same stack trained end to end by cross-entropy",
    source="backpropagation",
    baseline=Backpropagation,
    rule=torch.optim.Adam,
    lr=1e-3,
    lr_schedule=Cooldown(0.5),
    epochs=20,
    data_settings={"digits": {"hidden": (300, 300, 300), "epochs": 20, "batch_size": 50}},
)

#: The recipes by their names.
RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        HINTON,
        HINTON.with_(
            name="hinton-2000", summary="hinton with the paper's four layers of 2000", hidden=(2000, 2000, 2000, 2000)
        ),
        SYMBA,
        UNSUPERVISED,
        MONO,
        BEST_MLP,
        BACKPROP,
        HINTON.with_(
            name="backprop-goodness",
            summary="baseline: hinton's summed local losses, backpropagated through all layers",
            source="backpropagation of the losses of Hinton (2022), arXiv 2212.13345",
            schedule=EndToEnd(),
        ),
    )
}


def get(name: str) -> Recipe:
    """Return a recipe by its name.

    Raises:
        ValueError: If there is none of this name.
    """
    if name not in RECIPES:
        raise ValueError(f"recipe must be one of {', '.join(RECIPES)}, got {name!r}")
    return RECIPES[name]
