"""Suggestions for misspelt names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["did_you_mean"]


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return ": did you mean 'symba'?" with the most similar name, or nothing if none is similar.

    Args:
        name: The name that is unknown.
        names: The names that are known.
    """
    # by their lower case, since "MNIST" has no letter in common with "mnist"
    known = {known.lower(): known for known in names}
    nearest = difflib.get_close_matches(name.lower(), known, n=1)
    return f": did you mean {known[nearest[0]]!r}?" if nearest else ""
