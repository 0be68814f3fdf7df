"""The recipe: hyperparameters of a training run, and the model and optimizers that they describe."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from forwardforward._utils.annotations import describe
from forwardforward._utils.arguments import NonNegativeFloat, NumClasses, PositiveFloat, PositiveInt, StrPath, checked
from forwardforward._utils.checks import TargetKindError, check_image_shape
from forwardforward._utils.memory import check_memory
from forwardforward._utils.plugins import calling
from forwardforward._utils.suggestions import did_you_mean
from forwardforward.data import Splits, load
from forwardforward.data.batching import Data
from forwardforward.data.text import MeanVectors, Representation
from forwardforward.heads import LinearHead
from forwardforward.label_encoders import LabelEncoder
from forwardforward.layers import FFLayer
from forwardforward.losses import ClassLoss
from forwardforward.negatives import Negatives
from forwardforward.network import Classifier, Network
from forwardforward.normalization import Identity, PeerNormalization
from forwardforward.objectives import Objective
from forwardforward.optimizers import LocalOptimizer
from forwardforward.preprocessing import Preprocessing
from forwardforward.recipes.architectures.dense import Architecture, Dense
from forwardforward.sequential import FFSequential
from forwardforward.targets import ClassProbabilities, RealValues, TargetKind
from forwardforward.training import History, WeightAverage, fit
from forwardforward.training.settings import described
from forwardforward.update_schedules import Joint, Schedule
from forwardforward.views import Views

__all__ = ["Recipe", "derive"]

#: The key of ``data_settings`` for a user's own ``.npz`` files.
USER_DATA = "*.npz"

#: Fields that a baseline does not use: it trains all layers together, by the cross-entropy of an output layer.
UNUSED_BY_BASELINES = (
    *("goodness", "loss", "objective", "peer", "label_encoder", "negatives", "head", "classifier"),
    *("overrides", "schedule"),
)

#: Fields that only training uses: a trained model does not depend on them otherwise.
USED_IN_TRAINING = (
    *("optimizer", "lr", "optimizer_options", "overrides", "lr_schedule", "clip_norm", "average", "schedule"),
    *("augment", "epochs", "batch_size"),
)


@checked
@dataclass(frozen=True)
class Recipe:
    """The hyperparameters of a training run, as in a paper's table.

    Plug-ins that depend on the number of classes are given as a function of it, such as a class; all others as
    instances, which each model copies. Every field takes effect: combinations in which one would not be used are
    refused.

    Args:
        name: Name for :func:`~forwardforward.recipes.get` and the command line.
        summary: Description in one line.
        source: Paper or program.
        architecture: ``(input_shape, widths, num_classes) -> layers``, see :mod:`forwardforward.recipes.architectures`.
        widths: Widths of the layers (numbers of channels for convolutions).
        goodness: Scalar goodness, or ``num_classes -> per-class goodness``.
        loss: Loss over the goodness.
        objective: ``(num_classes, layer index) -> objective`` in place of ``goodness`` and ``loss``, for objectives
            that are sums or differ by layer. An attribute ``target_kind`` states targets other than classes.
        normalization: Normalization of every layer that the architecture gives none.
        peer: Peer normalization.
        label_encoder: ``num_classes -> label encoder``, also called with the images' ``size`` if it has a parameter of
            this name; None for networks without labels in the input.
        negatives: Sampler of positive and negative samples.
        head: ``num_classes -> linear head``; None adds a head only if another plug-in requires one.
        classifier: Function of the goodness that classifies, or ``"head"`` (default: the choice of
            :class:`~forwardforward.FFSequential`).
        baseline: Class of :mod:`forwardforward.baselines` that trains the layers in place of local objectives.
        optimizer: Torch optimizer class.
        lr: Learning rate.
        optimizer_options: Other options of the optimizer.
        overrides: Optimizer options that differ for a parameter group, by its name: ``"head"``, ``"label_encoder"``,
            a layer's index such as ``"0"``, or ``"objective"`` for the objectives of all layers.
        lr_schedule: Learning-rate factor, ``progress -> factor``.
        clip_norm: Largest norm of the gradient of a layer, see :class:`~forwardforward.LocalOptimizer`.
        average: Average of the weights over the steps, which classifies in place of the last weights.
        schedule: Update schedule, see :mod:`forwardforward.update_schedules`.
        representation: Representation of texts as inputs, see :mod:`forwardforward.data.text`.
        standardize: Whether the model standardizes each channel of its inputs.
        preprocessing: Conversion of raw inputs in place of that of ``standardize``; each model copies it.
        views: Views of an image whose scores are averaged in classification, see :mod:`forwardforward.views`.
        augment: Random changes of each training batch, see :mod:`forwardforward.data`.
        epochs: Passes over the training data.
        batch_size: Samples per step.
        data_settings: Fields with other values on a data set, by its name, or ``"*.npz"`` for a user's own files; see
            :meth:`for_dataset`.

    Raises:
        ValueError: If a field would have no effect, such as ``goodness`` beside ``objective`` or ``baseline``, or a
            number is out of range.

    Example:
        >>> import forwardforward as ff
        >>> recipe = Recipe(
        ...     name="symba-small",
        ...     summary="symmetric loss, label appended to the image",
        ...     source="Lee and Song (2023), arXiv 2303.08418",
        ...     widths=(100, 100),
        ...     goodness=ff.goodness.MeanOfSquares(),
        ...     loss=ff.losses.SymBa(),
        ...     label_encoder=ff.label_encoders.Concatenation,
        ... )
        >>> recipe.model(input_shape=(1, 8, 8), num_classes=10).layers[0].block
        Linear(in_features=74, out_features=100, bias=True)
    """

    name: str
    summary: str
    source: str
    architecture: Architecture = field(default_factory=Dense)
    widths: tuple[PositiveInt, ...] = (1000, 1000, 1000)
    goodness: nn.Module | Callable[[int], nn.Module] | None = None
    loss: nn.Module | None = None
    objective: Callable[[int, int], Objective] | None = None
    normalization: nn.Module | None = None
    peer: PeerNormalization | None = None
    label_encoder: Callable[..., LabelEncoder] | None = None
    negatives: Negatives | None = None
    head: Callable[[int], LinearHead] | None = None
    classifier: Classifier | None = None
    baseline: Callable[..., Network] | None = None
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.Adam
    lr: NonNegativeFloat = 1e-3
    optimizer_options: Mapping[str, Any] = field(default_factory=dict)
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    lr_schedule: Callable[[float], float] | None = None
    clip_norm: PositiveFloat | None = None
    average: WeightAverage | None = None
    schedule: Schedule = field(default_factory=Joint)
    representation: Representation | None = None
    standardize: bool = False
    preprocessing: Preprocessing | None = None
    views: Views | None = None
    augment: Callable[[torch.Tensor, torch.Generator | None], torch.Tensor] | None = None
    epochs: PositiveInt = 60
    batch_size: PositiveInt = 100
    data_settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    # A recipe is its base with a data set's settings and, above those, the user's changes. The three are kept apart so
    # that the order in which `replace` and `for_dataset` are called makes no difference.
    _base: Recipe | None = field(default=None, init=False, repr=False, compare=False)
    _settings: Mapping[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    _changes: Mapping[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.widths:
            raise ValueError("widths must contain at least one layer, got ()")
        for data, settings in self.data_settings.items():
            _check_names(f"data_settings[{data!r}]", settings)
        if reserved := sorted({"lr", "lr_schedule", "overrides", "clip_norm"} & set(self.optimizer_options)):
            raise ValueError(
                f"optimizer_options must leave {', '.join(reserved)} to the recipe's fields of these names"
            )
        if self.standardize and self.preprocessing is not None:
            got = self._arguments(["preprocessing"])
            raise ValueError(f"standardize must be left out beside preprocessing, got {got}")
        if self.baseline is not None:
            unused = [name for name in UNUSED_BY_BASELINES if self._is_set(name)]
            if unused:
                raise ValueError(
                    f"{', '.join(unused)} must be left out beside baseline={_one_line(self.baseline)}, which does "
                    f"not use them, got {self._arguments(unused)}"
                )
        elif self.objective is not None:
            unused = [name for name in ("goodness", "loss") if self._is_set(name)]
            if unused:
                raise ValueError(
                    f"{', '.join(unused)} must be left out beside objective, which contains its own, "
                    f"got {self._arguments(unused)}"
                )

    @checked
    def layers(self, input_shape: Sequence[PositiveInt], num_classes: NumClasses | None) -> list[FFLayer]:
        """Return new layers, with the objectives of :attr:`objective` if the recipe has it.

        Args:
            input_shape: Shape of one input, without its label.
            num_classes: Number of classes or labels; None for a recipe that predicts real values.

        Raises:
            ValueError: As :meth:`model`.
        """
        shape, outputs = tuple(input_shape), self._outputs(num_classes)
        return self._layers(shape, outputs, self._label_encoder(shape, outputs))

    @checked
    def model(self, input_shape: Sequence[PositiveInt], num_classes: NumClasses | None) -> Network:
        """Return a new, untrained model, whose initial weights follow ``torch.manual_seed``.

        Args:
            input_shape: Shape of one input, without its label.
            num_classes: Number of classes or labels; None for a recipe that predicts real values.

        Raises:
            ValueError: If architecture, label encoder or plug-ins do not fit the input shape, the number of classes or
                each other.
        """
        shape, num_classes = tuple(input_shape), self._outputs(num_classes)
        encoder = self._label_encoder(shape, num_classes)
        layers = self._layers(shape, num_classes, encoder)
        preprocessing = self._preprocessing()
        if self.baseline is not None:
            return self.baseline(
                *layers,
                num_classes=num_classes,
                input_shape=shape,
                preprocessing=preprocessing,
                normalization=self.normalization,
                views=self.views,
            )
        goodness, head = self.goodness, None
        if goodness is not None and not isinstance(goodness, nn.Module):
            with calling("goodness", goodness, "num_classes -> goodness"):
                goodness = goodness(num_classes)
        if self.head is not None:
            with calling("head", self.head, "num_classes -> head"):
                head = copy.deepcopy(self.head(num_classes))  # it may share a pool
        return FFSequential(
            *layers,
            goodness=goodness,
            loss=self.loss,
            normalization=self.normalization,
            peer=self.peer,
            label_encoder=encoder,
            negatives=copy.deepcopy(self.negatives),
            head=head,
            classifier=copy.deepcopy(self.classifier),
            num_classes=num_classes,
            preprocessing=preprocessing,
            views=self.views,
            input_shape=shape,
        )

    @property
    def target_kind(self) -> TargetKind:
        """The targets that a model of the recipe accepts, see :mod:`forwardforward.targets`."""
        source = self.loss if isinstance(self.loss, ClassLoss) else self.objective
        kind: TargetKind | None = getattr(source, "target_kind", None)
        return ClassProbabilities() if kind is None else kind

    def _outputs(self, num_classes: int | None) -> int:
        """Return the number of outputs of each layer: that of the classes, or that of the bins of real values."""
        outputs = getattr(self.goodness, "num_classes", None)
        if isinstance(self.target_kind, RealValues):
            if num_classes is not None or not isinstance(outputs, int):
                got = f"{num_classes} classes" if num_classes is not None else f"goodness={_one_line(self.goodness)}"
                raise TargetKindError(
                    f"num_classes must be None for the recipe {self.name}, which predicts real values by a goodness "
                    f"with a number of bins, such as LearnedProjection(30), got {got}"
                )
            return outputs
        if num_classes is None:
            raise TargetKindError(
                f"num_classes must be given for the recipe {self.name}, which predicts classes, got None, as for real "
                "values, which the recipe ordinal predicts"
            )
        return num_classes

    def local_optimizer(self) -> LocalOptimizer:
        """Return new local optimizers, not yet attached to a model."""
        return LocalOptimizer(
            self.optimizer,
            lr_schedule=self.lr_schedule,
            overrides=self.overrides,
            clip_norm=self.clip_norm,
            lr=self.lr,
            **self.optimizer_options,
        )

    @checked
    def fit(self, model: Network, train: Data, **options: Any) -> History:
        """Train a model with the recipe's optimizers, update schedule, averaging, augmentation, epochs and batch size.

        Args:
            model: A model made by :meth:`model`.
            train: Training data, as in :meth:`splits`.
            **options: Arguments of :func:`~forwardforward.training.fit`, which replace the recipe's.
        """
        settings = {name: getattr(self, name) for name in ("schedule", "augment", "epochs", "batch_size")}
        if self.average is not None:
            options["callbacks"] = [copy.deepcopy(self.average), *options.get("callbacks", ())]
        return fit(model, train, **{"optimizer": self.local_optimizer(), **settings, **options})

    @checked
    def splits(self, data: StrPath, data_dir: str | Path | None = None, progress: bool = False) -> Splits:
        """Return a data set in the recipe's representation.

        Args:
            data: Name of the data set, or path of an ``.npz`` file.
            data_dir: Folder with its files (default: the cache).
            progress: Whether to show progress bars while reading.
        """
        return load(str(data), data_dir, representation=self.representation, progress=progress)

    def replace(self, **changes: Any) -> Recipe:
        """Return the recipe with other values in some fields, on every data set.

        The changes have priority over ``data_settings``, whether :meth:`for_dataset` is called before or after.

        Raises:
            ValueError: If a name is not a field, or a field would have no effect.
        """
        _check_names("changes", changes)
        return self._combine(self._settings, {**self._changes, **changes})

    @checked
    def for_dataset(self, data: str) -> Recipe:
        """Return the recipe with its settings for a data set, in place of those for another one.

        Images of a user are not augmented by default, since a flipped letter, for example, is another letter.

        Args:
            data: Name of the data set, or path of an ``.npz`` file.
        """
        if data.endswith(".npz"):
            settings = {"augment": None, **self.data_settings.get(data, self.data_settings.get(USER_DATA, {}))}
        else:
            settings = dict(self.data_settings.get(data, {}))
        return self._combine(settings, self._changes)

    def with_vectors(self, path: str | None) -> Recipe:
        """Return the recipe with word vectors from a file in place of trained ones.

        Args:
            path: The file, see :func:`~forwardforward.data.text.read_vectors`; None returns the recipe unchanged.

        Raises:
            ValueError: If the recipe does not use word vectors.
        """
        if path is None:
            return self
        if not isinstance(self.representation, MeanVectors):
            raise ValueError(f"vectors must be left out for the recipe {self.name}, which does not use any, got {path}")
        return self.replace(representation=dataclasses.replace(self.representation, vectors=path))

    def table(self) -> dict[str, str]:
        """Return the fields that take effect in training, with their values as text."""
        names = [name for name in FIELDS if name not in ("name", "summary", "source", "data_settings")]
        if self.baseline is not None:
            names.remove("schedule")
        values = {name: getattr(self, name) for name in names}
        return {name: _description(value) for name, value in values.items() if not _is_empty(value)}

    def differences(self) -> dict[str, dict[str, str]]:
        """Return the rows of :meth:`table` that differ on a data set, by its name."""
        table = self.table()
        differences = {}
        for data in sorted({USER_DATA, *self.data_settings}):
            other = self.for_dataset(data).table()
            changed = [name for name in FIELDS if table.get(name) != other.get(name)]
            if changed:
                differences[data] = {name: other.get(name, "none") for name in changed}
        return differences

    def _combine(self, settings: Mapping[str, Any], changes: Mapping[str, Any]) -> Recipe:
        base = self if self._base is None else self._base
        recipe = dataclasses.replace(base, **{**settings, **changes})
        for name, value in (("_base", base), ("_settings", settings), ("_changes", changes)):
            object.__setattr__(recipe, name, value)  # the class is frozen
        return recipe

    def _preprocessing(self) -> Preprocessing:
        return Preprocessing(standardize=self.standardize) if self.preprocessing is None else self.preprocessing

    def _label_encoder(self, input_shape: tuple[int, ...], num_classes: int) -> LabelEncoder | None:
        if self.label_encoder is None:
            return None
        options: dict[str, Any] = {}
        with contextlib.suppress(ValueError, TypeError):  # some callables have no signature
            if "size" in inspect.signature(self.label_encoder).parameters:
                options["size"] = input_shape[-2:]
        if options:
            check_image_shape(input_shape, "label channels")
        with calling("label_encoder", self.label_encoder, "num_classes -> label encoder"):
            encoder = self.label_encoder(num_classes, **options)
        if not isinstance(encoder, LabelEncoder):
            raise TypeError(f"label_encoder must return a LabelEncoder, got {describe(encoder)}")
        return encoder

    def _layers(self, input_shape: tuple[int, ...], num_classes: int, encoder: LabelEncoder | None) -> list[FFLayer]:
        input_shape = self._preprocessing().output_shape(input_shape)
        if encoder is not None:  # the first layer receives images with their labels
            check_memory("input_shape", 1, *input_shape)
            input_shape = tuple(encoder.neutral(torch.zeros(1, *input_shape)).shape[1:])
        with calling("architecture", self.architecture, "(input_shape, widths, num_classes) -> layers", True):
            layers = list(self.architecture(input_shape, self.widths, num_classes))
        if not all(isinstance(layer, FFLayer) for layer in layers):
            raise TypeError(f"architecture must return layers, instances of FFLayer, got {describe(layers)}")
        unused = ["normalization"] if all(_is_normalized(layer) for layer in layers) else []
        unused += ["goodness", "loss", "objective"] if all(layer.objective is not None for layer in layers) else []
        if unused := [name for name in unused if self._is_set(name)]:
            raise ValueError(
                f"{', '.join(unused)} must be left out beside the architecture {_description(self.architecture)}, "
                f"whose layers have their own, got {self._arguments(unused)}"
            )
        if self.objective is not None:
            for index, layer in enumerate(layers):
                layer.objective = copy.deepcopy(self.objective(num_classes, index))
        return layers

    def _is_set(self, name: str) -> bool:
        value = getattr(self, name)
        return not (_is_empty(value) or (name == "schedule" and isinstance(value, Joint)))

    def _arguments(self, names: Iterable[str]) -> str:
        return ", ".join(f"{name}={_one_line(getattr(self, name))}" for name in names)


#: The names of a recipe's fields.
FIELDS = tuple(entry.name for entry in dataclasses.fields(Recipe) if entry.init)


def derive(recipe: Recipe, **fields: Any) -> Recipe:
    """Return a new recipe based on another one; unlike those of `Recipe.replace`, the values are no user's changes."""
    return dataclasses.replace(recipe, **fields)


