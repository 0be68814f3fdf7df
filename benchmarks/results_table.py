"""The tables of results in the README and the documentation, made from the runs' summaries.

    python -m benchmarks.results_table            writes them into README.md and the pages under docs
    python -m benchmarks.results_table --check    exits 1 where a page is not what the summaries say

A page takes part where it holds these two lines; what is between them is written:

    <!-- results:begin -->                  every run
    <!-- results:end -->

The first line may say what it wants: `<!-- results:begin hinton, symba -->` the runs of these recipes,
`<!-- results:begin by need -->` one run for each of `NEEDS`.

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
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.pages import ROOT, filled

Summary = dict[str, Any]

BY_NEED = "by need"

#: Errors in percent that others report, by recipe, widths, data set and epochs; None stands for any number of epochs.
PAPERS: dict[tuple[str, str, str, int | None], str] = {
    ("hinton", "3×1000", "mnist", 60): "1.47 (Hinton's code)",
    ("hinton", "4×2000", "mnist", 60): "1.36 (Hinton 2022)",
    ("hinton-2000", "4×2000", "mnist", 60): "1.36 (Hinton 2022)",
    ("symba", "3×1000", "mnist", None): "1.42 (Lee and Song 2023; as cited by HCL-FF)",
    ("unsupervised", "4×2000", "mnist", None): "1.37 (Hinton 2022; 100 epochs)",
    ("imdb-symba", "4×2000", "imdb", None): "15.14 (arXiv 2307.04205)",
    ("imdb-threshold", "4×2000", "imdb", None): "15.14 (arXiv 2307.04205)",
    ("mono", "3×1000", "mnist", None): "1.26 (Mono-Forward 2025; tuned on the test set)",
}

#: What somebody may want, and the recipe and data set that serve it.
NEEDS: tuple[tuple[str, str, str], ...] = (
    ("a small dense network, fast", "mono", "mnist"),
    ("a small dense network, with pairs", "best-mlp", "mnist"),
    ("Hinton's supervised network, as in his code", "hinton", "mnist"),
    ("Hinton's supervised network, as in the paper", "hinton-2000", "mnist"),
    ("features without labels, dense", "unsupervised", "mnist"),
    ("features without labels, convolutional", "scff", "cifar10"),
    ("convolutions, quick to train, little memory", "mono-conv", "cifar10"),
    ("convolutions, a small error", "mono-conv-wide", "cifar10"),
    ("convolutions, few parameters", "cwcomp", "cifar10"),
    ("convolutions, deep", "deeperforward", "cifar10"),
    ("convolutions, the smallest reported error on CIFAR-10", "hcl-ff", "cifar10"),
    ("convolutions with pairs", "trifecta-d", "cifar10"),
    ("text", "imdb-bag", "imdb"),
    ("backpropagation, to compare with", "backprop", "mnist"),
)

COLUMNS = ("recipe", "layers", "data", "epochs", "seeds", "test error, %", "one-pass head, %",
           "reported, %", "minutes per seed", "command")  # fmt: skip
NEED_COLUMNS = ("you want", "recipe", "data", "test accuracy, %", "minutes per seed", "parameters", "epochs",
                "command")  # fmt: skip


def read(folder: Path) -> list[Summary]:
    """The summaries in a folder that measured the test set."""
    contents = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    return [one for one in contents if isinstance(one, dict) and one.get("test_error") is not None]


def render(summaries: Iterable[Summary]) -> str:
    """The Markdown table, a row a group of seeds.

    Raises:
        ValueError: a group holds a seed twice.
    """
    groups = _groups(summaries)
    return _table(COLUMNS, (_row(groups[key]) for key in sorted(groups)))


def render_some(summaries: Iterable[Summary], recipes: list[str]) -> str:
    """The table of some recipes, and which of them no summary is of."""
    known = [one for one in summaries if one["recipe"] in recipes]
    missing = [f"`{name}`" for name in recipes if name not in {one["recipe"] for one in known}]
    parts = [render(known)] if known else []
    parts += [f"Not yet run at full length: {', '.join(missing)}."] if missing else []
    return "\n\n".join(parts)


def render_needs(summaries: Iterable[Summary]) -> str:
    """The table by need: of a recipe on a data set, the longest training that was measured."""
    groups = _groups(summaries)
    rows = []
    for need, recipe, data in NEEDS:
        found = [runs for (on, name, *_), runs in groups.items() if (on, name) == (data, recipe)]
        row = [need, f"`{recipe}`", data]
        if found:
            runs = max(found, key=lambda runs: int(runs[0]["epochs"]))
            shown = dict(zip(COLUMNS, _row(runs), strict=True))
            row += [_spread([100 - one["test_error"] for one in runs]), shown["minutes per seed"],
                    _count(runs[0].get("parameters")), shown["epochs"], shown["command"]]  # fmt: skip
        else:
            command = f"`python -m forwardforward train {data} --recipe {recipe}`"
            row += ["not yet run", "", "", "", command]
        rows.append(row)
    return _table(NEED_COLUMNS, rows)


def _groups(summaries: Iterable[Summary]) -> dict[tuple[str, str, str, int], list[Summary]]:
    groups = defaultdict(list)
    for one in summaries:
        groups[one["data"], one["recipe"], layers(one["widths"]), one["epochs"]].append(one)
    return groups


def _table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    columns = tuple(columns)
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _count(parameters: int | None) -> str:
    """A number of parameters in short: 2.8 M."""
    return "" if parameters is None else f"{parameters / 1e6:.1f} M"


def layers(hidden: Iterable[int]) -> str:
    """Widths in short: 3×1000, or 500, 2×300."""
    runs = [(width, len(list(equal))) for width, equal in groupby(hidden)]
    return ", ".join(str(width) if count == 1 else f"{count}×{width}" for width, count in runs)


def _row(runs: list[Summary]) -> list[str]:
    runs = sorted(runs, key=lambda one: int(one["seed"]))
    first, seeds = runs[0], [one["seed"] for one in runs]
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"recipe {first['recipe']} on {first['data']} has a seed twice: {seeds}")
    shape = layers(first["widths"])
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


def table(summaries: list[Summary], wanted: str) -> str:
    """The table that a page's marker asks for: of every run, by need, or of the recipes that it names."""
    if wanted in ("", BY_NEED):
        return render_needs(summaries) if wanted else render(summaries)
    return render_some(summaries, [name.strip() for name in wanted.split(",")])


def pages(root: Path = ROOT) -> list[Path]:
    """README.md and the pages under docs that hold the markers."""
    end = "<!-- results:end -->"
    found = (path for path in sorted((root / "docs").rglob("*.md")) if end in path.read_text(encoding="utf-8"))
    return [root / "README.md", *found]


def main(arguments: list[str] | None = None) -> int:
    """Write the tables, or check that they are up to date."""
    parser = argparse.ArgumentParser(description="Make the tables of results.")
    parser.add_argument("pages", nargs="*", type=Path, help="Markdown files (default: README.md and those under docs)")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a page is stale")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args(arguments)
    stale = False
    try:
        summaries = read(options.results)
        for path in options.pages or pages():
            old = path.read_text(encoding="utf-8")
            new = filled(path, "results", partial(table, summaries))
            if old == new:
                continue
            stale = True
            if options.check:
                print(f"{path.name} is stale: run python -m benchmarks.results_table", file=sys.stderr)
            else:
                path.write_text(new, encoding="utf-8")
    except (ValueError, OSError) as error:
        print(f"results_table: {error}", file=sys.stderr)
        return 2
    return int(options.check and stale)


if __name__ == "__main__":
    sys.exit(main())
