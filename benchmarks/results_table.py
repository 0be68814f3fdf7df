"""The tables of results in the README and the documentation, from the summaries of runs.

    python -m benchmarks.results_table            writes them to README.md and the pages under docs
    python -m benchmarks.results_table --check    exits with status 1 if a page does not match the summaries

The table is written between these two lines of a page:

    <!-- results:begin -->                  every run
    <!-- results:end -->

Words in the first line select runs: `<!-- results:begin hinton, symba -->` those of these recipes,
`<!-- results:begin by need -->` one for each of `NEEDS`,
`<!-- results:begin best -->` the smallest errors on each data set, of local and of end-to-end training,
`<!-- results:begin against backpropagation -->` a row for each of `COUNTERPARTS`, with the difference.

The summaries are benchmarks/results/*.json, each a copy of a run's summary.json; other files there are ignored. Seeds
of the same recipe, widths, data set and number of epochs form one row. Unfinished runs and errors on validation data
are marked as such, and do not appear in the table by need. A file that `python -m forwardforward ensemble --out` wrote
is one row after the runs on its data set; a selection of recipes includes it if it includes all of its recipes.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.command_line import Parser, one_line_errors
from benchmarks.pages import ROOT, filled, write
from forwardforward.recipes import get
from forwardforward.recipes.facts import Facts

Summary = dict[str, Any]

BY_NEED = "by need"
BEST = "best"
AGAINST_BACKPROPAGATION = "against backpropagation"

#: Reported errors in percent, by recipe, widths, data set and epochs; None stands for any number of epochs.
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

#: Needs, each with a recipe and a data set.
NEEDS: tuple[tuple[str, str, str], ...] = (
    ("a small dense network, fast", "mono", "mnist"),
    ("a dense network with a small error", "mono-dropout", "mnist"),
    ("a small dense network, with pairs", "best-mlp", "mnist"),
    ("Hinton's supervised network, as in his code", "hinton", "mnist"),
    ("Hinton's supervised network, as in the paper", "hinton-2000", "mnist"),
    ("features without labels, dense", "unsupervised", "mnist"),
    ("features without labels, convolutional", "scff", "cifar10"),
    ("convolutions, quick to train, little memory", "mono-conv", "cifar10"),
    ("convolutions, strictly local, a small error", "whitened", "cifar10"),
    ("convolutions, the smallest error", "whitened-wide", "cifar10"),
    ("convolutions, at most 0.5 M parameters", "whitened-small", "cifar10"),
    ("convolutions, overlapping updates", "mono-conv-wide", "cifar10"),
    ("convolutions, few parameters", "cwcomp", "cifar10"),
    ("convolutions, deep", "deeperforward", "cifar10"),
    ("convolutions, deep, with a contrastive loss", "hcl-ff", "cifar10"),
    ("convolutions, similarity matching", "predsim", "cifar10"),
    ("convolutions with pairs", "trifecta-d", "cifar10"),
    ("text, quick to train", "imdb-bag", "imdb"),
    ("text, the smallest error", "imdb-trigrams", "imdb"),
    ("backpropagation, to compare with", "backprop", "mnist"),
)

#: Recipes with the baseline that trains the same layers end to end, by data set.
COUNTERPARTS: tuple[tuple[str, str, str], ...] = (
    ("cifar10", "whitened", "whitened-backprop"),
    ("cifar10", "whitened", "whitened-deep-supervision"),
    ("mnist", "hinton", "backprop"),
    ("mnist", "mono", "backprop"),
    ("imdb", "imdb-symba", "imdb-backprop"),
    ("imdb", "imdb-bag", "imdb-bag-backprop"),
    ("imdb", "imdb-trigrams", "imdb-trigrams-backprop"),
)

#: Recipes per data set and kind in the table of the best.
MOST = 3

FACTS = ("gradient_crosses", "passes", "augmentation", "views")

COLUMNS = ("recipe", "layers", "data", "epochs", "seeds", "test error, %", "one-pass head, %",
           "reported, %", "minutes per seed", "gradient crosses", "parameters", "passes", "augmentation",
           "test-time views", "command")  # fmt: skip
NEED_COLUMNS = ("you want", "recipe", "data", "test accuracy, %", "minutes per seed", "gradient crosses",
                "parameters", "epochs", "augmentation", "test-time views", "command")  # fmt: skip
BEST_COLUMNS = ("data", "recipe", "layers", "test accuracy, %", "gradient crosses", "parameters", "epochs",
                "minutes per seed", "test-time views", "command")  # fmt: skip
GAP_COLUMNS = ("data", "layers", "recipe", "baseline", "test error, %", "of the baseline, %", "difference, points",
               "epochs", "of the baseline", "seeds", "gradient crosses", "augmentation",
               "test-time views")  # fmt: skip


def read(folder: Path) -> list[Summary]:
    """Return the summaries in a folder."""
    contents = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    return [content for content in contents if isinstance(content, dict) and _has_error(content)]


def render(summaries: Iterable[Summary]) -> str:
    """Return the Markdown table, with one row per group of seeds.

    Raises:
        ValueError: If a group contains a seed twice.
    """
    summaries = list(summaries)
    groups = _groups(summaries)
    rows = [(key[0], False, _row(groups[key])) for key in sorted(groups)]
    rows += [(run["data"], True, _ensemble_row(run)) for run in summaries if _is_ensemble(run)]
    return _table(COLUMNS, (row for *_, row in sorted(rows, key=lambda entry: entry[:2])))


def render_recipes(summaries: Iterable[Summary], recipes: list[str]) -> str:
    """Return the table of some recipes, and the names of those without a summary."""
    selected = [summary for summary in summaries if _recipes(summary) <= set(recipes)]
    runs = [summary["recipe"] for summary in selected if not _is_ensemble(summary)]
    missing = [f"`{name}`" for name in recipes if name not in runs]
    parts = [render(selected)] if selected else []
    parts += [f"Not yet run at full length: {', '.join(missing)}."] if missing else []
    return "\n\n".join(parts)


def render_needs(summaries: Iterable[Summary]) -> str:
    """Return the table by need, with the longest run of each recipe on its data set, and the recipes without a run."""
    groups = _finished_groups(summaries)
    rows, missing = [], []
    for need, recipe, data in NEEDS:
        candidates = [runs for key, runs in groups.items() if key[:2] == (data, recipe)]
        if not candidates:  # what was never run is not recommended
            missing.append(f"{need}: `{recipe}` on {data}")
            continue
        runs = max(candidates, key=lambda runs: int(runs[0]["epochs"]))
        cells = dict(zip(COLUMNS, _row(runs), strict=True))
        accuracy = _spread([100 - run["test_error"] for run in runs])
        rows.append([need, f"`{recipe}`", data, accuracy, *(cells[name] for name in NEED_COLUMNS[4:])])
    parts = [_table(NEED_COLUMNS, rows)]
    parts += [f"Not yet run at full length: {'; '.join(missing)}."] if missing else []
    return "\n\n".join(parts)


def render_best(summaries: Iterable[Summary]) -> str:
    """Return the table of the recipes with the smallest errors on each data set, local ones first, then end to end."""
    summaries = list(summaries)
    results = [(runs, f"`{key[1]}`", _row(runs)) for key, runs in _finished_groups(summaries).items()]
    tested = [run for run in summaries if _is_ensemble(run) and _measured_on(run) == "test"]
    results += [([run], row[0], row) for run in tested for row in [_ensemble_row(run)]]
    entries: dict[tuple[str, bool], dict[str, tuple[float, list[str]]]] = defaultdict(dict)
    for runs, name, row in results:
        errors = [run["test_error"] for run in runs]
        error = statistics.mean(errors)
        cells = dict(zip(COLUMNS, row, strict=True))
        cells |= {"recipe": name, "test accuracy, %": _spread([100 - error for error in errors])}
        recipes = entries[cells["data"], cells["gradient crosses"] == "all"]
        if name not in recipes or error < recipes[name][0]:
            recipes[name] = error, [cells[column] for column in BEST_COLUMNS]
    return _table(BEST_COLUMNS, (row for key in sorted(entries) for _, row in sorted(entries[key].values())[:MOST]))


def render_gaps(summaries: Iterable[Summary]) -> str:
    """Return the table of recipes beside their baselines, each pair with equal widths, and the pairs without a run.

    Of each recipe the run with the most epochs counts, for which the baseline was run.
    """
    groups = _finished_groups(summaries)
    rows, missing = [], []
    for data, recipe, baseline in COUNTERPARTS:
        pairs = [
            (runs, other)
            for key, runs in groups.items()
            for other_key, other in groups.items()
            if key[:3] == (data, recipe, other_key[2]) and other_key[:2] == (data, baseline)
        ]
        if not pairs:
            missing.append(f"`{recipe}` beside `{baseline}` on {data}")
            continue
        runs, other = max(pairs, key=lambda pair: (int(pair[0][0]["epochs"]), int(pair[1][0]["epochs"])))
        cells = dict(zip(COLUMNS, _row(runs), strict=True))
        difference = statistics.mean(run["test_error"] for run in runs) - statistics.mean(
            run["test_error"] for run in other
        )
        rows.append(
            [data, cells["layers"], f"`{recipe}`", f"`{baseline}`", _error(runs), _error(other), f"{difference:+.2f}"]
            + [cells["epochs"], str(other[0]["epochs"]), f"{len(runs)} and {len(other)}"]
            + [cells[name] for name in GAP_COLUMNS[10:]]
        )
    parts = [_table(GAP_COLUMNS, rows)] if rows else []
    parts += [f"Not yet run: {'; '.join(missing)}."] if missing else []
    return "\n\n".join(parts)


def _has_error(content: dict[str, Any]) -> bool:
    return "test_error" in content and (content["test_error"] is not None or _measured_on(content) == "validation")


def _is_ensemble(summary: Summary) -> bool:
    return "members" in summary


def _without_ensembles(summaries: Iterable[Summary]) -> list[Summary]:
    return [summary for summary in summaries if not _is_ensemble(summary)]


def _recipes(summary: Summary) -> set[str]:
    """Return the recipes of a run, or of the runs of an ensemble."""
    return {run["recipe"] for run in summary.get("members", [summary])}


def _name(run: Summary) -> str:
    """Return the recipe, with the number of teachers if there are any: their runs are another training."""
    teachers = run.get("teachers", 0)
    return f"{run['recipe']}, {teachers} teacher{'s' if teachers > 1 else ''}" if teachers else str(run["recipe"])


def _measured_on(run: Summary) -> str:
    """Return "test" or "validation"; summaries of the first runs do not contain it."""
    return str(run.get("measured_on", "test"))


def is_unfinished(run: Summary) -> bool:
    """Return whether a run was trained for fewer epochs than it was planned for."""
    return bool(run["epochs"] < run.get("planned_epochs", run["epochs"]))


def _groups(summaries: Iterable[Summary]) -> dict[tuple[str, str, str, int, str, bool], list[Summary]]:
    groups = defaultdict(list)
    for run in _without_ensembles(summaries):
        key = run["data"], _name(run), shortened(run["widths"]), run["epochs"]
        groups[(*key, _measured_on(run), is_unfinished(run))].append(run)
    return groups


def _finished_groups(summaries: Iterable[Summary]) -> dict[tuple[str, str, str, int, str, bool], list[Summary]]:
    """Return the groups of finished runs that were measured on the test set."""
    runs = _without_ensembles(summaries)
    return _groups(run for run in runs if _measured_on(run) == "test" and not is_unfinished(run))


def _table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    columns = tuple(columns)
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _parameters(run: Summary) -> str:
    """Return the number of parameters such as 2.8 M, with those that serve training alone apart."""
    if run.get("parameters") is None:
        return ""
    in_training = run.get("training_parameters", 0)
    text = f"{(run['parameters'] - in_training) / 1e6:.1f} M"
    return text + (f" (+ {in_training / 1e6:.1f} M in training)" if in_training else "")


def _facts(run: Summary) -> list[str]:
    """Return the cells of the facts; those of a run from before they were recorded are its recipe's."""
    recipe = get(run["recipe"]).for_dataset(run["data"])
    facts = {**Facts.of(recipe).to_dict(), **{name: run[name] for name in FACTS if name in run}}
    crosses, passes, augmentation, views = (str(facts[name]) for name in FACTS)
    return [crosses, _parameters(run), passes, augmentation, views]


