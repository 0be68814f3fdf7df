"""Figures as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def table(figures: Mapping[str, Any]) -> str:
    """Return the errors of layers, head and model as aligned lines.

    Args:
        figures: ``test_error`` or ``validation_error``, ``layer_errors`` and ``head_error``, in percent, as in
            ``summary.json``.
    """
    part = "test" if figures["test_error"] is not None else "validation"
    rows = [(f"layer {i}", error) for i, error in enumerate(figures["layer_errors"] or (), 1)]
    if figures["head_error"] is not None:
        rows.append(("one-pass head", figures["head_error"]))
    rows.append(("model", figures[f"{part}_error"]))
    title = f"{part} error"
    width = max(len(title), 7)
    lines = [f"{'':<13}  {title:>{width}}"]
    lines += [f"{name:<13}  {f'{error:.2f} %':>{width}}" for name, error in rows]
    return "\n".join(lines)
