"""The model card: a README with the facts on a saved model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

__all__ = ["MARK", "model_card"]

#: Marks a card that was written by this library, and may be replaced.
MARK = "<!-- written by forwardforward; remove this line to keep your changes -->"

#: What raw images are, in the table of a model.
IMAGES = ", raw: uint8 from 0 to 255, or floats from 0 to 1"


def model_card(model: nn.Module, class_names: Sequence[str] | None, facts: Mapping[str, Any]) -> str:
    """Return the text of the card.

    Args:
        model: The model.
        class_names: Names of its classes, or None.
        facts: Rows of the table on the training.
    """
    shape = getattr(model, "input_shape", None)
    rows = {
        "class": type(model).__name__,
        "parameters": f"{sum(p.numel() for p in model.parameters()):,}",
        "input": "unknown" if shape is None else f"{tuple(shape)}{'' if len(shape) == 1 else IMAGES}",
        "classes": ", ".join(class_names) if class_names else getattr(model, "num_classes", None),
    }
    if getattr(model, "num_embeddings", None) is not None:
        rows["input"] = f"{shape}, indices of a table of {model.num_embeddings} vectors"
    sections = [
        "---\nlibrary_name: forwardforward\ntags:\n- forward-forward\n- pytorch\n---",
        MARK,
        f"# {facts.get('name') or 'A Forward-Forward network'}",
        "A network whose layers learn from local objectives, trained with `forwardforward`."
        if type(model).__name__ == "FFSequential"
        else "A network trained with `forwardforward`.",
        "```python\nimport forwardforward as ff\n\n"
        f'model = ff.{_public_name(model)}.from_pretrained("FOLDER")  # this folder, or "user/name" on the hub\n'
        "model.predict(inputs)\n```",
        "## Model\n\n" + _table(rows),
        "## Layers\n\n```\n" + "\n".join(_lines(model)) + "\n```",
    ]
    if facts:
        sections.append("## Training\n\n" + _table(facts))
    return "\n\n".join(sections) + "\n"


def _public_name(model: nn.Module) -> str:
    name = type(model).__name__
    return f"baselines.{name}" if "baselines" in type(model).__module__ else name


def _lines(model: nn.Module) -> list[str]:
    layers = getattr(model, "layers", [])
    return [
        f"{index}: {' '.join(repr(getattr(layer, 'block', layer)).split())}, "
        f"{' '.join(repr(getattr(layer, 'objective', None)).split())}"
        for index, layer in enumerate(layers)
    ]


def _table(rows: Mapping[str, Any]) -> str:
    cells = ["| | |\n| --- | --- |"]
    for name, value in rows.items():
        if value is not None:
            cells.append(f"| {name} | {_cell(value)} |")
    return "\n".join(cells)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    text = ", ".join(map(_cell, value)) if isinstance(value, list | tuple) else str(value)
    return " ".join(text.split()).replace("|", "\\|")
