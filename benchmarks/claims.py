"""Claims of papers, and their verdicts from finished cells: confirmed, refuted or undecided."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.cells import Content
from benchmarks.tables import DATA, Cells

__all__ = ["Claim", "accuracy", "difference", "remark", "verdict"]

#: Number of standard errors beyond which a difference counts.
ERRORS = 2.0

#: A figure of a cell; None if the cell has none.
Figure = Callable[[Content], float | None]


def accuracy(content: Content) -> float | None:
    """Return a cell's test accuracy, None if it diverged."""
    value = content["result"].get("accuracy")
    return None if value is None else float(value)


@dataclass(frozen=True)
class Claim:
    """A claim that one row has a larger figure than another, or the same up to a tolerance.

    Args:
        text: The claim.
        row: Name of the row, which should have the larger figure.
        other: Name of the row that it is compared with, or a number; numbers by data set are for claims about these.
        paper: The difference in the paper, as text, for all data sets or by data set.
        tolerance: Largest difference of rows that are claimed to be equal; default: the first should be larger.
        figure: The figure; default: the test accuracy in percent.
        further: Factors of the figures of further rows, which are added to the difference.
    """

    text: str
    row: str
    other: str | float | Mapping[str, float]
    paper: str | Mapping[str, str] = ""
    tolerance: float | None = None
    figure: Figure = accuracy
    further: Mapping[str, float] = field(default_factory=dict)

    def factors(self) -> dict[str, float]:
        """Return the factor of each row's figure in the difference."""
        other = {self.other: -1.0} if isinstance(self.other, str) else {}
        return {self.row: 1.0, **other, **self.further}

    def bound(self, data: str) -> float | None:
        """Return the number that the difference must exceed, None for a data set that the claim is not about."""
        if isinstance(self.other, Mapping):
            return self.other.get(data)
        return 0.0 if isinstance(self.other, str) else self.other


def difference(claim: Claim, cells: Cells, data: str) -> tuple[float, float] | None:
    """Return the difference of the means over the seeds and its standard error.

    The error is infinite if a row has one seed only. If a row has no cells, or all diverged, the result is None.
    """
    rows = [
        (factor, [value for content in cells.get((name, data), []) if (value := claim.figure(content)) is not None])
        for name, factor in claim.factors().items()
    ]
    bound = claim.bound(data)
    if bound is None or not all(values for _, values in rows):
        return None
    mean = sum(factor * statistics.mean(values) for factor, values in rows) - bound
    if any(len(values) < 2 for _, values in rows):
        return mean, math.inf
    return mean, math.sqrt(sum(factor**2 * statistics.variance(values) / len(values) for factor, values in rows))


def verdict(claim: Claim, mean: float, error: float) -> str:
    """Return whether a difference confirms or refutes a claim, by more than two standard errors."""
    if math.isinf(error):
        return "undecided: one seed"
    low, high = mean - ERRORS * error, mean + ERRORS * error
    if claim.tolerance is None:
        return "confirmed" if low > 0 else "refuted" if high < 0 else "undecided"
    if max(abs(low), abs(high)) <= claim.tolerance:
        return "confirmed"
    return "refuted" if low > claim.tolerance or high < -claim.tolerance else "undecided"


def remark(claims: Sequence[Claim], first: Callable[[Cells], str] | None = None) -> Callable[[Cells], str]:
    """Return a study's remark: a table of claims with their differences and verdicts, for rows that have cells.

    Args:
        claims: The claims.
        first: Another remark, above the table.
    """

    def text(cells: Cells) -> str:
        above, lines = "" if first is None else first(cells), []
        for data in dict.fromkeys(data for _, data in cells):
            for claim in claims:
                measured = difference(claim, cells, data)
                if measured is not None:
                    mean, error = measured
                    here = f"{mean:+.3g}" + ("" if math.isinf(error) else f" ± {error:.2g}")
                    paper = claim.paper if isinstance(claim.paper, str) else claim.paper.get(data, "")
                    values = (claim.text, DATA.get(data, data), paper, here, verdict(claim, mean, error))
                    lines.append("| " + " | ".join(values) + " |")
        if not lines:
            return above
        head = "| claim | data | paper | difference here ± standard error | verdict |\n|---|---|---|---|---|\n"
        table = head + "\n".join(lines) + "\n\nA verdict needs a difference of more than two standard errors."
        return f"{above}\n\n{table}" if above else table

    return text
