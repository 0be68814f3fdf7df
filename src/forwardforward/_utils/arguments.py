"""Checks of arguments by their annotations: a decorator for constructors and functions, and types of numbers.

``@checked`` reads the annotations of a function, or of a class's constructor, and checks every argument in each call:
its type, the range of an ``Annotated`` number, the elements of a sequence and, of a callable, the number of its
arguments. A ``TypeError`` reports a wrong type and a ``ValueError`` a wrong value; both begin with the argument's name.
Whole numbers become Python's ``int`` and numpy's floating-point numbers Python's ``float``, so that they can be saved
and printed.
"""

from __future__ import annotations

import functools
import inspect
import os
import typing
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from forwardforward._utils.annotations import Check, Range, checks_of
from forwardforward._utils.suggestions import did_you_mean

__all__ = [
    "Fraction",
    "NonNegativeFloat",
    "NonNegativeInt",
    "NumClasses",
    "NumEmbeddings",
    "OpenFraction",
    "PoolSize",
    "PositiveFloat",
    "PositiveFraction",
    "PositiveInt",
    "Probability",
    "Range",
    "StrPath",
    "checked",
]

F = TypeVar("F", bound=Callable[..., Any])

PositiveInt = Annotated[int, Range(1)]
NonNegativeInt = Annotated[int, Range(0)]
NumClasses = Annotated[int, Range(2)]
#: With the padding.
NumEmbeddings = Annotated[int, Range(2, 2**31)]
#: Side of a patch or number of patches; torch's pools do not take numbers of 32 bits.
PoolSize = Annotated[int, Range(1, 2**12)]
PositiveFloat = Annotated[float, Range(above=0)]
NonNegativeFloat = Annotated[float, Range(0)]
#: From 0 to 1.
Fraction = Annotated[float, Range(0, 1)]
#: From 0 to below 1, such as the probability of a dropout.
Probability = Annotated[float, Range(0, below=1)]
#: Above 0, to 1.
PositiveFraction = Annotated[float, Range(above=0, highest=1)]
#: Above 0 and below 1.
OpenFraction = Annotated[float, Range(above=0, below=1)]
StrPath = str | os.PathLike[str]


def checked(target: F) -> F:
    """Check the arguments of a function, or of a class's constructor, by their annotations.

    Arguments in ``**kwargs`` are not checked, nor are those annotated with ``Any``.

    Args:
        target: The function or class.
    """
    if isinstance(target, type):
        target.__init__ = _wrapped(target.__init__)  # type: ignore[misc]
        return target
    return typing.cast(F, _wrapped(target))


def _wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(function)
    takes_others = any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.parameters.values())
    checks: dict[str, Check] = {}

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError:
            unknown = [] if takes_others else [name for name in kwargs if name not in signature.parameters]
            if unknown:
                raise TypeError(
                    f"{function.__qualname__.removesuffix('.__init__')}() got an unexpected keyword argument "
                    f"{unknown[0]!r}{did_you_mean(unknown[0], signature.parameters)}"
                ) from None
            return function(*args, **kwargs)  # Python's error names the argument
        if not checks:  # at the first call, since annotations may name classes that are defined below
            checks.update(checks_of(function, signature))
        for name, value in bound.arguments.items():
            if name in checks and value is not signature.parameters[name].default:
                bound.arguments[name] = checks[name](name, value)
        return function(*bound.args, **bound.kwargs)

    return call
