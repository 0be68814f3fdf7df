"""The fields of a recipe as text, as on the command line and in files."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import torch
from torch import nn

from forwardforward import (
    baselines,
    classifiers,
    data,
    goodness,
    heads,
    label_encoders,
    losses,
    lr_schedules,
    negatives,
    normalization,
    pooling,
    preprocessing,
    update_schedules,
    views,
)
from forwardforward._utils.annotations import describe
from forwardforward._utils.arguments import checked
from forwardforward._utils.plugins import one_line
from forwardforward._utils.suggestions import did_you_mean
from forwardforward.data import text
from forwardforward.optimizers import SmoothedSGD
from forwardforward.recipes import architectures
from forwardforward.recipes.contrastive import ContrastiveObjective
from forwardforward.recipes.expressions import canonical, evaluate
from forwardforward.recipes.predsim import PredSim
from forwardforward.recipes.recipe import FIELDS, Recipe
from forwardforward.recipes.targets import LabelPredSim
from forwardforward.recipes.whitened import PooledContrast
from forwardforward.training import WeightAverage

__all__ = ["SETTABLE", "plugin_names", "set_fields"]

#: Fields that can be set: those that take effect in a training.
SETTABLE = tuple(name for name in FIELDS if name not in ("name", "summary", "source", "data_settings"))

#: Fields whose entries can be set one by one, as in ``optimizer_options.weight_decay``.
MAPPINGS = ("optimizer_options", "overrides")

#: A value of each field that takes no plug-in, for messages.
EXAMPLES = {
    "widths": "500,500",
    "lr": "0.001",
    "optimizer_options": "{'weight_decay': 0.001}",
    "overrides": "{'head': {'lr': 0.1}}",
    "standardize": "true",
    "epochs": "20",
    "batch_size": "100",
    "clip_norm": "1.0",
}


@checked
def set_fields(recipe: Recipe, changes: Mapping[str, str]) -> Recipe:
    """Return a recipe with fields from text.

    A value is a number, a string, ``true``, ``false``, ``none``, a list, or a plug-in of the library written as its
    constructor's call: ``SymBa(alpha=2.0)``. Plug-ins that depend on the number of classes are written without it:
    ``LearnedProjection`` or ``ClassGroups(goodness=MeanActivation())``. An entry of ``optimizer_options`` or
    ``overrides`` has a dotted name, such as ``optimizer_options.weight_decay``, and leaves the other entries unchanged.
    Nothing else of Python is evaluated.

    Args:
        recipe: The recipe, with the data set's settings.
        changes: Text of each field's value.

    Raises:
        ValueError: If a name is not a field, a value cannot be read or is out of range, or a field would have no
            effect.
        TypeError: If a value is of the wrong type.

    Example:
        >>> from forwardforward.recipes import get
        >>> recipe = set_fields(get("symba"), {"lr": "0.01", "loss": "SwishSymBa(alpha=2.0)", "widths": "500,500"})
        >>> recipe.lr, recipe.loss, recipe.widths
        (0.01, SwishSymBa(alpha=2.0), (500, 500))
    """
    values: dict[str, Any] = {}
    for name, value in changes.items():
        field, *path = name.split(".")
        if field not in SETTABLE:
            raise ValueError(
                f"{field!r} is not a field of a recipe, which are {', '.join(SETTABLE)}{did_you_mean(field, SETTABLE)}"
            )
        if path and field not in MAPPINGS:
            raise ValueError(f"{name}: only {' and '.join(MAPPINGS)} have entries, {field} does not")
        try:
            read = _read(field, value) if not path else evaluate(value, {}, {})
        except (ValueError, TypeError) as error:
            raise type(error)(f"{name}={describe(value)[1:-1]}: {one_line(error)}") from error
        values[field] = _with_entry(values.get(field, getattr(recipe, field)), path, read, name)
    return recipe.replace(**values)


@checked
def plugin_names(field: str) -> tuple[str, ...]:
    """Return the names of the plug-ins that a field takes; none for fields of numbers.

    Args:
        field: Name of the field.

    Raises:
        ValueError: If there is no such field.

    Example:
        >>> plugin_names("loss")[:3]
        ('BinaryCrossEntropy', 'CrossEntropy', 'OrdinalCrossEntropy')
    """
    if field not in SETTABLE:
        raise ValueError(f"field must be one of {', '.join(SETTABLE)}, got {field!r}{did_you_mean(field, SETTABLE)}")
    return tuple(_plugins().get(field, {}))


def _read(field: str, value: str) -> Any:
    plugins = _plugins()
    if field not in plugins:
        try:
            number = evaluate(value, {}, {})
        except ValueError:
            raise ValueError(f"it must be a value such as {EXAMPLES[field]}, got {value!r}") from None
        return (number,) if field == "widths" and isinstance(number, int) else number
    if value.strip().strip("'\"") == "head" and field == "classifier":
        return "head"
    classes = [*plugins["optimizer"].values(), *plugins["baseline"].values()]
    result = evaluate(value, plugins[field], _nested(), classes)
    if result is not None and isinstance(result, bool | int | float | str | list | tuple | dict):
        raise ValueError(f"it must be none or one of {', '.join(plugins[field])}, got {canonical(value)}")
    return result


def _with_entry(current: Any, path: list[str], value: Any, name: str) -> Any:
    """Return a copy of nested dictionaries with one entry, or the value itself if there is no path."""
    if not path:
        return value
    if not isinstance(current, Mapping):
        raise ValueError(f"{name}: there are no entries below {current!r}")
    entry, *rest = path
    return {**current, entry: _with_entry(current.get(entry, {}), rest, value, name)}


@functools.cache
def _plugins() -> dict[str, dict[str, Any]]:
    """Return the classes that each field takes, by their names."""
    of_text = (text.MeanVectors, text.NGrams, text.WordSequence)
    return {
        "architecture": _classes(architectures),
        "goodness": _classes(goodness),
        "loss": _classes(losses, losses.PairLoss, losses.ClassLoss, losses.BatchLoss),
        "objective": {kind.__name__: kind for kind in (ContrastiveObjective, LabelPredSim, PooledContrast, PredSim)},
        "normalization": _classes(normalization, normalization.Normalization),
        "peer": {"PeerNormalization": normalization.PeerNormalization},
        "label_encoder": _classes(label_encoders, label_encoders.LabelEncoder),
        "negatives": _classes(negatives),
        "head": _classes(heads),
        "classifier": {**_classes(classifiers), "head": "head"},
        "baseline": _classes(baselines, baselines.Baseline),
        "optimizer": {**_without(_classes(torch.optim, torch.optim.Optimizer), "LBFGS"), "SmoothedSGD": SmoothedSGD},
        "lr_schedule": _without(_classes(lr_schedules), "FromTorch"),  # which takes a torch scheduler
        "schedule": _without(_classes(update_schedules), "Group", "Schedule"),
        "representation": {kind.__name__: kind for kind in of_text},
        "augment": _classes(data, data.Augmentation),
        "preprocessing": _classes(preprocessing, preprocessing.Preprocessing),
        "views": {"Mirror": views.Mirror},
        "average": {"WeightAverage": WeightAverage},
    }


@functools.cache
def _nested() -> dict[str, Any]:
    """Return the classes that arguments of plug-ins may be."""
    activations = {name: getattr(nn, name) for name in ("ReLU", "LeakyReLU", "ELU", "GELU", "SiLU", "Tanh", "Sigmoid")}
    names = {**activations, **_classes(pooling), "Uniform": losses.Uniform, "Pyramidal": losses.Pyramidal}
    names |= {"Word2Vec": text.Word2Vec, "Flatten": nn.Flatten, "FallingTemperature": losses.FallingTemperature}
    for plugins in _plugins().values():
        names |= {name: kind for name, kind in plugins.items() if isinstance(kind, type)}
    return names


def _classes(module: ModuleType, *bases: type) -> dict[str, Any]:
    """Return the complete classes of a module, by name; with bases, those derived from one of them."""
    names = getattr(module, "__all__", None) or sorted(vars(module))
    classes = {name: getattr(module, name) for name in names}
    return {
        name: kind
        for name, kind in classes.items()
        if inspect.isclass(kind) and not _is_abstract(kind) and (not bases or issubclass(kind, bases))
    }


def _without(classes: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: kind for name, kind in classes.items() if name not in names}


def _is_abstract(kind: type) -> bool:
    if kind in (torch.optim.Optimizer, baselines.Baseline):
        return True
    return any(getattr(getattr(kind, name, None), "__isabstractmethod__", False) for name in dir(kind))
