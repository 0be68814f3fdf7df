"""Tables of figures for standard output."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def print_errors(figures: dict[str, Any]) -> None:
    """Print the errors of the layers, the one-pass head and the model.

    Args:
        figures: ``data``, ``recipe``, ``measured_on`` (``"test"`` or ``"validation"``), the model's ``test_error`` or
            ``validation_error``, ``layer_errors``, ``head_error``, and the ``metric`` and ``unit`` of the errors.
    """
    split = figures["measured_on"]
    rows = [(f"layer {index}", error) for index, error in enumerate(figures["layer_errors"] or [])]
    rows += [] if figures["head_error"] is None else [("one-pass head", figures["head_error"])]
    rows += [("model", figures[f"{split}_error"])]
    print(f"{figures['recipe']} on {Path(figures['data']).name}: {split} {figures['metric']}")
    for name, error in rows:
        print(f"  {name:<14}{error:6.2f} {figures['unit']}".rstrip())
