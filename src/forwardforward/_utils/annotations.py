"""Checks of values by annotations: types, ranges of numbers, elements of sequences and the arguments of callables."""

from __future__ import annotations

import collections.abc
import inspect
import math
import operator
import os
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["Check", "Range", "check_plugin", "checks_of", "describe"]

LONGEST = 80  # characters of a value in a message
LONGEST_NAME = 255  # of a file, in most file systems
LONGEST_RANGE = 2**20  # a range may have more elements than fit into memory


@dataclass(frozen=True)
class Range:
    """The numbers that an argument accepts.

    Attributes:
        lowest: Smallest number.
        highest: Largest number.
        above: Number that it must exceed.
        below: Number that it must not reach.
        finite: Whether infinity is refused. NaN always is.
    """

    lowest: float | None = None
    highest: float | None = None
    above: float | None = None
    below: float | None = None
    finite: bool = True

    def __contains__(self, number: float) -> bool:
        """Return whether the range contains a number."""
        return (
            (self.lowest is None or number >= self.lowest)
            and (self.highest is None or number <= self.highest)
            and (self.above is None or number > self.above)
            and (self.below is None or number < self.below)
        )

    def __str__(self) -> str:
        """Return the range after "must be"."""
        low = self.lowest if self.above is None else self.above
        high = self.highest if self.below is None else self.below
        if high is None:
            return "positive" if self.above == 0 else f"above {low}" if self.lowest is None else f"at least {low}"
        if low is None:
            return f"at most {high}" if self.below is None else f"below {high}"
        return f"in {'[' if self.above is None else '('}{low}, {high}{']' if self.below is None else ')'}"


class _MismatchError(Exception):
    """A value is not of the type that a check accepts."""

    def __init__(self, error: type[TypeError | ValueError] = TypeError) -> None:
        self.error = error


class Check(NamedTuple):
    """A check of a value by an annotation.

    Attributes:
        expected: The accepted values, after "must be".
        check: ``check(name, value)`` returns the value, and raises a ``_MismatchError`` for a value of another type or
            a ``TypeError`` or ``ValueError`` with a message of its own.
    """

    expected: str
    check: Callable[[str, Any], Any]

    def __call__(self, name: str, value: Any) -> Any:
        try:
            return self.check(name, value)
        except _MismatchError as mismatch:
            raise mismatch.error(f"{name} must be {self.expected}, got {describe(value)}") from None


def checks_of(function: Callable[..., Any], signature: inspect.Signature) -> dict[str, Check]:
    annotations = {name: hint for name, hint in function.__annotations__.items() if name != "return"}
    scope = inspect.unwrap(function).__globals__  # names of the returned type may exist for type checkers only
    hints = typing.get_type_hints(types.SimpleNamespace(__annotations__=annotations), scope, include_extras=True)
    checks = {}
    for name, parameter in signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD or (check := check_for(hints.get(name, Any))) is None:
            continue
        checks[name] = _arguments(check) if parameter.kind is parameter.VAR_POSITIONAL else check
    return checks