def shortened(widths: Iterable[int]) -> str:
    """Return widths such as 3×1000, or 500, 2×300."""
    counts = [(width, len(list(equal))) for width, equal in groupby(widths)]
    return ", ".join(str(width) if count == 1 else f"{count}×{width}" for width, count in counts)


def _row(runs: list[Summary]) -> list[str]:
    runs = sorted(runs, key=lambda run: int(run["seed"]))
    first, seeds = runs[0], [run["seed"] for run in runs]
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"recipe {first['recipe']} on {first['data']} has a seed twice: {seeds}")
    widths = shortened(first["widths"])
    reported = (PAPERS.get((first["recipe"], widths, first["data"], epochs)) for epochs in (first["epochs"], None))
    return [
        _name(first),
        widths,
        first["data"],
        f"{first['epochs']} of {first['planned_epochs']}, unfinished" if is_unfinished(first) else str(first["epochs"]),
        ", ".join(map(str, seeds)),
        _error(runs),
        _spread([run["head_error"] for run in runs]),
        next(filter(None, reported), ""),
        _minutes(runs),
        *_facts(first),
        f"`{_command(first['command'], len(seeds))}`",
    ]


def _minutes(runs: list[Summary]) -> str:
    """Return the mean of the minutes, with the device if it is not a CPU."""
    minutes = f"{statistics.mean(run['seconds'] for run in runs) / 60:.1f}"
    device = runs[0].get("device", "cpu")
    return minutes if device == "cpu" else f"{minutes} ({device})"


