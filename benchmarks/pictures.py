"""Figures of finished cells: panels side by side, one file per figure.

Colors are Okabe and Ito's, which color-blind readers can distinguish; lines differ in their markers too.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.cells import Content, Setting
from benchmarks.tables import DATA, Cells

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Panel", "Seed", "by_layer", "dots", "draw_each", "lowest_seed", "over_epochs", "picture", "save", "styles"]

#: Okabe and Ito's colors, the darker ones first.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000", "#e69f00", "#56b4e9", "#999999")
MARKERS = "osD^vPX*"

#: Cells of one data set and seed, by a row's name.
Seed = Mapping[str, Content]

#: Draws cells into an axis.
Panel = Callable[[Any, Seed], None]

#: Name of a cell in a legend, from its row's name and its content.
Label = Callable[[str, Content], str]


def styles(count: int) -> list[dict[str, str]]:
    """Return colors and markers of ``count`` lines, as arguments of matplotlib's ``plot``."""
    pairs = zip(itertools.cycle(COLORS), itertools.cycle(MARKERS), strict=False)
    return [{"color": color, "marker": marker} for color, marker in itertools.islice(pairs, count)]


def lowest_seed(cells: Cells, data: str) -> dict[str, Content]:
    """Return the cells of one data set by a row's name, of the lowest seed, without rows of which a seed diverged."""
    return {
        name: min(contents, key=lambda content: int(content["seed"]))
        for (name, other), contents in cells.items()
        if other == data and not any("diverged" in content["result"] for content in contents)
    }


def by_layer(title: str, values_of: Callable[[Content], list[float]], label: Label, scale: str = "linear") -> Panel:
    """Return a panel of one entry of the result by layer, with one line per cell."""

    def paint(axis: Any, cells: Seed) -> None:
        for (name, content), style in zip(cells.items(), styles(len(cells)), strict=True):
            values = values_of(content["result"])
            axis.plot(range(len(values)), values, markersize=4, label=label(name, content), **style)
            axis.set_xticks(range(len(values)))
        axis.set(xlabel="layer", title=title, yscale=scale)

    return paint


def dots(title: str, rows: Sequence[tuple[int, str, list[float]]]) -> Panel:
    """Return a panel of rows from top to bottom, with one dot per value.

    Args:
        title: Label of the values' axis.
        rows: Index of a color, label and values of each row.
    """

    def paint(axis: Any, cells: Seed) -> None:
        for height, (color, _, values) in enumerate(rows):
            axis.plot(values, [height] * len(values), linestyle="", **styles(color + 1)[color])
        axis.set_yticks(range(len(rows)), [label for _, label, _ in rows], fontsize=7)
        axis.invert_yaxis()
        axis.grid(axis="x", alpha=0.3)
        axis.set(xlabel=title)

    return paint


def over_epochs(title: str, figure: str, label: Label, layers: slice = slice(None), scale: str = "linear") -> Panel:
    """Return a panel of one entry of the history over the epochs, with one line per layer and cell."""

    def paint(axis: Any, cells: Seed) -> None:
        lines = [
            (layer, values, name, content)
            for name, content in cells.items()
            for layer, values in list(enumerate(zip(*content["history"].get(figure, ()), strict=True)))[layers]
        ]
        for index, ((layer, values, name, content), style) in enumerate(zip(lines, styles(len(lines)), strict=True)):
            shown = [float("nan") if value is None else value for value in values]
            text = f"layer {layer}" + (f", {label(name, content)}" if len(cells) > 1 else "")
            dash = "-" if index < len(COLORS) else "--"
            style = style if len(shown) < 3 else {"color": style["color"]}
            axis.plot(content["history"]["epoch"], shown, markersize=4, linestyle=dash, label=text, **style)
        axis.set(xlabel="epoch", title=title, yscale=scale)

    return paint


def picture(title: str, panels: Sequence[Panel], cells: Seed, columns: int = 0) -> Figure:
    """Return one figure.

    Args:
        title: Title of the figure.
        panels: Functions that draw its axes, in order.
        cells: The cells that they draw.
        columns: Panels per row; default: all.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("figures need matplotlib: pip install matplotlib") from error
    columns = columns or len(panels)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(5 * columns, 4 * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis, paint in zip(axes, panels, strict=False):
        paint(axis, cells)
        _plain_ticks(axis)
    for axis in axes[len(panels) :]:
        axis.remove()
    _add_legends(figure, axes[: len(panels)])
    figure.suptitle(title, fontsize=10)
    return figure


def _plain_ticks(axis: Any) -> None:
    """Write a logarithmic axis's ticks as plain numbers, and make it linear if it spans less than a decade."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

    for name, line, (low, high) in (("x", axis.xaxis, axis.get_xlim()), ("y", axis.yaxis, axis.get_ylim())):
        if line.get_scale() != "log" or isinstance(line.get_major_locator(), FixedLocator):
            continue
        if max(low, high) < 10 * min(low, high):
            axis.set(**{f"{name}scale": "linear"})
        else:
            line.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            line.set_minor_formatter(NullFormatter())


def _add_legends(figure: Any, axes: Sequence[Any]) -> None:
    """Add each axis's legend to it, and one legend below the figure for labels that several axes share."""
    axes_of: dict[tuple[str, ...], list[Any]] = {}
    for axis in axes:
        labels = tuple(axis.get_legend_handles_labels()[1])
        if labels:
            axes_of.setdefault(labels, []).append(axis)
    shared = next((labels for labels, group in axes_of.items() if len(group) > 1), None)
    for labels, group in axes_of.items():
        if labels == shared:
            handles = group[0].get_legend_handles_labels()[0]
            figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=7)
        else:
            for axis in group:
                axis.legend(fontsize=6)


def save(figure: Figure, folder: Path, setting: Setting, name: str) -> Path:
    """Write a figure to the folder of its setting beside the cells, and return its path."""
    place = folder / "figures" / (setting.description().replace(",", "").replace(" ", "-") or "whole")
    place.mkdir(parents=True, exist_ok=True)
    figure.savefig(place / f"{name}.png", dpi=110)
    return place / f"{name}.png"


def draw_each(
    name: str, title: str, rows: Sequence[str], panels: Sequence[Panel], columns: int = 0
) -> Callable[[Path, Mapping[Setting, Cells]], list[Path]]:
    """Return a function that draws one figure per setting and data set, from the cells of the lowest seed.

    Args:
        name: Beginning of the files' names.
        title: Beginning of the figures' titles.
        rows: Names of the rows whose cells are drawn.
        panels: As for :func:`picture`.
        columns: As for :func:`picture`.
    """

    def draw(folder: Path, settings: Mapping[Setting, Cells]) -> list[Path]:
        paths = []
        for setting, cells in settings.items():
            for data in dict.fromkeys(data for _, data in cells):
                of_seed = lowest_seed(cells, data)
                drawn = {row: of_seed[row] for row in rows if row in of_seed}
                if drawn:
                    heading = f"{title}, {DATA.get(data, data)}, {setting.description() or 'full setting'}"
                    figure = picture(heading, panels, drawn, columns)
                    paths.append(save(figure, folder, setting, f"{name}_{data}".replace(" ", "_")))
        return paths

    return draw
