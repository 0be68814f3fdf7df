"""The study's tables, in Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np

from benchmarks.dynamics.analysis import Interval
from benchmarks.dynamics.cells import Curves
from benchmarks.dynamics.claims import CLAIMS, NOT_RUN, among
from benchmarks.dynamics.cost import accuracy_at, costs, epochs_at
from benchmarks.dynamics.growth import TARGET
from benchmarks.dynamics.measures import correlation, delay, delay_slope, reached, slope_change
from benchmarks.dynamics.settings import DEPTHS, VARIANTS, WIDTHS
from benchmarks.markdown import table

__all__ = ["claims_table", "correlation_table", "delay_table", "growth_table", "variants_table"]


def written(interval: Interval, digits: int = 2) -> str:
    """Return a number with its interval."""
    value, low, high = (float(end) for end in interval)
    if np.isnan(value):
        return "constant"
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def accuracy(values: Sequence[float]) -> str:
    """Return the mean of accuracies in percent with the standard deviation."""
    shown = [100 * float(value) for value in values]
    deviation = f" ± {statistics.stdev(shown):.2f}" if len(shown) > 1 else ""
    return f"{statistics.mean(shown):.2f}{deviation}"


def median_epoch(curves: Curves, layer: int) -> str:
    """Return the median over seeds of the epoch at which a layer reaches the target."""
    value = float(np.median(delay(curves)[:, layer]))
    return f"{value:.2f}" if np.isfinite(value) else "never"


def slope_text(curves: Curves) -> str:
    """Return the slope of the delay; a lower bound, if some layers never reach the target."""
    share = reached(curves)
    if not share:
        return "no layer reaches it"
    return ("at least " if share < 1 else "") + written(delay_slope(curves), 3)


def delay_table(curves: Sequence[Curves], grid: bool = True) -> str:
    """Return the delay by depth and width of the paper's setting; cells without a file are "not run".

    Args:
        curves: The finished cells.
        grid: Whether to show the paper's grid; default: only what has been run.
    """
    cells = {(c.cell.width, c.cell.depth): c for c in curves if c.cell.variant == "paper"}
    keys = [(width, depth) for width in WIDTHS for depth in DEPTHS] if grid else []
    head = ("width", "depth", "seeds", "model accuracy, %", "layers that reach 0.7, %")
    rows = []
    for key in sorted({*keys, *cells}):
        c = cells.get(key)
        row = [str(key[0]), str(key[1])]
        if c is None:
            rows.append([*row, NOT_RUN, "", "", "", "", ""])
            continue
        row += [str(len(c.cell.seeds)), accuracy(c.model[:, -1].tolist()), f"{100 * reached(c):.0f}"]
        rows.append([*row, median_epoch(c, 0), median_epoch(c, -1), slope_text(c)])
    heading = (*head, "epoch, first layer", "epoch, last layer", "slope, epochs per layer")
    note = f"Epochs: the first at which the accuracy on the test set reaches {TARGET}, median over the seeds."
    return f"{table(heading, rows)}\n\n{note} Slope: mean over the seeds with a 95 % bootstrap interval."


def correlation_table(curves: Sequence[Curves]) -> str:
    """Return the correlation of layer and model accuracy in the first, second, middle and last layer."""
    rows = []
    for c in (c for c in curves if c.cell.variant == "paper"):
        depth = c.cell.depth
        layers = {"first": 0, "second": 1, "middle": depth // 2, "last": depth - 1}
        for over in ("epochs", "seeds"):
            for name in ("Pearson", "Spearman"):
                if over == "seeds" and len(c.cell.seeds) < 5:
                    continue
                value, low, high = correlation(c, name, over)
                cells = [written((value[i], low[i], high[i])) for i in layers.values()]
                if depth == 2:
                    cells[1:3] = ["", ""]
                rows.append([f"{c.cell.width}", str(depth), str(len(c.cell.seeds)), f"over {over}", name, *cells])
    if not rows:
        return "Not run."
    return table(
        ("width", "depth", "seeds", "correlation", "", "first layer", "second layer", "middle layer", "last layer"),
        rows,
    )


def variants_table(curves: Sequence[Curves]) -> str:
    """Return the delay of each variant beside that of the paper's setting at the same size."""
    rows = []
    for name, setting in VARIANTS.items():
        if setting.grows:
            continue
        cells = [c for c in curves if c.cell.variant == name]
        if name == "paper":
            sizes = {(c.cell.depth, c.cell.width) for c in curves if c.cell.variant not in ("paper", *GROWING)}
            cells = [c for c in cells if (c.cell.depth, c.cell.width) in sizes]
        if not cells:
            rows.append([setting.label, "", NOT_RUN, "", "", "", ""])
        for c in cells:
            of_paper = [o for o in among(curves) if (o.cell.depth, o.cell.width) == (c.cell.depth, c.cell.width)]
            change = written(slope_change(of_paper[0], c), 3) if of_paper and name != "paper" else ""
            rows.append(
                [
                    setting.label,
                    f"{c.cell.depth} x {c.cell.width}",
                    str(len(c.cell.seeds)),
                    accuracy(c.model[:, -1].tolist()),
                    f"{100 * reached(c):.0f}",
                    slope_text(c),
                    change,
                ]
            )
    head = ("variant", "depth x width", "seeds", "model accuracy, %", "layers that reach 0.7, %")
    return table((*head, "slope, epochs per layer", "change of the slope"), rows)


GROWING = tuple(name for name, setting in VARIANTS.items() if setting.grows)


def growth_table(curves: Sequence[Curves]) -> str:
    """Return growing networks beside networks of fixed depth after training of the same number of multiply-adds."""
    rows = []
    for grown in (c for name in GROWING for c in curves if c.cell.variant == name):
        budget = costs(grown)[-1]
        seeds = len(grown.cell.seeds)
        layers = int(np.isfinite(grown.layers[0, -1]).sum())
        rows.append(_growth_row(grown, grown.cell.setting.label, layers, budget))
        for fixed in (c for c in curves if c.cell.variant == "paper" and c.cell.width == grown.cell.width):
            label = f"fixed depth, {fixed.cell.depth} layers"
            rows.append(_growth_row(fixed.of_seeds(seeds), label, fixed.cell.depth, budget))
    if not rows:
        return "Not run."
    return table(
        ("network", "layers at the end", "seeds", "epochs at equal cost", "accuracy, %", "at half the cost, %"), rows
    )


def _growth_row(curves: Curves, label: str, layers: int, budget: float) -> list[str]:
    epochs, total = epochs_at(curves, budget), costs(curves)[-1]
    needed = budget / total * curves.cell.epochs
    shown = f"{epochs}" if needed < curves.cell.epochs + 1 else f"{epochs} of {needed:.0f}"
    at_budget, at_half = (accuracy(accuracy_at(curves, share * budget).tolist()) for share in (1.0, 0.5))
    return [label, str(layers), str(len(curves.cell.seeds)), shown, at_budget, at_half]


def claims_table(curves: Sequence[Curves]) -> str:
    """Return the verdicts with their criteria and figures."""
    rows = []
    for claim in CLAIMS:
        evidence = claim.evidence(curves)
        figures = "; ".join(f"{name}: {written(interval, 3)}" for name, interval in evidence)
        unit = f" ({claim.unit})" if evidence and claim.unit else ""
        rows.append([claim.text, f"**{claim.verdict(curves)}**", claim.criterion, figures + unit])
    lines = [("claim", "verdict", "confirmed if", "figures"), ("---",) * 4, *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
