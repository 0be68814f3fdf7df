"""Sphinx extension that shortens the types in signatures: the base of ``Annotated`` types, and aliases by name.

The descriptions of the parameters below them keep the ranges.
"""

from __future__ import annotations

import re
from typing import Any

from sphinx.util.inspect import TypeAliasForwardRef

ANNOTATED = re.compile(r"~?(?:\w+\.)*Annotated\[")


def shortened(signature: str) -> str:
    """Return a signature with ``T`` in place of ``Annotated[T, ...]``.

    >>> shortened("(size: ~types.Annotated[~torch.Size | None, Range(0, [1])] = 2, name: str = 'a')")
    "(size: ~torch.Size | None = 2, name: str = 'a')"
    """
    while match := ANNOTATED.search(signature):
        depth, base = 0, None
        for index in range(match.end(), len(signature)):
            if signature[index] in "[(":
                depth += 1
            elif signature[index] in "])":
                if depth == 0:
                    break
                depth -= 1
            elif signature[index] == "," and depth == 0 and base is None:
                base = signature[match.end() : index]
        signature = f"{signature[: match.start()]}{base}{signature[index + 1 :]}"
    return signature


def _shorten(
    app: Any, what: str, name: str, obj: Any, options: Any, signature: str | None, returned: str | None
) -> tuple[str | None, str | None]:
    return (shortened(signature) if signature else signature), (shortened(returned) if returned else returned)


def setup(app: Any) -> dict[str, bool]:
    """Register the extension with Sphinx."""
    # Sphinx shows an alias by its name only where it is not part of a union.
    TypeAliasForwardRef.__repr__ = lambda alias: alias.name
    app.connect("autodoc-process-signature", _shorten)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
