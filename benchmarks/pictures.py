"""Pictures of finished cells: panels side by side, one file a picture, without any state of matplotlib's.

The colours are Okabe and Ito's, which colour-blind people tell apart; lines differ in their markers too.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.cells import Content, Setting
from benchmarks.tables import Found

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Cells", "Panel", "by_layer", "dots", "one_seed", "over_epochs", "picture", "save", "styles"]

#: Okabe and Ito's colours, the darker ones first.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000", "#e69f00", "#56b4e9", "#999999")
MARKERS = "osD^vPX*"

#: Cells by a row's name.
Cells = Mapping[str, Content]

#: Paints cells into an axis.
Panel = Callable[[Any, Cells], None]

#: What a legend calls a cell, given its row's name and itself.
Label = Callable[[str, Content], str]


def styles(count: int) -> list[dict[str, str]]:
    """Colours and markers of so many lines, as matplotlib's ``plot`` takes them."""
    pairs = zip(itertools.cycle(COLOURS), itertools.cycle(MARKERS), strict=False)
    return [{"color": colour, "marker": marker} for colour, marker in itertools.islice(pairs, count)]


def one_seed(found: Found, data: str) -> dict[str, Content]:
    """Cells of one data set by a row's name, of the lowest seed, without rows of which a seed diverged."""
    return {
        name: min(contents, key=lambda one: int(one["seed"]))
        for (name, one), contents in found.items()
        if one == data and not any("diverged" in content["result"] for content in contents)
    }


def by_layer(title: str, read: Callable[[Content], list[float]], label: Label, scale: str = "linear") -> Panel:
    """Return a panel of one figure of the result, layer by layer, a line per cell."""

    def paint(axis: Any, cells: Cells) -> None:
        for (name, content), style in zip(cells.items(), styles(len(cells)), strict=True):
            values = read(content["result"])
            axis.plot(range(1, len(values) + 1), values, markersize=4, label=label(name, content), **style)
            axis.set_xticks(range(1, len(values) + 1))
        axis.set(xlabel="layer", title=title, yscale=scale)

    return paint


def dots(title: str, rows: Sequence[tuple[int, str, list[float]]]) -> Panel:
    """Return a panel of rows from above, a dot a value.

    Args:
        title: What the values are.
        rows: The number of a colour, what the row is called, and its values.
    """

    def paint(axis: Any, cells: Cells) -> None:
        for height, (number, _, values) in enumerate(rows):
            axis.plot(values, [height] * len(values), linestyle="", **styles(number + 1)[number])
        axis.set_yticks(range(len(rows)), [label for _, label, _ in rows], fontsize=7)
        axis.invert_yaxis()
        axis.grid(axis="x", alpha=0.3)
        axis.set(xlabel=title)

    return paint


def over_epochs(title: str, figure: str, label: Label, layers: slice = slice(None), scale: str = "linear") -> Panel:
    """Return a panel of one figure of the history over the epochs, a line per layer and cell."""

    def paint(axis: Any, cells: Cells) -> None:
        lines = [
            (number, values, name, content)
            for name, content in cells.items()
            for number, values in list(enumerate(zip(*content["history"].get(figure, ()), strict=True), start=1))[
                layers
            ]
        ]
        for index, ((number, values, name, content), style) in enumerate(zip(lines, styles(len(lines)), strict=True)):
            shown = [float("nan") if value is None else value for value in values]
            text = f"layer {number}" + (f", {label(name, content)}" if len(cells) > 1 else "")
            dash = "-" if index < len(COLOURS) else "--"
            style = style if len(shown) < 3 else {"color": style["color"]}
            axis.plot(content["history"]["epoch"], shown, markersize=4, linestyle=dash, label=text, **style)
        axis.set(xlabel="epoch", title=title, yscale=scale)

    return paint


def picture(title: str, panels: tuple[Panel, ...], cells: Cells, columns: int = 0) -> Figure:
    """Return one picture.

    Args:
        title: What stands above it.
        panels: What paints its axes, in order.
        cells: What they paint.
        columns: Panels side by side, all of them unless given.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('figures need matplotlib: pip install "forwardforward[plot]"') from error
    columns = columns or len(panels)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(5 * columns, 4 * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis, paint in zip(axes, panels, strict=False):
        paint(axis, cells)
        _plain(axis)
    for axis in axes[len(panels) :]:
        axis.remove()
    _explain(figure, axes[: len(panels)])
    figure.suptitle(title, fontsize=10)
    return figure


def _plain(axis: Any) -> None:
    """Write a logarithmic axis's ticks as plain numbers, and make it linear where it spans less than a decade."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

    for name, one, (low, high) in (("x", axis.xaxis, axis.get_xlim()), ("y", axis.yaxis, axis.get_ylim())):
        if one.get_scale() != "log" or isinstance(one.get_major_locator(), FixedLocator):
            continue
        if max(low, high) < 10 * min(low, high):
            axis.set(**{f"{name}scale": "linear"})
        else:
            one.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            one.set_minor_formatter(NullFormatter())


def _explain(figure: Any, axes: Sequence[Any]) -> None:
    """Draw each axis's legend into it, and one that several axes share below them all."""
    legends: dict[tuple[str, ...], list[Any]] = {}
    for axis in axes:
        labels = tuple(axis.get_legend_handles_labels()[1])
        if labels:
            legends.setdefault(labels, []).append(axis)
    for number, (labels, some) in enumerate(legends.items()):
        if len(some) > 1 and not any(len(others) > 1 for others in list(legends.values())[:number]):
            handles = some[0].get_legend_handles_labels()[0]
            figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=7)
        else:
            for axis in some:
                axis.legend(fontsize=6)


def save(figure: Figure, folder: Path, setting: Setting, name: str) -> Path:
    """Write a picture into the folder of its setting beside the cells, and return where."""
    place = folder / "figures" / (setting.words().replace(",", "").replace(" ", "-") or "whole")
    place.mkdir(parents=True, exist_ok=True)
    figure.savefig(place / f"{name}.png", dpi=110)
    return place / f"{name}.png"
