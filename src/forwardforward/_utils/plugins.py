"""Errors of plug-ins that are called, with the argument's name."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from forwardforward._utils.annotations import describe

__all__ = ["calling", "one_line"]

#: Errors with which Python and torch answer a call that the plug-in was not made for.
ERRORS = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError)


@contextlib.contextmanager
def calling(name: str, plugin: object, form: str, names_parts: bool = False) -> Iterator[None]:
    """Context manager around a plug-in's call, whose errors name the argument and the form that it must have.

    Args:
        name: Name of the argument.
        plugin: The plug-in.
        form: The call and its result, such as ``"(images, generator) -> images"``.
        names_parts: Whether a ValueError of this library's own plug-ins is unchanged, since it names their argument.

    Raises:
        ValueError: If the call raises one.
        TypeError: If it fails otherwise.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except ValueError as error:
        if names_parts and type(plugin).__module__.startswith("forwardforward."):
            raise
        raise ValueError(f"{name} {describe(plugin)}: {one_line(error)}") from error
    except ERRORS as error:
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise TypeError(f"{name} must be callable as {form}, got {describe(plugin)}, which raised {reason}") from error


def one_line(error: BaseException) -> str:
    """Return an error's message on one line; its type if there is none."""
    return " ".join((str(error) or type(error).__name__).split())
