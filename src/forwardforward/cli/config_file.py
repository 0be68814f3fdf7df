"""Settings of a training in a TOML file, as words of the command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from forwardforward._utils.annotations import describe
from forwardforward._utils.suggestions import did_you_mean
from forwardforward.recipes.fields import MAPPINGS, SETTABLE

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["words_of_file"]

#: Options that concern one call of the program rather than the training.
NOT_IN_FILES = ("help", "config", "set", "resume", "json", "no_progress")


def words_of_file(path: str, parser: argparse.ArgumentParser) -> list[str]:
    """Return the settings of a file as words of the command line.

    Keys are options of the command by their long names, and fields of a recipe.

    Args:
        path: The file.
        parser: The command's parser, whose options the file may set.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not TOML, or a key is unknown or of a wrong type.
    """
    if not Path(path).exists() or Path(path).is_dir():  # a pipe is read too
        raise FileNotFoundError(f"--config: there is no file {path!r}")
    try:
        settings = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:  # also of another encoding
        raise ValueError(f"{path} must be a file in TOML: {error}") from error
    options = {action.dest: action for action in parser._actions if action.dest not in NOT_IN_FILES}
    words: list[str] = []
    for key, value in settings.items():
        name = key.replace("-", "_")
        if name != key and name in settings:
            raise ValueError(f"{path}: {key} and {name} are one setting")
        if name == "data" and str(value).startswith("-"):
            raise ValueError(f"{path}: data must be the name of a data set or the path of an .npz file, got {value!r}")
        if name == "data":  # first, where it is known from the values of options
            words[:0] = _option(f"{path}: {key}", options[name], value)
        elif name in options:
            words += _option(f"{path}: {key}", options[name], value)
        elif name in SETTABLE:
            words += [word for text in _fields(f"{path}: {key}", name, value) for word in ("--set", text)]
        else:
            names = [*options, *(field for field in SETTABLE if field not in options)]
            hint = did_you_mean(name, names) or f"; it must be one of {', '.join(names)}"
            raise ValueError(f"{path}: {key} is neither an option of train nor a field of a recipe{hint}")
    return words


def _option(name: str, action: argparse.Action, value: Any) -> list[str]:
    """Return the words of one option."""
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise ValueError(f"{name} must be true or false, got {describe(value)}")
        return list(action.option_strings[:1]) if value else []
    if isinstance(value, list) and isinstance(action, argparse._AppendAction):
        return [word for item in value for word in _option(name, action, item)]
    if isinstance(value, list) and all(isinstance(item, int) for item in value):
        value = ",".join(map(str, value))
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{name} must be a number or a string, got {describe(value)}")
    return [f"{action.option_strings[0]}={value}"] if action.option_strings else [str(value)]


def _fields(name: str, field: str, value: Any) -> Iterator[str]:
    """Yield the assignments of one field; a table of options sets its entries one by one."""
    if isinstance(value, Mapping) and field.split(".")[0] in MAPPINGS:
        for key, entry in value.items():
            yield from _fields(f"{name}.{key}", f"{field}.{key}", entry)
    else:
        yield f"{field}={_text(name, value)}"


def _text(name: str, value: Any) -> str:
    if isinstance(value, list):
        return f"({', '.join(_text(name, item) for item in value)},)" if value else "()"
    if not isinstance(value, str | int | float):
        raise ValueError(f"{name} must be a number, a string or an array, got {describe(value)}")
    return value if isinstance(value, str) else repr(value)
