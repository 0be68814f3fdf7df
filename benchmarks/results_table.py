"""The README's table of results, made from the runs' summaries.

    python benchmarks/results_table.py            writes the table into README.md
    python benchmarks/results_table.py --check    exits 1 where README.md is not what the summaries say

Reads benchmarks/results/*.json, each a copy of a run's summary.json; other files there are left alone. Seeds of one
recipe, stack, data set and length of training make one row.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

Summary = dict[str, Any]

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"

#: Errors in percent that others report, by recipe, widths, data set and epochs; None stands for any number of epochs.
PAPERS: dict[tuple[str, str, str, int | None], str] = {
    ("hinton", "3×1000", "mnist", 60): "1.47 (Hinton's program)",
    ("hinton", "4×2000", "mnist", 60): "1.36 (Hinton 2022)",
    ("hinton-2000", "4×2000", "mnist", 60): "1.36 (Hinton 2022)",
    ("symba", "3×1000", "mnist", None): "1.42 (Lee and Song 2023; as cited by HCL-FF)",
    ("unsupervised", "4×2000", "mnist", 100): "1.37 (Hinton 2022)",
    ("mono", "3×1000", "mnist", None): "1.26 (Mono-Forward 2025; tuned on the test set)",
}

COLUMNS = ("recipe", "layers", "data", "epochs", "seeds", "test error, %", "one-pass head, %",
           "reported, %", "minutes a seed", "command")  # fmt: skip


def read(folder: Path) -> list[Summary]:
    """The summaries in a folder that measured the test set."""
    contents = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    return [one for one in contents if isinstance(one, dict) and one.get("test_error") is not None]


def render(summaries: Iterable[Summary]) -> str:
    """The Markdown table, a row a group of seeds.

    Raises:
        ValueError: a group holds a seed twice.
    """
    groups = defaultdict(list)
    for one in summaries:
        groups[one["data"], one["recipe"], layers(one["hidden"]), one["epochs"]].append(one)
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + " --- |" * len(COLUMNS)]
    lines += ["| " + " | ".join(_row(groups[key])) + " |" for key in sorted(groups)]
    return "\n".join(lines)


def layers(hidden: Iterable[int]) -> str:
    """Widths in short: 3×1000, or 500, 2×300."""
    runs = [(width, len(list(equal))) for width, equal in groupby(hidden)]
    return ", ".join(str(width) if count == 1 else f"{count}×{width}" for width, count in runs)


def _row(runs: list[Summary]) -> list[str]:
    runs = sorted(runs, key=lambda one: int(one["seed"]))
    first, seeds = runs[0], [one["seed"] for one in runs]
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"recipe {first['recipe']} on {first['data']} has a seed twice: {seeds}")
    shape = layers(first["hidden"])
    reported = (PAPERS.get((first["recipe"], shape, first["data"], n)) for n in (first["epochs"], None))
    return [
        first["recipe"],
        shape,
        first["data"],
        str(first["epochs"]),
        ", ".join(map(str, seeds)),
        _spread([one["test_error"] for one in runs]),
        _spread([one["head_error"] for one in runs]),
        next((one for one in reported if one), ""),
        f"{statistics.mean(one['seconds'] for one in runs) / 60:.1f}",
        f"`{_command(first['command'], len(seeds))}`",
    ]


def _spread(values: list[float | None]) -> str:
    """Mean and, of several, their standard deviation; nothing where one was not measured."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return ""
    mean = f"{statistics.mean(known):.2f}"
    return mean if len(known) == 1 else f"{mean} ± {statistics.stdev(known):.2f}"


def _command(command: str, seeds: int) -> str:
    """The command without what does not change the result, and with a letter for the seed where there are several."""
    command = re.sub(r" --(json|no-progress)\b| --device cpu\b| --threads \d+| --seed \d+", "", command)
    return f"{command} --seed S" if seeds > 1 else command


def insert(readme: str, table: str) -> str:
    """The README with the table between its markers.

    Raises:
        ValueError: the markers are not there, once each and in order.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end) or readme.count(BEGIN) + readme.count(END) != 2:
        raise ValueError(f"the README must hold {BEGIN} and, after it, {END}, once each")
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def main(arguments: list[str] | None = None) -> int:
    """Write the table, or check that it is up to date."""
    parser = argparse.ArgumentParser(description="Make the README's table of results.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where the README is stale")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md")
    options = parser.parse_args(arguments)
    try:
        old = options.readme.read_text(encoding="utf-8")
        new = insert(old, render(read(options.results)))
    except (ValueError, OSError) as error:
        print(f"results_table: {error}", file=sys.stderr)
        return 2
    if options.check:
        if old != new:
            print("README.md is stale: run python benchmarks/results_table.py", file=sys.stderr)
        return int(old != new)
    if old != new:
        options.readme.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
