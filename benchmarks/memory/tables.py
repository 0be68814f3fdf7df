"""The tables of docs/memory.md."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.markdown import table
from benchmarks.memory.measure import CHECKPOINTED, Figures
from benchmarks.pages import ROOT, filled, write

__all__ = ["PAGE", "write_page"]

PAGE = ROOT / "docs" / "memory.md"


def render_depths(content: Mapping[str, Any]) -> str:
    """Return the table of peaks by depth, in MiB."""
    depths: Mapping[str, Mapping[str, Figures]] = content["equal_width"]["depths"]
    rows = [
        [name, *(_mebibytes(kinds.get(name, {}), "tensors", "allocator") for kinds in depths.values())]
        for name in _names(depths)
    ]
    rows.append(["number of segments", *(str(kinds[CHECKPOINTED]["segments"]) for kinds in depths.values())])
    return table(["step", *(f"{depth} layers" for depth in depths)], rows)


def render_times(content: Mapping[str, Any]) -> str:
    """Return the table of step times by depth: the ratio to the checkpointed step."""
    depths: Mapping[str, Mapping[str, Figures]] = content["equal_width"]["depths"]
    rows = []
    for name in _names(depths):
        ratios = (kinds.get(name, {}).get("time_over_checkpointed") for kinds in depths.values())
        rows.append([name, *("" if ratio is None else f"{ratio[1]:.2f}" for ratio in ratios), *_at_depth(depths, name)])
    at_depth = f"at {_reference_depth(depths)} layers"
    last = [f"milliseconds {at_depth}", f"peak over checkpointed {at_depth}"]
    return table(["step", *(f"{depth} layers" for depth in depths), *last], rows)


def _names(depths: Mapping[str, Mapping[str, Figures]]) -> list[str]:
    """Return the kinds of steps that were measured at any depth."""
    return list(dict.fromkeys(name for kinds in depths.values() for name in kinds))


def _reference_depth(depths: Mapping[str, Any]) -> str:
    """Return the depth of the comparison with checkpointing: 32, or the largest one."""
    return "32" if "32" in depths else list(depths)[-1]


def _at_depth(depths: Mapping[str, Mapping[str, Figures]], name: str) -> list[str]:
    """Return a step's milliseconds and the ratio of its peak to the checkpointed one's, at the reference depth."""
    kinds = depths[_reference_depth(depths)]
    if name not in kinds:
        return ["", ""]
    peak = "tensors" if "tensors" in kinds[name] else "allocator"
    return [f"{kinds[name]['milliseconds']:.1f}", f"{kinds[name][peak] / kinds[CHECKPOINTED][peak]:.2f}"]


def render_trifecta(content: Mapping[str, Any]) -> str:
    """Return the table of the Trifecta's deep network."""
    rows = [
        [
            name,
            _mebibytes(figures, "tensors"),
            f"{figures['ratio']:.2f}" if figures["ratio"] is not None else "",
            "" if figures["bound"] is None else str(figures["bound"]),
            _mebibytes(figures, "allocator"),
            f"{figures['milliseconds']:.0f}",
        ]
        for name, figures in content["trifecta_deep"].items()
    ]
    return table(["step", "peak, MiB", "over backpropagation", "bound", "allocator, MiB", "milliseconds"], rows)


def _mebibytes(figures: Figures, *names: str) -> str:
    """Return the first of the peaks that was measured."""
    return next((f"{figures[name] / 2**20:.1f}" for name in names if name in figures), "")


def write_page(results: Path, page: Path = PAGE) -> None:
    """Write the tables of the page.

    Args:
        results: File of the results; if it does not exist, the page says so.
        page: The page.
    """
    content = json.loads(results.read_text(encoding="utf-8")) if results.exists() else None
    renderers = {"memory-depths": render_depths, "memory-times": render_times, "memory-trifecta": render_trifecta}
    for name, render in renderers.items():
        write(page, filled(page, name, "Not measured yet." if content is None else render(content)))
