"""Values as text: numbers, names and calls of the library's plug-ins, such as ``SymBa(alpha=2.0)``.

Only names of listed classes are looked up, and nothing else of Python is evaluated, so that text from a file that is
not trusted is as harmless as the arguments of these classes.
"""

from __future__ import annotations

import ast
import functools
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from forwardforward._utils.annotations import describe
from forwardforward._utils.plugins import one_line
from forwardforward._utils.suggestions import did_you_mean

__all__ = ["canonical", "evaluate"]

#: Longest text, far above that of any recipe.
LONGEST = 2000

#: Of more names, a message lists none but a similar one.
MOST_NAMES = 20

#: Words of TOML and JSON beside Python's.
CONSTANTS = {"true": True, "false": False, "none": None, "null": None}


def canonical(text: str) -> str:
    """Return the text of a value in one form, by which equal values are recognized.

    Args:
        text: The text.

    Raises:
        ValueError: If it is not a value.

    Example:
        >>> canonical("SymBa( alpha=2.50 )"), canonical("500,500")
        ('SymBa(alpha=2.5)', '(500, 500)')
    """
    return ast.unparse(_parsed(text))


def evaluate(text: str, names: Mapping[str, Any], nested: Mapping[str, Any], classes: Iterable[type] = ()) -> Any:
    """Return the value of a text.

    A class whose constructor begins with ``num_classes`` is a factory: its name stands for the class, and a call
    without ``num_classes`` for a function of it. The name of every other class stands for an instance.

    Args:
        text: The text.
        names: Classes and words that the whole text may begin with.
        nested: Classes that arguments may name.
        classes: Classes whose names stand for themselves, such as optimizers; their calls set options of later calls.

    Raises:
        ValueError: If the text is not a value, or a name is unknown.
        TypeError: If a class does not take the arguments.

    Example:
        >>> from forwardforward.losses import SymBa
        >>> evaluate("SymBa(alpha=2.0)", {"SymBa": SymBa}, {})
        SymBa(alpha=2.0)
    """
    reader = _Reader(nested, frozenset(classes))
    return reader.value(_parsed(text), names)


def _parsed(text: str) -> ast.expr:
    if len(text) > LONGEST:
        raise ValueError(f"a value must have at most {LONGEST} characters, got {len(text)}")
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):  # the parser's answers to other and to deep texts
        raise ValueError(f"a value must be a number, a name or a call such as SymBa(alpha=2.0), got {text!r}") from None


class _Reader:
    """Evaluates syntax trees.

    Args:
        nested: Classes that arguments may name.
        classes: Classes whose names stand for themselves.
    """

    def __init__(self, nested: Mapping[str, Any], classes: frozenset[type]) -> None:
        self.nested = {"slice": slice, **nested}
        self.classes = classes

    def value(self, node: ast.expr, names: Mapping[str, Any]) -> Any:
        """Return the value of a syntax tree.

        Args:
            node: The tree.
            names: Classes and words that it may name.
        """
        if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float | str | None):
            return node.value
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            number = self.value(node.operand, {})
            if isinstance(number, int | float) and not isinstance(number, bool):
                return -number if isinstance(node.op, ast.USub) else number
        if isinstance(node, ast.Tuple | ast.List):
            values = [self.value(item, self.nested) for item in node.elts]
            return tuple(values) if isinstance(node, ast.Tuple) else values
        if isinstance(node, ast.Dict) and None not in node.keys:
            keys = [self.value(key, {}) for key in node.keys if key is not None]
            return dict(zip(keys, (self.value(item, self.nested) for item in node.values), strict=True))
        if isinstance(node, ast.Name):
            return self._named(node.id, names)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            return self._called(node, names)
        raise ValueError(f"it must be a number, a name or a call of a plug-in, got {_shortened(node)}")

    def _named(self, name: str, names: Mapping[str, Any]) -> Any:
        if name in CONSTANTS:
            return CONSTANTS[name]
        value = self._known(name, names)
        if not isinstance(value, type) or value in self.classes or _is_factory(value):
            return value
        return _made(value, name, (), {})

    def _called(self, node: ast.Call, names: Mapping[str, Any]) -> Any:
        assert isinstance(node.func, ast.Name)
        name = node.func.id
        kind = self._known(name, names)
        if not isinstance(kind, type):
            raise ValueError(f"it must be {name} without arguments, got {_shortened(node)}")
        # tables of recipes show what a factory is called with later as "..."
        arguments = [item for item in node.args if not (isinstance(item, ast.Constant) and item.value is ...)]
        positional = [self.value(argument, self.nested) for argument in arguments]
        keywords: dict[str, Any] = {}
        for keyword in node.keywords:
            if keyword.arg is None:
                raise ValueError(f"it must name each argument, got {_shortened(node)}")
            keywords[keyword.arg] = self.value(keyword.value, self.nested)
        if not _takes_any(kind) and (unknown := [key for key in keywords if key not in _parameters(kind)]):
            takes = ", ".join(_parameters(kind)) or "no arguments"
            raise ValueError(f"{name} takes {takes}, got {unknown[0]}{did_you_mean(unknown[0], _parameters(kind))}")
        if kind in self.classes or (_is_factory(kind) and not positional and "num_classes" not in keywords):
            return functools.partial(kind, *positional, **keywords) if positional or keywords else kind
        return _made(kind, name, tuple(positional), keywords)

    def _known(self, name: str, names: Mapping[str, Any]) -> Any:
        if name not in names:
            listed = (
                "a number" if not names else f"one of {', '.join(names)}" if len(names) <= MOST_NAMES else "a plug-in"
            )
            raise ValueError(f"it must be {listed}, got {name}{did_you_mean(name, names)}")
        return names[name]


def _made(kind: type, name: str, positional: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    try:
        return kind(*positional, **keywords)
    except TypeError as error:
        raise TypeError(f"{name}: {one_line(error).replace(f'{kind.__qualname__}.__init__() ', '')}") from error
    except ValueError as error:
        raise ValueError(f"{name}: {one_line(error)}") from error


@functools.cache
def _parameters(kind: type) -> tuple[str, ...]:
    """Return the names of a class's arguments."""
    return tuple(inspect.signature(kind).parameters) if kind is not slice else ()


def _takes_any(kind: type) -> bool:
    return kind is slice or any(
        parameter.kind is parameter.VAR_KEYWORD for parameter in inspect.signature(kind).parameters.values()
    )


def _is_factory(kind: type) -> bool:
    return _parameters(kind)[:1] == ("num_classes",)


def _shortened(node: ast.expr) -> str:
    return describe(ast.unparse(node))