def _ensemble_row(ensemble: Summary) -> list[str]:
    """Return a row with the runs' cells, each once if they are the same for all runs."""
    members: list[Summary] = ensemble["members"]
    rows = [_row([run]) for run in members]
    cells = {
        name: column[0] if len(set(column)) == 1 else " + ".join(cell or "none" for cell in column)
        for name, column in zip(COLUMNS, zip(*rows, strict=True), strict=True)
    }
    counts = Counter(map(_name, members))
    mean = "mean" if len(set(ensemble["weights"])) == 1 else "weighted mean"
    recipes = " + ".join(name if count == 1 else f"{count}×{name}" for name, count in counts.items())
    commands = dict.fromkeys(_command(run["command"], counts[_name(run)]) for run in members)
    cells |= {
        "recipe": f"{mean} of {recipes}",
        "test error, %": _error([ensemble]),
        "one-pass head, %": "",
        "reported, %": "",
        "command": f"`{ensemble['command']}` of the runs by {', '.join(f'`{command}`' for command in commands)}",
    }
    return [cells[name] for name in COLUMNS]


def _error(runs: list[Summary]) -> str:
    """Return the test error, or the error on the validation data that was measured in its place."""
    if _measured_on(runs[0]) == "test":
        return _spread([run["test_error"] for run in runs])
    return f"{_spread([run['validation_error'] for run in runs])} (validation)"


