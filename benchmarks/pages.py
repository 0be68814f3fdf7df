"""What commands write on the pages of the documentation: tables and pictures, between markers."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

__all__ = ["ROOT", "filled", "near"]

ROOT = Path(__file__).parents[1]


def filled(page: Path, name: str, content: str | Callable[[str], str]) -> str:
    """Return a page's text with the content between ``<!-- NAME:begin -->`` and ``<!-- NAME:end -->``.

    Args:
        page: The page.
        name: What the markers are called.
        content: What to put there, or a function of the first marker's own words, ``<!-- NAME:begin WORDS -->``.

    Raises:
        ValueError: If the markers are not there, once each and in order.
    """
    text = page.read_text(encoding="utf-8")
    begins = list(re.finditer(rf"<!-- {re.escape(name)}:begin ?(?P<words>[^>]*?) ?-->\n", text))
    end = f"<!-- {name}:end -->"
    if len(begins) != 1 or text.count(end) != 1 or text.index(end) < begins[0].end():
        raise ValueError(
            f"{near(page)} must hold <!-- {name}:begin --> and, after it, {end}, once each, on their own lines"
        )
    made = content if isinstance(content, str) else content(begins[0]["words"])
    return f"{text[: begins[0].end()]}{made.rstrip()}\n{text[text.index(end) :]}"


def near(path: Path) -> Path:
    """Return a path as seen from the repository's root, where it lies under it."""
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