def check_for(hint: Any) -> Check | None:
    """Return the check of an annotation, None for an annotation that accepts everything."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:  # a class, from Python 3.11 on
        return None
    if origin is Annotated:
        limits = next((item for item in arguments[1:] if isinstance(item, Range)), Range())
        check = _number(arguments[0], limits) if arguments[0] in (int, float) else check_for(arguments[0])
        example = next((item for item in arguments[1:] if isinstance(item, str)), None)
        return check if check is None or example is None else Check(f"{check.expected}, such as {example}", check.check)
    if hint in (int, float):
        return _number(hint, Range())
    if origin in (Union, types.UnionType):
        members = [member for member in arguments if member is not str or torch.device not in arguments]
        is_path = [(typing.get_origin(member) or member) in (os.PathLike, Path) for member in members]
        return _union(
            [
                Check("a path" if path else "a string", _checked_path)
                if path or (any(is_path) and member is str)
                else check_for(member)
                for member, path in zip(members, is_path, strict=True)
            ]
        )
    if hint is torch.device:
        return DEVICE
    if origin is Literal:
        return _literal(arguments)
    if origin is collections.abc.Callable:
        return _callable(*arguments)
    if origin is tuple and arguments[-1] is not ...:
        return _fixed_tuple([check_for(argument) for argument in arguments])
    kind = hint if origin is None else origin
    if kind in (Any, object, type) or not isinstance(kind, type):
        return None
    if issubclass(kind, collections.abc.Mapping):
        return _mapping(*map(check_for, arguments))
    if issubclass(kind, collections.abc.Sequence | collections.abc.Set) and kind not in (str, bytes, range):
        return _sequence(kind, check_for(arguments[0]) if arguments else None)
    if kind in ITERABLES:
        return _iterable(kind, check_for(arguments[0]) if arguments else None)
    if getattr(kind, "_is_protocol", False) and not getattr(kind, "_is_runtime_protocol", False):
        return _callable(..., None) if "__call__" in vars(kind) else None  # instances only
    return _instance(kind)


def _number(kind: type, limits: Range) -> Check:
    def check(name: str, value: Any) -> Any:
        number = _as_int(value) if kind is int else _as_float(value)
        if number is None:
            raise _MismatchError
        if number != number or (limits.finite and number in (math.inf, -math.inf)):
            raise ValueError(f"{name} must be a finite number, got {describe(value)}")
        if kind is int and not -(2**63) <= number < 2**63:
            raise ValueError(f"{name} must be a whole number of at most 64 bits, got {describe(number)}")
        if number not in limits:
            raise ValueError(f"{name} must be {limits}, got {describe(number)}")
        return number

    return Check("a whole number" if kind is int else "a number", check)


def _as_int(value: Any) -> int | None:
    if isinstance(value, bool | np.bool_) or (isinstance(value, Tensor) and value.dtype == torch.bool):
        return None
    try:
        return operator.index(value)
    except (TypeError, RuntimeError):  # a tensor on the device "meta" has no value
        return None


def _as_float(value: Any) -> float | None:
    if isinstance(value, np.floating | np.integer):
        value = value.item()
    if isinstance(value, int) and not isinstance(value, bool):
        # torch takes no whole numbers of more than 64 bits
        return value if abs(value) < 2**53 else float(value) if value.bit_length() < 1024 else math.inf
    return value if isinstance(value, float) else None


def _union(members: Sequence[Check | None]) -> Check | None:
    checks = [member for member in members if member is not None]
    if len(checks) < len(members):
        return None

    def check(name: str, value: Any) -> Any:
        error: type[TypeError | ValueError] = TypeError
        message: Exception | None = None
        for member in checks:
            try:
                return member.check(name, value)
            except _MismatchError as mismatch:
                error = mismatch.error if error is TypeError else error
            except (TypeError, ValueError) as specific:
                message = message or specific
        if message is not None:
            raise message
        raise _MismatchError(error)

    return Check(_listed([member.expected for member in checks]), check)


def _literal(values: Sequence[Any]) -> Check:
    def check(name: str, value: Any) -> Any:
        if not any(type(value) is type(item) and value == item for item in values):
            raise _MismatchError(ValueError if isinstance(value, str) else TypeError)
        return value

    return Check(_listed([repr(value) for value in values]), check)


def _callable(parameters: Any, result: Any) -> Check:
    result = typing.get_origin(result) or result

    def check(name: str, value: Any) -> Any:
        if isinstance(value, type):
            if result is not Any and not (isinstance(result, type) and issubclass(value, result)):
                raise _class_error(name, value)
            return value
        if not callable(value):
            raise _MismatchError
        check_plugin(name, value)
        if isinstance(value, nn.Module) and type(value).forward is nn.Module.forward:
            raise TypeError(f"{name} must be a module with a forward method, got {describe(value)}")
        if parameters is not ...:
            _check_arity(name, value, len(parameters))
        return value

    return Check("callable", check)


def _check_arity(name: str, value: Any, count: int) -> None:
    try:
        signature = inspect.signature(value.forward if isinstance(value, nn.Module) else value)
    except (ValueError, TypeError):  # some built-in functions have none
        return
    try:
        signature.bind(*range(count))
    except TypeError:
        arguments = f"{count} argument{'s' * (count != 1)}"
        raise TypeError(f"{name} must be callable with {arguments}, got {describe(value)} with {signature}") from None


def _class_error(name: str, value: type) -> TypeError:
    return TypeError(f"{name} must be an instance, such as {value.__name__}(...), got the class")


def _arguments(element: Check) -> Check:
    """Return the check of positional arguments of any number."""

    def check(name: str, values: Any) -> Any:
        if len(values) == 1 and isinstance(values[0], list | tuple):
            raise TypeError(f"{name} must be separate arguments, as in f(*{name}), got {describe(values[0])}")
        return tuple(_checked_elements(name, values, [element] * len(values)))

    return Check(element.expected, check)


def _fixed_tuple(elements: Sequence[Check | None]) -> Check:
    def check(name: str, value: Any) -> Any:
        if not isinstance(value, tuple | list) or len(value) != len(elements):
            raise _MismatchError
        return tuple(_checked_elements(name, value, elements))

    same = len({element.expected for element in elements if element is not None}) == 1
    number = "a pair" if len(elements) == 2 else f"{len(elements)} values"
    return Check(number + _of(elements[0] if same else None), check)


#: What a check of these classes expects.
ITERABLES = {collections.abc.Iterable: "an iterable", collections.abc.Collection: "a collection"}


def _iterable(kind: type[Any], element: Check | None) -> Check:
    def check(name: str, value: Any) -> Any:
        # A string is an iterable of strings, but rarely the one that was meant.
        if not isinstance(value, kind) or isinstance(value, str | bytes) or getattr(value, "shape", None) == ():
            raise _MismatchError
        if isinstance(value, collections.abc.Sequence | np.ndarray | Tensor):  # others may be iterators
            _checked_elements(name, value, [element] * len(value))
        return value

    return Check(f"{ITERABLES[kind]}{_of(element)}", check)


def _sequence(kind: type[Any], element: Check | None) -> Check:
    accepted: Any = (tuple, list, range) if kind is tuple else kind  # a tuple can be made of the others

    def check(name: str, value: Any) -> Any:
        if isinstance(value, np.ndarray) and value.ndim == 1:
            value = value.tolist()
        if not isinstance(value, accepted) or isinstance(value, str | bytes):
            raise _MismatchError
        if isinstance(value, range) and value[LONGEST_RANGE:]:
            raise ValueError(f"{name} must have at most {LONGEST_RANGE} elements, got {value}")
        values = _checked_elements(name, value, [element] * len(value))
        if kind is tuple:
            return tuple(values)
        return type(value)(values) if type(value) in (list, tuple) else value

    noun = "sequence" if kind in (tuple, collections.abc.Sequence) else kind.__name__.lower()
    return Check(f"a {noun}{_of(element)}", check)


def _of(element: Check | None) -> str:
    """Return "of ..." with the plural of what a check expects."""
    if element is None:
        return ""
    noun = element.expected.removeprefix("an ").removeprefix("a ")
    return f" of {noun.replace('instance of', 'instances of') if noun.startswith('instance of') else f'{noun}s'}"


def _checked_elements(name: str, values: Iterable[Any], checks: Sequence[Check | None]) -> list[Any]:
    return [
        value if check is None else check(f"{name}[{index}]", value)
        for index, (value, check) in enumerate(zip(values, checks, strict=True))
    ]


def _mapping(key_check: Check | None = None, value_check: Check | None = None) -> Check:
    def check(name: str, value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise _MismatchError
        for key, item in value.items():
            if key_check is not None:
                key_check(f"every key of {name}", key)
            if value_check is not None:
                value_check(f"{name}[{key!r}]", item)
        return value

    return Check("a dictionary", check)


def _checked_device(name: str, value: Any) -> Any:
    if not isinstance(value, torch.device | str):
        raise _MismatchError
    try:
        torch.device(value)
    except RuntimeError:
        raise ValueError(f"{name} must be a device, such as 'cpu' or 'cuda', got {describe(value)}") from None
    return value


def _checked_path(name: str, value: Any) -> Any:
    if not isinstance(value, str | os.PathLike):
        raise _MismatchError
    text = os.fsencode(value)
    if b"\0" in text:
        raise ValueError(f"{name} must be a path without null characters, got {describe(value)}")
    if any(len(part) > LONGEST_NAME for part in Path(os.fsdecode(text)).parts):
        raise ValueError(f"{name} must be a path of names of at most {LONGEST_NAME} characters, got {describe(value)}")
    return value


#: Of a device or its name.
DEVICE = Check("a device", _checked_device)

#: What a check of these classes expects.
NOUNS = {
    bool: "True or False",
    str: "a string",
    type(None): "None",
    Tensor: "a tensor",
    np.ndarray: "an array",
    nn.Module: "a module",
    slice: "a slice",
    os.PathLike: "a path",
}


def _instance(kind: type) -> Check:
    def check(name: str, value: Any) -> Any:
        if isinstance(value, type) and (kind in value.__mro__ or isinstance(value, kind)):
            raise _class_error(name, value)  # a class of any kind has the methods of some protocols
        if kind is bool and isinstance(value, np.bool_):
            return bool(value)
        if not isinstance(value, kind):
            raise _MismatchError
        if isinstance(value, Tensor) and value.layout != torch.strided:
            raise TypeError(f"{name} must be a dense tensor, got one of layout {value.layout}")
        check_plugin(name, value)
        return value

    return Check(NOUNS.get(kind, f"an instance of {kind.__name__}"), check)


def check_plugin(name: str, value: object) -> None:
    """Check that a plug-in is initialized and complete.

    Args:
        name: Name of the argument, for the message.
        value: The plug-in; objects of other classes are accepted.

    Raises:
        TypeError: If a module's constructor did not call ``super().__init__()``, or an abstract method is missing.
    """
    kind: type[Any] = type(value)
    if isinstance(value, nn.Module) and not hasattr(value, "_modules"):
        raise TypeError(f"{name} must call super().__init__() in its constructor, got {kind.__name__}")
    for method in _abstract_methods(kind):
        parameters = list(inspect.signature(getattr(kind, method)).parameters)[1:]
        raise TypeError(f"{name} must implement {method}({', '.join(parameters)}), got {kind.__name__} without it")


def _abstract_methods(kind: type[Any]) -> tuple[str, ...]:
    """Return the methods that this library declares with ``abstractmethod`` and a class does not implement."""
    if not any(base.__module__.startswith("forwardforward.") for base in kind.__mro__):
        return ()
    return tuple(name for name in dir(kind) if getattr(getattr(kind, name, None), "__isabstractmethod__", False))


def _listed(words: Sequence[str]) -> str:
    *others, last = dict.fromkeys(words)
    return f"{', '.join(others)} or {last}" if others else last


def describe(value: object) -> str:
    """Return a short description of a value on one line, for a message."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, Tensor):
        return f"a tensor of {value.dtype} and shape {tuple(value.shape)}"
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} and shape {value.shape}"
    if isinstance(value, types.FunctionType):
        return f"the function {value.__name__}"
    if isinstance(value, int) and value.bit_length() > 256:
        return f"a whole number of {value.bit_length()} bits"
    try:
        text = repr(value)
    except Exception:  # of a user's class, or of a number with thousands of digits
        return f"an object of type {type(value).__name__}"
    if isinstance(value, str | bytes | list | tuple | dict | set | frozenset):
        text = " ".join(text.split())
        return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
    is_short = len(text) <= LONGEST and "\n" not in text and " at 0x" not in text
    if isinstance(value, nn.Module) and not is_short:
        return f"{type(value).__name__}(...)"
    return text if is_short else f"an object of type {type(value).__name__}"