def _check_names(argument: str, values: Mapping[str, Any]) -> None:
    unknown = sorted(set(values) - set(FIELDS))
    if unknown:
        hint = did_you_mean(unknown[0], FIELDS)
        raise ValueError(f"{argument} must be fields of a recipe ({', '.join(FIELDS)}), got {', '.join(unknown)}{hint}")


def _is_normalized(layer: FFLayer) -> bool:
    return layer.normalization is not None and not isinstance(layer.normalization, Identity)


def _is_empty(value: Any) -> bool:
    return value is None or value is False or value == {}


def _one_line(value: Any) -> str:
    return " ".join(_description(value).split())


def _description(value: Any) -> str:
    """Return a ``repr`` that is the same in every process."""
    if isinstance(value, functools.partial):
        arguments = (f"{name}={_description(argument)}" for name, argument in value.keywords.items())
        return f"{_description(value.func)}(..., {', '.join(arguments)})"
    if dataclasses.is_dataclass(value) and not inspect.isclass(value):
        names = (entry.name for entry in dataclasses.fields(value) if entry.repr)
        arguments = (f"{name}={_description(getattr(value, name))}" for name in names)
        return f"{type(value).__qualname__}({', '.join(arguments)})"
    return str(value.__qualname__) if inspect.isclass(value) or inspect.isroutine(value) else described(value)
