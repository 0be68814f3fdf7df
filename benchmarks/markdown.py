"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["table"]


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], numbers: bool = True) -> str:
    """Return a table.

    Args:
        columns: The headings.
        rows: The cells.
        numbers: Whether all columns but the first are numbers, which are aligned to the right.
    """
    lines = [columns, ["---", *["--:" if numbers else "---"] * (len(columns) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
