"""Durations of functions that run in turn in one process, relative to one of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["compare"]

#: Rounds before those that are measured.
WARM_UP = 2


def compare(functions: Mapping[str, Callable[[], Any]], reference: str, rounds: int) -> dict[str, dict[str, Any]]:
    """Return the median duration of each function, and the median and quartiles of its ratio to the reference's.

    The ratio is taken in each round, so that changes of the machine's load affect both durations.

    Args:
        functions: The functions, by name.
        reference: Name of the function that the others are compared with.
        rounds: Number of calls of each function.
    """
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(WARM_UP + rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if turn >= WARM_UP:
                seconds[name].append(time.perf_counter() - start)
    figures = {}
    for name, durations in seconds.items():
        ratios = sorted(duration / base for duration, base in zip(durations, seconds[reference], strict=True))
        quarter = len(ratios) // 4
        figures[name] = {
            "milliseconds": 1000 * statistics.median(durations),
            "ratio": statistics.median(ratios),
            "ratio_quartiles": [ratios[quarter], ratios[-1 - quarter]],
        }
    return figures
