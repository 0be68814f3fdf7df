"""Whether the diagnosis names the cause of runs that were spoiled on purpose, and is silent about healthy ones.

    python -m benchmarks.doctor                   trains 45 runs on small data, a few minutes on one core
    python -m benchmarks.doctor --only FIRST      one of the lists in benchmarks/doctor/spoilings.py
    python -m benchmarks.doctor --folder FOLDER   keeps the run folders, and does not train those that exist again

Only the command without --only writes benchmarks/results/doctor.json and the table of docs/diagnosing.md.
"""

from __future__ import annotations

import json
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.command_line import Parser, one_line_errors
from benchmarks.doctor import spoilings
from benchmarks.doctor.spoilings import Spoiled
from benchmarks.doctor.train import train
from benchmarks.machine import describe_machine
from benchmarks.pages import ROOT, filled, write
from forwardforward.runs import Run

LISTS = ("FIRST", "HEALTHY_FIRST", "SECOND", "HEALTHY_SECOND", "THIRD", "HEALTHY_THIRD")
RESULTS = ROOT / "benchmarks" / "results" / "doctor.json"
PAGE = ROOT / "docs" / "diagnosing.md"


def result(spoiled: Spoiled, folder: Path) -> dict[str, Any]:
    """Return what the diagnosis finds for a run, which is trained if its folder does not exist.

    Args:
        spoiled: The run.
        folder: Its folder.
    """
    if not folder.exists():
        train(spoiled, folder)
    run = Run.open(folder)  # as `forwardforward doctor`: without the recipe and the data
    findings = run.diagnose()
    found = findings[0].cause if findings else None
    return {
        "name": spoiled.name,
        "recipe": spoiled.recipe,
        "validation": spoiled.validation,
        "expected": spoiled.cause,
        "found": [finding.cause for finding in findings],
        "right": found == spoiled.cause,
        "text": findings[0].text if findings else None,
    }


def table(content: dict[str, Any]) -> str:
    """Return the results in Markdown."""
    lines = ["| list | run | recipe | spoiled by | named first | also named |", "|---|---|---|---|---|---|"]
    for name, rows in content["lists"].items():
        for row in rows:
            first, *others = row["found"] or ["nothing"]
            mark = "" if row["right"] else " ✗"
            cells = (
                name.removeprefix("HEALTHY_").lower(),
                row["name"],
                f"`{row['recipe']}`",
                row["expected"] or "healthy",
                first + mark,
            )
            lines.append("| " + " | ".join([*cells, ", ".join(others)]) + " |")
    counts = {name: (sum(row["right"] for row in rows), len(rows)) for name, rows in content["lists"].items()}
    named = ("FIRST", "SECOND", "THIRD", "HEALTHY_FIRST", "HEALTHY_SECOND", "HEALTHY_THIRD")
    summary = (
        "The right cause is named first in {} of {} runs of the first list, by which the limits of the rules were "
        "chosen, in {} of {} of the second and in {} of {} of the third; nothing is named in {} of {}, {} of {} and "
        "{} of {} healthy runs."
    ).format(*(number for name in named for number in counts[name]))
    return "\n".join([summary, "", *lines])


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the runs and write the results."""
    parser = Parser(prog="python -m benchmarks.doctor", description=__doc__)
    parser.add_argument("--only", choices=LISTS, help="train one list, and write nothing")
    parser.add_argument("--folder", type=Path, help="folder of the runs (default: a temporary one)")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")  # of classes without samples, which some runs lack on purpose
    start = time.perf_counter()
    with one_line_errors(parser.prog), tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        lists: dict[str, list[dict[str, Any]]] = {}
        for name in (options.only,) if options.only else LISTS:
            lists[name] = []
            for index, spoiled in enumerate(getattr(spoilings, name)):
                row = result(spoiled, folder / name / f"{index:02d}")
                lists[name].append(row)
                print(f"{'' if row['right'] else 'wrong: '}{row['name']}: {', '.join(row['found']) or 'nothing'}")
            print(f"{name}: {sum(row['right'] for row in lists[name])} of {len(lists[name])}")
        if options.only:
            return
        content = {
            "command": "python -m benchmarks.doctor" + (" --folder FOLDER" if options.folder else ""),
            "machine": describe_machine("cpu"),
            "seconds": None if options.folder else round(time.perf_counter() - start),
            "lists": lists,
        }
        write(RESULTS, json.dumps(content, indent=2) + "\n")
        write(PAGE, filled(PAGE, "doctor", table(content)))


if __name__ == "__main__":
    main()