def _spread(values: list[float | None]) -> str:
    """Return the mean and, for several values, their standard deviation; "" if a value is missing."""
    numbers = [value for value in values if value is not None]
    if not numbers or len(numbers) < len(values):
        return ""
    mean = f"{statistics.mean(numbers):.2f}"
    return mean if len(numbers) == 1 else f"{mean} ± {statistics.stdev(numbers):.2f}"


def _command(command: str, seeds: int) -> str:
    """Return the command without options that do not change the result, and with S for the seed of several runs."""
    numbers = r" --(threads|seed|checkpoint-minutes) [\d.]+"
    command = re.sub(rf" --(json|no-progress)\b| --device cpu\b|{numbers}", "", command)
    return f"{command} --seed S" if seeds > 1 else command


def table(summaries: list[Summary], selection: str) -> str:
    """Return the table that a page's marker selects: every run, a kind of table, or the runs of some recipes."""
    if not selection:
        return render(summaries)
    if selection == BY_NEED:
        return render_needs(summaries)
    if selection == BEST:
        return render_best(summaries)
    if selection == AGAINST_BACKPROPAGATION:
        return render_gaps(summaries)
    return render_recipes(summaries, [name.strip() for name in selection.split(",")])


def pages(root: Path = ROOT) -> list[Path]:
    """Return README.md and the pages under docs that contain the markers."""
    end = "<!-- results:end -->"
    marked = (path for path in sorted((root / "docs").rglob("*.md")) if end in path.read_text(encoding="utf-8"))
    return [root / "README.md", *marked]


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the tables, or check that they are up to date, and return the exit status."""
    parser = Parser(prog="python -m benchmarks.results_table", description=__doc__)
    parser.add_argument("pages", nargs="*", type=Path, help="Markdown files (default: README.md and those under docs)")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with status 1 if a page is stale")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results", help="folder of summaries")
    options = parser.parse_args(arguments)
    is_stale = False
    with one_line_errors(parser.prog):
        summaries = read(options.results)
        for path in options.pages or pages():
            text = filled(path, "results", partial(table, summaries))
            if text == path.read_text(encoding="utf-8"):
                continue
            is_stale = True
            if options.check:
                print(f"{path.name} is stale: run python -m benchmarks.results_table", file=sys.stderr)
            else:
                write(path, text)
    return int(options.check and is_stale)


if __name__ == "__main__":
    sys.exit(main())
