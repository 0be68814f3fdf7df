"""Figures of finished cells by method and data set, and how two methods differ."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from benchmarks.cells import Content
from benchmarks.tables import DATA, Cells

__all__ = ["Difference", "accuracies", "by_layer", "compared", "data_sets", "differences", "transfers"]

#: Smallest difference in points that counts, since the 10,000 images of a test set are a sample.
LEAST = 1.0

#: From a pretext and a data set to a figure of each seed.
Figures = Callable[[str, str], Sequence[float]]


@dataclass(frozen=True)
class Difference:
    """The difference of two methods' means in points, on one task.

    Args:
        task: Pretext and data set.
        points: The difference.
        margin: Its margin: one point, or twice its standard error over the seeds if that is larger.
        seeds: Number of seeds of the method with fewer.
    """

    task: str
    points: float
    margin: float
    seeds: int

    @property
    def counts(self) -> bool:
        """Whether the seeds suffice for a standard error."""
        return self.seeds > 1

    @property
    def is_more(self) -> bool:
        """Whether the first method is better by more than the margin."""
        return self.points > self.margin

    def __str__(self) -> str:
        """Return the task and the difference, which does not count with one seed."""
        return f"{self.task} {self.points:+.1f}{'' if self.counts else ' (one seed)'}"

    @classmethod
    def of(cls, task: str, first: Sequence[float], second: Sequence[float]) -> Difference:
        """Return the difference of the means of two methods' seeds."""
        error = math.sqrt(sum(statistics.variance(values) / len(values) for values in (first, second) if values[1:]))
        points, seeds = statistics.mean(first) - statistics.mean(second), min(len(first), len(second))
        return cls(task, points, max(LEAST, 2 * error), seeds)


def data_sets(cells: Cells) -> list[str]:
    """Return the data sets of cells, in order."""
    return list(dict.fromkeys(data for _, data in cells))


def _results(cells: Cells, line: str, data: str) -> list[Content]:
    every = (content for (_, other), contents in cells.items() if other == data for content in contents)
    return [content["result"] for content in every if content["line"] == line and "accuracy" in content["result"]]


def accuracies(cells: Cells, line: str, data: str) -> list[float]:
    """Return the accuracies of a row's seeds on their own task, without seeds that diverged."""
    return [result["accuracy"] for result in _results(cells, line, data)]


def by_layer(cells: Cells, line: str, data: str, entry: str = "transfer") -> list[list[float]]:
    """Return the transfer by each layer and by all, for each seed of a row.

    Args:
        cells: The cells.
        line: The row's line.
        data: The data set.
        entry: ``"transfer"``, or ``"untrained"`` or ``"pixels"`` of rows that measure them.
    """
    return [result[entry] for result in _results(cells, line, data) if entry in result]


def transfers(cells: Cells, line: str, data: str, layer: int = -1) -> list[float]:
    """Return the transfer of a row's seeds, by all layers unless a layer is given."""
    return [values[layer] for values in by_layer(cells, line, data)]


def differences(cells: Cells, pretexts: Iterable[str], first: str, second: str) -> list[Difference]:
    """Return the differences in transfer of two methods on all pretexts and data sets that both were run on.

    Args:
        cells: The cells.
        pretexts: Beginnings of the rows' lines.
        first: Line of the first method, with ``{}`` for the pretext if it has one.
        second: Line of the second method.
    """

    def of_line(line: str) -> Figures:
        return lambda pretext, data: transfers(cells, line.format(pretext), data)

    return compared(cells, pretexts, of_line(first), of_line(second))


def compared(cells: Cells, pretexts: Iterable[str], first: Figures, second: Figures) -> list[Difference]:
    """Return the differences of two figures on all pretexts and data sets that have both.

    Args:
        cells: The cells.
        pretexts: Beginnings of the rows' lines.
        first: The first figure.
        second: The second figure.
    """
    tasks = [(pretext, data) for pretext in pretexts for data in data_sets(cells)]
    pairs = {
        f"{pretext} on {DATA.get(data, data)}": (first(pretext, data), second(pretext, data)) for pretext, data in tasks
    }
    return [Difference.of(task, *pair) for task, pair in pairs.items() if all(pair)]
