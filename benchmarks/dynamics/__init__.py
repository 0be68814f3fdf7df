"""Training dynamics of Forward-Forward networks (Adamson, arXiv 2504.11229): accuracy of layers and model over epochs.

``STUDIES`` is the study for the runner of all studies, see :mod:`benchmarks.dynamics.study`.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """Return ``STUDIES``; its module is imported at its first use, since the study alone does not need the runner."""
    if name == "STUDIES":
        from benchmarks.dynamics.study import STUDIES

        return STUDIES
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
