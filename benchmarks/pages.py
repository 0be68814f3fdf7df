"""Files that the benchmarks write: results, and the generated parts of the documentation's pages."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

__all__ = ["ROOT", "filled", "relative", "write"]

#: Root of the repository.
ROOT = Path(__file__).parents[1]


def write(path: Path, text: str) -> None:
    """Write a text file completely or not at all, and its folder if it does not exist.

    Args:
        path: The file.
        text: Its content.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


def filled(page: Path, name: str, content: str | Callable[[str], str]) -> str:
    """Return a page's text with the content between ``<!-- NAME:begin -->`` and ``<!-- NAME:end -->``.

    Args:
        page: The page.
        name: Name of the markers.
        content: The content, or a function of the words in the first marker, ``<!-- NAME:begin WORDS -->``.

    Raises:
        ValueError: If the page does not contain each marker once, in this order.
    """
    text = page.read_text(encoding="utf-8")
    begins = list(re.finditer(rf"<!-- {re.escape(name)}:begin ?(?P<words>[^>]*?) ?-->\n", text))
    end = f"<!-- {name}:end -->"
    if len(begins) != 1 or text.count(end) != 1 or text.index(end) < begins[0].end():
        raise ValueError(
            f"{relative(page)} must contain <!-- {name}:begin --> and, after it, {end}, once each, on their own lines"
        )
    block = content if isinstance(content, str) else content(begins[0]["words"])
    return f"{text[: begins[0].end()]}{block.rstrip()}\n{text[text.index(end) :]}"


def relative(path: Path) -> Path:
    """Return a path relative to the repository's root, or unchanged if it is elsewhere."""
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
