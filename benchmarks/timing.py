"""Durations of functions that run in turn in one process, and ratios of them."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["compare", "durations", "median_and_quartiles", "ratios"]

#: Rounds before those that are measured.
WARM_UP = 2


def durations(
    functions: Mapping[str, Callable[[], Any]],
    rounds: int,
    shortest: float = 0.0,
    synchronize: Callable[[], Any] | None = None,
) -> dict[str, list[float]]:
    """Return the duration in seconds of one call of each function in each round.

    The functions run in turn, so that changes of the machine's load affect all of them. Each round starts with another
    one, since a function finds in the caches what the one before it used.

    Args:
        functions: The functions, by name.
        rounds: Number of rounds.
        shortest: Shortest duration of a function's turn; a shorter function is called several times per turn.
        synchronize: Waits for the device; called before each reading of the clock.
    """
    wait = synchronize or (lambda: None)
    calls = dict.fromkeys(functions, 1)
    results: dict[str, list[float]] = {name: [] for name in functions}
    names = list(functions)
    for turn in range(WARM_UP + rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            wait()
            start = time.perf_counter()
            for _ in range(calls[name]):
                functions[name]()
            wait()
            duration = (time.perf_counter() - start) / calls[name]
            if turn >= WARM_UP:
                results[name].append(duration)
            elif turn == WARM_UP - 1:
                calls[name] = max(1, math.ceil(shortest / duration))
    return results


def median_and_quartiles(values: Sequence[float]) -> tuple[float, tuple[float, float]]:
    """Return the median, and the first and third quartile as the nearest of the values."""
    ordered = sorted(values)
    quarter = len(ordered) // 4
    return statistics.median(ordered), (ordered[quarter], ordered[-1 - quarter])


def ratios(numerator: Sequence[float], denominator: Sequence[float]) -> list[float]:
    """Return the ratio of two functions' durations in each round."""
    return [a / b for a, b in zip(numerator, denominator, strict=True)]


def compare(functions: Mapping[str, Callable[[], Any]], reference: str, rounds: int) -> dict[str, dict[str, Any]]:
    """Return the median duration of each function, and the median and quartiles of its ratio to the reference's.

    Args:
        functions: The functions, by name.
        reference: Name of the function that the others are compared with.
        rounds: Number of rounds.
    """
    seconds = durations(functions, rounds)
    figures = {}
    for name, values in seconds.items():
        ratio, quartiles = median_and_quartiles(ratios(values, seconds[reference]))
        figures[name] = {
            "milliseconds": 1000 * statistics.median(values),
            "ratio": ratio,
            "ratio_quartiles": list(quartiles),
        }
    return figures
