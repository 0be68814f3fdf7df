"""The study's figures: accuracy by layer, spread over seeds, delay, correlation, variants and growth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.dynamics.cells import Curves
from benchmarks.dynamics.cost import costs
from benchmarks.dynamics.growth import TARGET
from benchmarks.dynamics.measures import CORRELATIONS, correlation, delay, delay_slope
from benchmarks.pictures import COLORS, Panel, Seed, picture, styles

__all__ = ["FIGURES", "draw"]

#: Largest number of panels in the figures with one panel per cell.
MOST_PANELS = 12


def of_paper(curves: Sequence[Curves]) -> list[Curves]:
    """Return the curves of the paper's setting."""
    return [c for c in curves if c.cell.variant == "paper"]


def size(curves: Curves) -> str:
    """Return depth, width and number of seeds."""
    return f"depth {curves.cell.depth}, width {curves.cell.width} ({len(curves.cell.seeds)} seeds)"


def by_layer(curves: Curves) -> Panel:
    """Return a panel of the mean accuracy of each layer over the epochs, and of the model's."""

    def paint(axis: Any, _: Seed) -> None:
        from matplotlib import colormaps

        depth = curves.cell.depth
        for index in range(depth):
            color = colormaps["viridis"](index / max(1, depth - 1) * 0.9)
            label = f"layer {index}" if depth <= 8 or index in (0, depth // 2, depth - 1) else None
            axis.plot(curves.layers[:, :, index].mean(0), color=color, linewidth=1, label=label)
        axis.plot(curves.model.mean(0), color="black", linestyle="--", label="model")
        axis.axhline(TARGET, color="gray", linewidth=0.5)
        axis.set(xlabel="epoch", ylabel="accuracy on the test set", title=size(curves))

    return paint


def spread(curves: Curves) -> Panel:
    """Return a panel of the accuracy of three layers and the model: every seed, and the mean."""

    def paint(axis: Any, _: Seed) -> None:
        depth = curves.cell.depth
        shown = dict.fromkeys((0, depth // 2, depth - 1))
        lines = [(f"layer {index}", curves.layers[:, :, index]) for index in shown] + [("model", curves.model)]
        for (label, values), color in zip(lines, COLORS, strict=False):
            axis.plot(values.T, color=color, linewidth=0.4, alpha=0.4)
            axis.plot(values.mean(0), color=color, linewidth=1.5, label=label)
        axis.set(xlabel="epoch", ylabel="accuracy on the test set", title=size(curves))

    return paint


def delays(width: int, curves: Sequence[Curves]) -> Panel:
    """Return a panel of the epoch at which each layer reaches the target, by depth, with the quartiles over seeds."""

    def paint(axis: Any, _: Seed) -> None:
        for c, style in zip(curves, styles(len(curves)), strict=True):
            epochs = delay(c)
            epochs[~np.isfinite(epochs)] = np.nan
            reached = np.isfinite(epochs).mean(0) > 0.5
            layers = np.arange(c.cell.depth)[reached]
            if not len(layers):
                continue
            low, middle, high = np.nanpercentile(epochs[:, reached], [25, 50, 75], axis=0)
            value, *_ends = delay_slope(c)
            label = f"depth {c.cell.depth}: slope {float(value):.3f} per layer"
            axis.errorbar(layers, middle, [middle - low, high - middle], label=label, markersize=3, capsize=2, **style)
        axis.set(xlabel="layer", ylabel=f"epoch at which accuracy reaches {TARGET}", title=f"width {width}")

    return paint


def correlations(width: int, curves: Sequence[Curves], name: str, over: str) -> Panel:
    """Return a panel of the correlation of layer and model accuracy by layer, with bootstrap bands."""

    def paint(axis: Any, _: Seed) -> None:
        for c, style in zip(curves, styles(len(curves)), strict=True):
            value, low, high = correlation(c, name, over)
            layers = np.arange(c.cell.depth)
            axis.plot(layers, value, label=f"depth {c.cell.depth}", markersize=3, **style)
            axis.fill_between(layers, low, high, color=style["color"], alpha=0.15, linewidth=0)
        axis.axhline(0, color="gray", linewidth=0.5)
        axis.set(xlabel="layer", ylabel=f"{name}, over {over}", title=f"width {width}", ylim=(-1.05, 1.05))

    return paint


def slopes(curves: Sequence[Curves]) -> Panel:
    """Return a panel of the slope of the delay by variant."""

    def paint(axis: Any, _: Seed) -> None:
        for height, c in enumerate(curves):
            value, low, high = map(float, delay_slope(c))
            axis.errorbar([value], [height], xerr=[[value - low], [high - value]], **styles(1)[0], capsize=3)
        axis.set_yticks(range(len(curves)), [c.cell.setting.label for c in curves], fontsize=7)
        axis.invert_yaxis()
        axis.axvline(0, color="gray", linewidth=0.5)
        axis.set(xlabel="slope of the delay, epochs per layer")

    return paint


def growth(curves: Sequence[Curves], scale: float) -> Panel:
    """Return a panel of the model accuracy over the multiply-adds of the training."""

    def paint(axis: Any, _: Seed) -> None:
        for c, style in zip(curves, styles(len(curves)), strict=True):
            label = c.cell.setting.label if c.cell.setting.grows else f"fixed depth, {c.cell.depth} layers"
            axis.plot(costs(c)[1:] / scale, 100 * c.model[:, 1:].mean(0), markersize=3, label=label, **style)
        axis.set(xlabel="multiply-adds per training image, millions", ylabel="model accuracy, %")

    return paint


def by_width(curves: Sequence[Curves], panel: Callable[[int, Sequence[Curves]], Panel]) -> list[Panel]:
    """Return one panel per width."""
    widths = sorted({c.cell.width for c in curves})
    return [panel(width, [c for c in curves if c.cell.width == width]) for width in widths]


def draw_layers(curves: Sequence[Curves]) -> list[Panel]:
    """Return the panels of the accuracy by layer."""
    return [by_layer(c) for c in of_paper(curves)[:MOST_PANELS]]


def draw_spread(curves: Sequence[Curves]) -> list[Panel]:
    """Return the panels of the spread over seeds."""
    return [spread(c) for c in of_paper(curves)[:MOST_PANELS]]


def draw_delays(curves: Sequence[Curves]) -> list[Panel]:
    """Return the panels of the delay by width."""
    return by_width(of_paper(curves), delays)


def draw_correlations(curves: Sequence[Curves]) -> list[Panel]:
    """Return the panels of the correlations: over epochs by both measures, then over seeds, one row each."""
    panels = []
    for over, least in (("epochs", 1), ("seeds", 5)):
        for name in CORRELATIONS:
            shown = [c for c in of_paper(curves) if len(c.cell.seeds) >= least]
            panels += by_width(shown, lambda width, of_width, n=name, o=over: correlations(width, of_width, n, o))  # type: ignore[misc]
    return panels


def draw_variants(curves: Sequence[Curves]) -> list[Panel]:
    """Return the panel of the variants, with the paper's setting of the same size."""
    variants = [c for c in curves if c.cell.variant != "paper" and not c.cell.setting.grows]
    sizes = {(c.cell.depth, c.cell.width) for c in variants}
    same = [c for c in of_paper(curves) if (c.cell.depth, c.cell.width) in sizes]
    return [slopes([*same, *variants])] if variants else []


def draw_growth(curves: Sequence[Curves]) -> list[Panel]:
    """Return the panel of growing networks and those of fixed depth."""
    growing = [c for c in curves if c.cell.setting.grows]
    widths = {c.cell.width for c in growing}
    fixed = [c for c in of_paper(curves) if c.cell.width in widths and c.cell.depth <= 8]
    return [growth([*growing, *fixed], 1e6)] if growing else []


#: Title and panels of each figure, by its name.
FIGURES: dict[str, tuple[str, Callable[[Sequence[Curves]], list[Panel]]]] = {
    "layers": ("Accuracy of each layer and of the model, mean over the seeds", draw_layers),
    "spread": ("Spread over the seeds: first, middle and last layer, and the model", draw_spread),
    "delay": (f"Epoch at which each layer reaches an accuracy of {TARGET}, median and quartiles", draw_delays),
    "correlation": ("Correlation of layer and model accuracy, with 95 % bootstrap bands", draw_correlations),
    "variants": ("Slope of the delay by variant, with 95 % bootstrap intervals", draw_variants),
    "growth": ("Growing networks and fixed depth at equal cost", draw_growth),
}


def draw(name: str, curves: Sequence[Curves], folder: Path) -> Path | None:
    """Write a figure, and return its path; None if nothing that it shows has been run.

    Args:
        name: A key of ``FIGURES``.
        curves: The finished cells.
        folder: Folder of the figure.
    """
    title, panels_of = FIGURES[name]
    panels = panels_of(curves)
    if not panels:
        return None
    columns = max(1, len({c.cell.width for c in of_paper(curves)})) if name == "correlation" else 4
    figure = picture(title, panels, {}, columns=min(columns, len(panels)))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.png"
    figure.savefig(path, dpi=110)
    return path
