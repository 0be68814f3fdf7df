"""Tables and figures of transfer by layer, and maps of the features."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.cells import Setting
from benchmarks.pictures import Panel, Seed, lowest_seed, picture, save, styles
from benchmarks.self_supervision.results import by_layer, data_sets
from benchmarks.tables import DATA, Cells, Draw

__all__ = ["draw_all", "draw_maps", "draw_transfer", "layer_tables"]

#: Names of the references in tables, by their entry in the result of the cells that measure them.
REFERENCE_NAMES = {"untrained": "untrained network (random features)", "pixels": "pixels"}


def by_method(cells: Cells, data: str, lines: Mapping[str, str], references: str) -> dict[str, list[list[float]]]:
    """Return the transfer of each layer and of all, one list of seeds each, by the name in tables.

    Args:
        cells: The cells.
        data: The data set.
        lines: Name of each row, by its line.
        references: Line of the rows that measure untrained features and pixels.
    """
    found = {words: by_layer(cells, line, data) for line, words in lines.items()}
    found |= {words: by_layer(cells, references, data, entry) for entry, words in REFERENCE_NAMES.items()}
    return {words: [list(layer) for layer in zip(*seeds, strict=True)] for words, seeds in found.items() if seeds}


def layer_tables(cells: Cells, lines: Mapping[str, str], references: str) -> str:
    """Return one table per data set of the transfer by each layer and by all, in Markdown.

    Args:
        cells: The cells.
        lines: As for :func:`by_method`.
        references: As for :func:`by_method`.
    """
    parts = []
    for data in data_sets(cells):
        methods = by_method(cells, data, lines, references)
        depth = max(map(len, methods.values()), default=0) - 1
        if depth < 1:
            continue
        head = [f"transfer on {DATA.get(data, data)}, %", *(f"layer {layer}" for layer in range(depth)), "all layers"]
        rows = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
        for words, layers in methods.items():
            shown = [*[""] * (depth + 1 - len(layers)), *map(spread, layers)]  # pixels are one layer
            rows.append(f"| {words} | {' | '.join(shown)} |")
        parts.append("\n".join(rows))
    return "\n\n".join(parts)


def spread(values: list[float]) -> str:
    """Return the mean over the seeds, with the standard deviation if there are several."""
    return f"{statistics.mean(values):.1f}" + (f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else "")


def transfer_panel(cells: Cells, data: str, title: str, lines: Mapping[str, str], references: str) -> Panel:
    """Return a panel of the transfer by each layer and by all, with one line per method."""

    def paint(axis: Any, _: Seed) -> None:
        methods = by_method(cells, data, lines, references)
        depth = max(map(len, methods.values()), default=1) - 1
        for (words, layers), style in zip(methods.items(), styles(len(methods)), strict=True):
            values = [statistics.mean(seeds) for seeds in layers]
            if len(values) == 1:
                axis.axhline(values[0], color="black", linestyle=":", linewidth=1, label=words)
            else:
                axis.plot(range(depth), values[:-1], markersize=4, label=words, **style)
                axis.plot([depth], values[-1:], markersize=6, linestyle="", **style)
        axis.set_xticks(range(depth + 1), [*map(str, range(depth)), "all"])
        axis.set(xlabel="layer", ylabel="test accuracy, %", title=title)
        axis.grid(alpha=0.3)

    return paint


def draw_transfer(name: str, title: str, groups: Mapping[str, Mapping[str, str]], references: str) -> Draw:
    """Return a function that draws transfer by layer: one figure per setting and data set, one panel per pretext.

    Args:
        name: Beginning of the files' names.
        title: Beginning of the figures' titles.
        groups: For each panel's title, the names of its rows by their lines.
        references: As for :func:`by_method`.
    """

    def draw(folder: Path, settings: Mapping[Setting, Cells]) -> list[Path]:
        paths = []
        for setting, cells in settings.items():
            for data in data_sets(cells):
                shown = {
                    words: lines
                    for words, lines in groups.items()
                    if any(by_layer(cells, line, data) for line in lines)
                }
                if shown:
                    panels = [transfer_panel(cells, data, words, lines, references) for words, lines in shown.items()]
                    heading = f"{title} on {DATA.get(data, data)}, {setting.description() or 'full setting'}"
                    paths.append(save(picture(heading, panels, {}), folder, setting, f"{name}_{data}"))
        return paths

    return draw


def map_panel(name: str, title: str) -> Panel:
    """Return a panel of t-SNE's map of a cell's features, with one color per class."""

    def paint(axis: Any, cells: Seed) -> None:
        result = cells[name]["result"]
        for label in sorted(set(result["map_classes"])):
            points = [
                point for point, other in zip(result["map"], result["map_classes"], strict=True) if other == label
            ]
            axis.scatter(*zip(*points, strict=True), color=f"C{label % 10}", s=6, label=f"class {label}")
        axis.set_xticks([])
        axis.set_yticks([])
        axis.set(title=title)

    return paint


def draw_maps(name: str, title: str, rows: Mapping[str, str], columns: int) -> Draw:
    """Return a function that draws the maps of the last layer's features: one figure per setting and data set.

    Args:
        name: Beginning of the files' names.
        title: Beginning of the figures' titles.
        rows: Title of each panel, by its row's name.
        columns: Panels per row.
    """

    def draw(folder: Path, settings: Mapping[Setting, Cells]) -> list[Path]:
        paths = []
        for setting, cells in settings.items():
            for data in data_sets(cells):
                seed = lowest_seed(cells, data)
                drawn = {row: seed[row] for row in rows if row in seed and "map" in seed[row]["result"]}
                if drawn:
                    panels = [map_panel(row, rows[row]) for row in drawn]
                    heading = f"{title}, {DATA.get(data, data)}, {setting.description() or 'full setting'}"
                    paths.append(save(picture(heading, panels, drawn, columns), folder, setting, f"{name}_{data}"))
        return paths

    return draw


def draw_all(*functions: Any) -> Draw:
    """Return a function that draws the figures of several."""

    def draw(folder: Path, settings: Mapping[Setting, Cells]) -> list[Path]:
        return [path for function in functions for path in function(folder, settings)]

    return draw
