"""Figures that do not change matplotlib's global state."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from forwardforward._utils.arguments import StrPath
from forwardforward._utils.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of the given size in inches.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install matplotlib") from error
    return Figure(figsize=(width, height), layout="constrained")


def save(figure: Any, path: StrPath | None) -> None:
    """Save the figure if a path is given, completely or not at all."""
    if path is not None:
        with replacing(path, "wb") as file:
            figure.savefig(file, dpi=110, format=Path(path).suffix[1:] or None)
