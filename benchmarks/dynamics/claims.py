"""Verdicts on the paper's claims and open questions, by criteria that are stated beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.dynamics.analysis import Interval, bootstrap
from benchmarks.dynamics.cells import Curves
from benchmarks.dynamics.cost import accuracy_at, costs
from benchmarks.dynamics.measures import (
    correlation,
    correlation_change,
    correlation_drop,
    delay_slope,
    mean_of,
    slope_change,
)
from benchmarks.dynamics.settings import VARIANTS

__all__ = ["CLAIMS", "NOT_RUN", "Claim", "Evidence", "among", "growth_gaps", "pairs_by_width", "verdict"]

NOT_RUN = "not run"

#: Correlation that counts as strong.
STRONG = 0.7

#: Loss of accuracy of a growing network that counts as none.
TOLERANCE = 0.005

#: Slope of the delay that counts as none, in epochs per layer.
NO_DELAY = 0.02

#: A figure with its interval, by the cells that it is of.
Evidence = list[tuple[str, Interval]]


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, or a question that it leaves open.

    Args:
        text: The claim.
        criterion: When it is confirmed and when refuted.
        evidence: Function from the finished curves to the figures that decide it.
        threshold: Value above which every interval must lie to confirm, and below which to refute.
        unit: What the figures are.
    """

    text: str
    criterion: str
    evidence: Callable[[Sequence[Curves]], Evidence]
    threshold: float = 0.0
    unit: str = ""

    def verdict(self, curves: Sequence[Curves]) -> str:
        """Return ``"confirmed"``, ``"refuted"``, ``"undecided"`` or ``"not run"``."""
        return verdict([interval for _, interval in self.evidence(curves)], self.threshold)


def verdict(intervals: Iterable[Interval], threshold: float = 0.0) -> str:
    """Return the verdict of intervals that should all lie above a threshold.

    Args:
        intervals: The intervals.
        threshold: The threshold.
    """
    ends = [(float(low), float(high)) for _, low, high in intervals]
    if not ends:
        return NOT_RUN
    if all(low > threshold for low, _ in ends):
        return "confirmed"
    if all(high < threshold for _, high in ends):
        return "refuted"
    return "undecided"


def among(curves: Iterable[Curves], variant: str = "paper") -> list[Curves]:
    """Return the curves of one variant that have at least three seeds."""
    return [c for c in curves if c.cell.variant == variant and len(c.cell.seeds) >= 3]


def size(curves: Curves) -> str:
    """Return depth and width in words."""
    return f"depth {curves.cell.depth}, width {curves.cell.width}"


def pairs_by_width(curves: Iterable[Curves]) -> list[tuple[Curves, Curves]]:
    """Return the narrowest and the widest network of each depth, where there are two."""
    by_depth: dict[int, list[Curves]] = {}
    for c in among(curves):
        by_depth.setdefault(c.cell.depth, []).append(c)
    ordered = [sorted(of_depth, key=lambda c: c.cell.width) for _, of_depth in sorted(by_depth.items())]
    return [(of_depth[0], of_depth[-1]) for of_depth in ordered if len(of_depth) > 1]


def slopes(curves: Sequence[Curves]) -> Evidence:
    """Return the slope of the delay in each cell of the paper's grid."""
    return [(size(c), delay_slope(c)) for c in among(curves)]


def slopes_by_width(curves: Sequence[Curves]) -> Evidence:
    """Return how much larger the slope is in the widest network than in the narrowest of the same depth."""
    return [
        (f"depth {a.cell.depth}, width {b.cell.width} against {a.cell.width}", slope_change(a, b))
        for a, b in pairs_by_width(curves)
    ]


def first_correlations(curves: Sequence[Curves]) -> Evidence:
    """Return the first layer's correlation in each cell of the paper's grid."""
    entries = [(size(c), correlation(c)) for c in among(curves)]
    return [(name, (value[0], low[0], high[0])) for name, (value, low, high) in entries]


def drops(curves: Sequence[Curves]) -> Evidence:
    """Return how far the correlation falls from the first to the last layer."""
    return [(size(c), correlation_drop(c)) for c in among(curves) if c.cell.depth > 2]


def weaker_by_width(curves: Sequence[Curves]) -> Evidence:
    """Return how much weaker the correlation is in the widest network than in the narrowest of the same depth."""
    entries = []
    for narrow, wide in pairs_by_width(curves):
        name = f"depth {narrow.cell.depth}, width {wide.cell.width} against {narrow.cell.width}"
        estimate, low, high = correlation_change(narrow, wide)
        entries.append((name, (-estimate, -high, -low)))
    return entries


