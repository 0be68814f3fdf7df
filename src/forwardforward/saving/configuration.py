"""Configurations: the constructor calls of a model and its plug-ins as values that JSON can represent."""

from __future__ import annotations

import inspect
import math
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from forwardforward._utils.annotations import describe
from forwardforward._utils.arguments import checked
from forwardforward._utils.plugins import one_line
from forwardforward.saving.arguments import arguments_of, parameters_of
from forwardforward.saving.names import FUNCTIONS, known_classes, name_of_class, name_of_function

__all__ = ["Configurable", "encoded", "from_config", "to_config"]

#: The keys of objects that are no plain value.
KINDS = ("class", "function", "slice", "mapping", "tensor", "number")

#: Largest number of elements of a tensor among the arguments, such as a code book.
MOST_ELEMENTS = 2**16


@runtime_checkable
class Configurable(Protocol):
    """An object whose constructor's arguments are not its attributes, and that returns them by :meth:`get_config`.

    Most plug-ins need no such method: it is enough that each argument is stored in the attribute of its name.

    Example:
        >>> class Scaled(torch.nn.Module):
        ...     def __init__(self, percent):
        ...         super().__init__()
        ...         self.factor = percent / 100
        ...
        ...     def get_config(self):
        ...         return {"percent": 100 * self.factor}
        >>> to_config(Scaled(50))
        {'class': 'Scaled', 'percent': 50.0}
    """

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments by name, those of ``*args`` as a list."""
        ...


@checked
def to_config(value: Any) -> Any:
    """Return the configuration of a model or plug-in: its class and its constructor's arguments.

    Weights are not part of it. Numbers, strings, booleans, None and lists represent themselves. Anything else is an
    object with one of the keys ``class``, ``function``, ``slice``, ``mapping``, ``tensor`` and ``number``.

    Args:
        value: A model, a plug-in, or an argument of one.

    Raises:
        ValueError: If a part cannot be represented, such as a lambda, or a plug-in whose constructor's arguments are
            neither attributes nor returned by ``get_config()``.

    Example:
        >>> import forwardforward as ff
        >>> to_config(ff.losses.SwishSymBa(alpha=4.0))
        {'class': 'losses.SwishSymBa', 'alpha': 4.0}
    """
    return encoded(value, "value")[0]


@checked
def from_config(config: Any, plugins: Sequence[Callable[..., Any]] = ()) -> Any:
    """Return a new model or plug-in with a configuration of :func:`to_config`; its weights are initial ones.

    Only names of this library's own modules, of a list of modules and functions of torch, and of ``plugins`` are
    resolved.

    Args:
        config: The configuration.
        plugins: Classes and functions of yours that it may name.

    Raises:
        ValueError: If it names something else, or a constructor refuses its arguments.

    Example:
        >>> from_config({"class": "losses.SwishSymBa", "alpha": 4.0})
        SwishSymBa(alpha=4.0)
    """
    names: dict[str, Any] = {}
    for plugin in plugins:
        name = getattr(plugin, "__name__", "")
        if not name.isidentifier():
            raise ValueError(f"plugins must be classes and functions with a name, got {describe(plugin)}")
        if names.setdefault(name, plugin) is not plugin:
            raise ValueError(f"plugins must have different names, got two of the name {name}")
    try:
        return _Decoder(names).value(config, "config")
    except RecursionError:
        raise ValueError("config must not be nested so deeply") from None


def encoded(value: Any, argument: str = "model") -> tuple[Any, list[Any]]:
    """Return the configuration of a model or plug-in, and the user's classes and functions in it.

    Args:
        value: A model, a plug-in, or an argument of one.
        argument: Name of the value, for messages.

    Raises:
        ValueError: As :func:`to_config`, or if two plug-ins of the user have the same name.
    """
    encoder = _Encoder()
    return encoder.config(value, argument), list(encoder.plugins.values())


class _Encoder:
    """Description of objects by their constructor calls.

    Attributes:
        plugins: The user's classes and functions by name.
    """

    def __init__(self) -> None:
        self.plugins: dict[str, Any] = {}
        self._open: list[Any] = []  # objects whose arguments are being described

    def config(self, value: Any, place: str) -> Any:
        """Return the configuration of a value."""
        if isinstance(value, float) and not math.isfinite(value):
            return {"number": str(value)}
        if _is_plain(value):
            return value
        if isinstance(value, np.generic):
            return self.config(value.item(), place)
        if isinstance(value, list | tuple | nn.ModuleList):
            return [self.config(item, f"{place}[{index}]") for index, item in enumerate(value)]
        if isinstance(value, slice):
            return {"slice": [value.start, value.stop, value.step]}
        if isinstance(value, Mapping):
            return {"mapping": [[key, self.config(item, f"{place}[{key!r}]")] for key, item in value.items()]}
        try:
            if isinstance(value, Tensor):
                return _tensor_config(value)
            if _is_function(value):
                return {"function": self._named(name_of_function(value), value)}
            if any(item is value for item in self._open):
                raise ValueError(f"{describe(value)} is an argument of itself")
            arguments = arguments_of(value)
            name = self._named(name_of_class(type(value)), type(value))
        except ValueError as error:
            raise ValueError(f"{place} cannot be saved: {error}") from error
        self._open.append(value)
        config = {"class": name, **{key: self.config(item, f"{place}.{key}") for key, item in arguments.items()}}
        self._open.pop()
        return config

    def _named(self, name: str, plugin: Any) -> str:
        if "." not in name and self.plugins.setdefault(name, plugin) is not plugin:
            raise ValueError(f"plug-ins must have different names, got two of the name {name}")
        return name


def _tensor_config(value: Tensor) -> dict[str, Any]:
    if value.numel() > MOST_ELEMENTS:
        raise ValueError(f"a tensor must have at most {MOST_ELEMENTS} elements, got shape {tuple(value.shape)}")
    dtype, is_parameter = str(value.dtype).removeprefix("torch."), isinstance(value, nn.Parameter)
    return {"tensor": value.detach().cpu().tolist(), "dtype": dtype, "parameter": is_parameter}


def _is_plain(value: Any) -> bool:
    return value is None or type(value) in (bool, int, float, str)


def _is_function(value: Any) -> bool:
    kinds = types.FunctionType | types.BuiltinFunctionType | types.MethodType | type
    return isinstance(value, kinds) or (not hasattr(value, "__dict__") and callable(value))


class _Decoder:
    """Construction of objects from a configuration.

    Args:
        plugins: The user's classes and functions by name.
    """

    def __init__(self, plugins: Mapping[str, Any]) -> None:
        self.plugins = plugins

    def value(self, config: Any, place: str) -> Any:
        """Return the value of a part of a configuration."""
        if isinstance(config, list):
            return tuple(self.value(item, f"{place}[{index}]") for index, item in enumerate(config))
        if _is_plain(config):
            return config
        kinds = [key for key in KINDS if key in config] if isinstance(config, dict) else []
        if len(kinds) != 1:
            raise _NamedError(f"{place} must have one of the keys {', '.join(KINDS)}, got {describe(config)}")
        try:
            if kinds == ["class"]:
                return self._object(config, place)
            if kinds == ["function"]:
                return self._function(config["function"])
            if kinds == ["slice"]:
                return slice(*config["slice"])
            if kinds == ["mapping"]:
                return {key: self.value(item, f"{place}[{key!r}]") for key, item in config["mapping"]}
            if kinds == ["number"]:
                return float(config["number"])
            return _tensor(config)
        except _NamedError:
            raise
        except RecursionError:
            raise
        except Exception as error:  # constructors raise errors of many types for wrong values
            raise _NamedError(f"{place}: {one_line(error)}") from error

    def _object(self, config: dict[str, Any], place: str) -> Any:
        kind = self._resolved(config["class"], known_classes(), "class")
        if not inspect.isclass(kind):
            raise ValueError(f"class {config['class']!r} must be a class, got {describe(kind)} in plugins")
        arguments = {name: self.value(item, f"{place}.{name}") for name, item in config.items() if name != "class"}
        positional: list[Any] = []
        for name, parameter in parameters_of(kind).items():
            if parameter.kind is parameter.VAR_POSITIONAL and name in arguments:
                positional = list(arguments.pop(name))
        return kind(*positional, **arguments)

    def _function(self, name: Any) -> Any:
        return self._resolved(name, FUNCTIONS, "function")

    def _resolved(self, name: Any, known: Mapping[str, Any], kind: str) -> Any:
        if not isinstance(name, str):
            raise ValueError(f"{kind} must be a name, got {describe(name)}")
        if name in known:
            return known[name]
        if name in self.plugins:
            return self.plugins[name]
        if "." in name:
            raise ValueError(f"{kind} {name!r} is not part of this library; it may be of a newer version")
        raise ValueError(f"{kind} {name!r} is not part of this library: pass plugins=[{name}], from your own program")


class _NamedError(ValueError):
    """An error that names its place in the configuration."""


def _tensor(config: Mapping[str, Any]) -> Tensor:
    dtypes = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "uint8", "bool")
    if config.get("dtype") not in dtypes:
        raise ValueError(f"dtype must be one of {', '.join(dtypes)}, got {config.get('dtype')!r}")
    tensor = torch.tensor(config["tensor"], dtype=getattr(torch, config["dtype"]))
    return nn.Parameter(tensor) if config.get("parameter") is True else tensor
