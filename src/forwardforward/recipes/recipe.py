"""What a recipe is."""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from forwardforward._utils.checks import check_image_shape
from forwardforward.classifiers import LinearHead
from forwardforward.data import Splits, load
from forwardforward.data.text import MeanVectors, Representation
from forwardforward.label_encoders import LabelEncoder
from forwardforward.layers import FFLayer
from forwardforward.negatives import Negatives
from forwardforward.normalization import PeerNormalization
from forwardforward.optimizers import LocalOptimizer
from forwardforward.recipes.architectures import Architecture, Dense
from forwardforward.sequential import FFSequential
from forwardforward.training import History, fit
from forwardforward.training.settings import described
from forwardforward.training.sources import Data
from forwardforward.update_schedules import Joint, Schedule

__all__ = ["Recipe"]

OWN_DATA = "*.npz"


@dataclass(frozen=True)
class Recipe:
    """A training's hyperparameters.

    Plug-ins that depend on the number of classes are given as something to call with it, such as a class; all
    others are instances, of which each model gets copies.

    Args:
        name: What the command line calls it.
        summary: One line.
        source: Paper or program.
        architecture: ``(input_shape, widths, num_classes) -> layers``, see :mod:`forwardforward.recipes.architectures`.
        widths: Widths of the layers (channels, where they are convolutions).
        goodness: Scalar goodness, or ``num_classes -> per-class goodness``.
        loss: Loss over the goodness.
        normalization: Of each layer's input, the first's too.
        peer: Peer normalization.
        labels: ``num_classes -> label encoder``, given the images' ``size`` too where it asks for it; None for a
            network that sees images alone.
        negatives: Makes positive and negative samples.
        head: ``num_classes -> one-pass linear head``; None adds a head only where something needs one.
        classifier: What ``predict`` asks; the stack's choice unless given.
        baseline: A class of :mod:`forwardforward.baselines` that trains the stack otherwise, without labels in the
            input and with no use for the plug-ins above but the normalization.
        optimizer: Torch optimizer class of every layer.
        lr: Its learning rate.
        options: Its other options.
        overrides: Options that differ for a unit, by its name, such as ``"head"``.
        lr_schedule: Learning-rate factor, ``progress -> factor``.
        schedule: Which layers are updated when.
        representation: What the network reads of a data set's texts, see :mod:`forwardforward.data.text`; for sets
            that hold text alone.
        standardize: Whether each channel of the data is shifted and scaled to mean 0 and variance 1.
        augment: Changes the images of each training batch, see :mod:`forwardforward.data`.
        epochs: Passes over the training data.
        batch_size: Samples a step.
        data_settings: Fields that differ on a data set, by its name, ``"*.npz"`` for a user's own; see :meth:`for_dataset`.
    """

    name: str
    summary: str
    source: str
    architecture: Architecture = field(default_factory=Dense)
    widths: tuple[int, ...] = (1000, 1000, 1000)
    goodness: nn.Module | Callable[[int], nn.Module] | None = None
    loss: nn.Module | None = None
    normalization: nn.Module | None = None
    peer: PeerNormalization | None = None
    labels: Callable[..., LabelEncoder] | None = None
    negatives: Negatives | None = None
    head: Callable[[int], LinearHead] | None = None
    classifier: Callable[..., torch.Tensor] | None = None
    baseline: Callable[..., nn.Module] | None = None
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.Adam
    lr: float = 1e-3
    options: Mapping[str, Any] = field(default_factory=dict)
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    lr_schedule: Callable[[float], float] | None = None
    schedule: Schedule = field(default_factory=Joint)
    representation: Representation | None = None
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
            ValueError: If the input is not of the form that the layers or the label take, or the widths do not fit.
        """
        shape = tuple(input_shape)
        encoder = None if self.labels is None or self.baseline else self._encoder(num_classes, shape)
        blank = torch.zeros(1, *shape)
        if encoder is not None:
            labelled = encoder.neutral(blank)
            shape = (labelled.features, *labelled.images.shape[2:])
        layers = self.architecture(shape, self.widths, num_classes)
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
            head=None if self.head is None else copy.deepcopy(self.head(num_classes)),
            classifier=copy.deepcopy(self.classifier),
            num_classes=num_classes,
        )

    def splits(self, data: str, data_dir: str | Path | None = None, progress: bool = False) -> Splits:
        """Return a data set as the recipe reads it.

        Args:
            data: Name of the data set, or path of an ``.npz``.
            data_dir: Folder of its files, or None for the default one.
            progress: Whether to show progress bars where reading takes long.
        """
        splits = load(data, data_dir, representation=self.representation, progress=progress)
        return splits.standardized() if self.standardize else splits

    def optimizer(self) -> LocalOptimizer:
        """Return new local optimizers, not yet attached to a model."""
        overrides = {} if self.baseline else self.overrides  # a baseline is one unit
        return LocalOptimizer(
            self.optimizer, lr_schedule=self.lr_schedule, overrides=overrides, lr=self.lr, **self.options
        )

    def fit(self, model: nn.Module, train: Data, **options: Any) -> History:
        """Train a model as the recipe says: with its optimizers, schedule, augmentation, epochs and batch size.

        Args:
            model: What :meth:`model` gave.
            train: Training data as the recipe reads them, see :meth:`splits`.
            **options: Those of :func:`~forwardforward.training.fit`, which win over the recipe's.
        """
        own = {name: getattr(self, name) for name in ("schedule", "augment", "epochs", "batch_size")}
        return fit(model, train, **{"optimizer": self.optimizer(), **own, **options})

    def replace(self, **changes: Any) -> Recipe:
        """Return the recipe with other values in some fields.

        Raises:
            ValueError: If a name is not one of the fields.
        """
        unknown = sorted(set(changes) - set(self._fields()))
        if unknown:
            raise ValueError(f"changes must name fields of a recipe, got {', '.join(unknown)}")
        return dataclasses.replace(self, **changes)

    def for_dataset(self, data: str) -> Recipe:
        """Return the recipe with the settings that it names for a data set, the same recipe where it names none.

        A user's own images are not augmented unless the recipe says how, since a flipped letter is another one.

        Args:
            data: Name of the data set, or path of an ``.npz``.
        """
        settings = self.data_settings.get(data)
        if data.endswith(".npz"):
            settings = {"augment": None, **(self.data_settings.get(OWN_DATA, {}) if settings is None else settings)}
        return self.replace(**(settings or {}))

    def with_vectors(self, path: str | None) -> Recipe:
        """Return the recipe with word vectors from a file in place of those that it trains.

        Args:
            path: The file, see :func:`~forwardforward.data.text.read_vectors`; None for the recipe as it is.

        Raises:
            ValueError: If the recipe reads no word vectors.
        """
        if path is None:
            return self
        if not isinstance(self.representation, MeanVectors):
            raise ValueError(f"vectors must be left out for the recipe {self.name}, which reads none, got {path}")
        return self.replace(representation=dataclasses.replace(self.representation, vectors=path))

    def table(self) -> dict[str, str]:
        """Return what the recipe sets, field by field, in words; fields that are not used are left out."""
        widths = {"name", "summary", "source", "data_settings"}
        values = {name: getattr(self, name) for name in self._fields() if name not in widths}
        return {name: _words(value) for name, value in values.items() if not _unused(value)}

    def differences(self) -> dict[str, dict[str, str]]:
        """Return what the recipe sets otherwise, data set by data set and field by field, in words."""
        here, found = self.table(), {}
        for data in sorted({OWN_DATA, *self.data_settings}):
            there = self.for_dataset(data).table()
            changed = [name for name in self._fields() if here.get(name) != there.get(name)]
            found[data] = {name: there.get(name, "none") for name in changed}
        return {data: changes for data, changes in found.items() if changes}

    def _encoder(self, num_classes: int, shape: tuple[int, ...]) -> LabelEncoder:
        assert self.labels is not None
        if "size" in inspect.signature(self.labels).parameters:
            check_image_shape(shape, "labels that are maps")
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
    x = x.int() if layers[0].reads_entries else x
    for layer in layers:
        x = layer.eval()(x)
        layer.train()
    return x.numel()


def _words(value: Any) -> str:
    """Return a repr that is the same in every process."""
    if isinstance(value, functools.partial):
        given = (f"{name}={_words(one)}" for name, one in value.keywords.items())
        return f"{_words(value.func)}(..., {', '.join(given)})"
    if dataclasses.is_dataclass(value) and not inspect.isclass(value):
        given = (f"{one.name}={_words(getattr(value, one.name))}" for one in dataclasses.fields(value) if one.repr)
        return f"{type(value).__qualname__}({', '.join(given)})"
    return str(value.__qualname__) if inspect.isclass(value) or inspect.isroutine(value) else described(value)


def _unused(value: Any) -> bool:
    return value is None or value is False or value == {}