def slopes_of(*variants: str) -> Callable[[Sequence[Curves]], Evidence]:
    """Return a function to the slopes of the delay in some variants."""

    def evidence(curves: Sequence[Curves]) -> Evidence:
        return [(VARIANTS[name].label, delay_slope(c)) for name in variants for c in among(curves, name)]

    return evidence


def absence_in_parallel(curves: Sequence[Curves]) -> Evidence:
    """Return how far the slope of layers in parallel is from none: the tolerance minus its size."""
    entries = []
    for c in among(curves, "parallel"):
        estimate, low, high = delay_slope(c)
        largest = max(abs(float(low)), abs(float(high)))
        smallest = 0.0 if low <= 0 <= high else min(abs(float(low)), abs(float(high)))
        interval = (NO_DELAY - abs(estimate), np.asarray(NO_DELAY - largest), np.asarray(NO_DELAY - smallest))
        entries.append((size(c), interval))
    return entries


def growth_gaps(curves: Sequence[Curves]) -> Evidence:
    """Return the accuracy of each growing network minus that of the deepest fixed network at equal cost."""
    entries: Evidence = []
    for grown in (c for name, s in VARIANTS.items() if s.grows for c in among(curves, name)):
        fixed = [c for c in among(curves) if c.cell.width == grown.cell.width and c.cell.depth == grown.cell.depth]
        for other in fixed:
            count = min(len(grown.cell.seeds), len(other.cell.seeds))
            gap = grown.model[:count, -1] - accuracy_at(other, costs(grown)[-1])[:count]
            entries.append((grown.cell.setting.label, bootstrap(mean_of(gap), count)))
    return entries


ABLATIONS = tuple(
    name
    for name, setting in VARIANTS.items()
    if not setting.grows and setting.connection == "chain" and setting.has_pairs and name not in ("paper", "cifar10")
)

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "Deeper layers improve later than shallower ones.",
        "the slope of the delay is above 0 in every cell of the grid; refuted if below 0 in every cell",
        slopes,
        unit="epochs per layer",
    ),
    Claim(
        "The delay is larger in wider networks.",
        "the slope is larger in the widest than in the narrowest network of the same depth, at every depth; refuted if "
        "smaller at every depth",
        slopes_by_width,
        unit="epochs per layer",
    ),
    Claim(
        "The accuracy of the first layer correlates strongly with that of the model.",
        f"Pearson's correlation over epochs is above {STRONG} in every cell; refuted if below in every cell",
        first_correlations,
        STRONG,
        "Pearson",
    ),
    Claim(
        "The correlation becomes weaker with depth.",
        "it is smaller in the last layer than in the first in every cell of depth 4 or more; refuted if larger in "
        "every cell",
        drops,
        unit="fall of Pearson",
    ),
    Claim(
        "The correlation is weaker in wider networks.",
        "its mean over layers is smaller in the widest than in the narrowest network at every depth; refuted if larger "
        "at every depth",
        weaker_by_width,
        unit="fall of Pearson",
    ),
    Claim(
        "The delay is also found on CIFAR-10 (open question).",
        "the slope is above 0; refuted if below 0",
        slopes_of("cifar10"),
        unit="epochs per layer",
    ),
    Claim(
        "The delay is also found in regression (open question).",
        "the slope is above 0, for the epoch at which a layer's R² reaches 0.7; refuted if below 0",
        slopes_of("regression"),
        unit="epochs per layer",
    ),
    Claim(
        "The delay remains with another peer normalization, learning rate, activation, goodness or threshold, and with "
        "dropout (open question).",
        "the slope is above 0 in every variant; refuted if below 0 in every variant",
        slopes_of(*ABLATIONS),
        unit="epochs per layer",
    ),
    Claim(
        "The delay comes from the layers before: layers in parallel have none (next check).",
        f"the slope of layers in parallel is within {NO_DELAY:g} of 0; refuted if it is not",
        absence_in_parallel,
        unit=f"{NO_DELAY:g} minus the size of the slope",
    ),
    Claim(
        "Residual connections do not remove the delay (next check).",
        "the slope with residual connections is above 0; refuted if below 0",
        slopes_of("residual"),
        unit="epochs per layer",
    ),
    Claim(
        "A network that grows when its last layer is ready loses no accuracy against fixed depth (open question).",
        f"at equal cost it loses less than {100 * TOLERANCE:g} points against the fixed network of its final depth, "
        "under both conditions; refuted if it loses more under both",
        growth_gaps,
        -TOLERANCE,
        "difference of accuracies",
    ),
)
