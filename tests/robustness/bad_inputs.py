"""Gives the library 10,000 generated bad inputs, and counts how it answers.

    python -m tests.robustness.bad_inputs --count 10000 --seed 0 --out tests/robustness/bad_inputs.json

Bad arguments are generated from the signatures of the public interface, bad files from valid files of each format, and
bad command lines and run folders from valid ones. A case is right if the library refuses the input in one line that
names the argument or the file, or accepts it for one of the reasons in the results; what a call accepts is used, so
that a later NaN is seen. All other outcomes are failures. Files of torchvision's formats need torchvision.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from tests.robustness import commands, files, interface
from tests.robustness.pool import run_all, warm_up

RIGHT = ("refused clearly", "accepted")
#: Arguments that determine the amount of computation, which is not bounded.
WORK = ("epochs", "steps", "hidden")
SHARES = {"interface": 0.7, "files": 0.2, "command lines": 0.05, "run folders": 0.05}


def main() -> None:
    parser = argparse.ArgumentParser(description="Give the library generated bad inputs, and count how it answers.")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=3)
    parser.add_argument("--out", help="JSON file for the counts")
    parser.add_argument("--failures", help="JSON file for the failures")
    parser.add_argument("--only", choices=tuple(SHARES), help="only one part of the inputs")
    parser.add_argument("--target", default="", help="only targets with this text in their name")
    options = parser.parse_args()
    start = time.monotonic()
    warm_up()
    with tempfile.TemporaryDirectory(prefix="bad-inputs-") as folder:
        cases = _cases(options, Path(folder))
        print(f"{len(cases)} cases, after {time.monotonic() - start:.0f} s", file=sys.stderr)
        records: list[dict[str, Any]] = []
        try:
            _run(cases, options.jobs, records)
        except KeyboardInterrupt:
            print("interrupted: the counts are of the cases until then", file=sys.stderr)
    seconds = time.monotonic() - start
    counts, failures = summarize(records)
    print(table(counts))
    print(f"{len(records)} inputs, {sum(map(len, failures.values()))} failures, {seconds:.0f} s")
    if options.out:
        command = f"python -m tests.robustness.bad_inputs --count {options.count} --seed {options.seed}"
        content = {"command": command, "counts": counts, "reasons": _reasons(records)}
        Path(options.out).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    if options.failures:
        Path(options.failures).write_text(json.dumps(failures, indent=1) + "\n", encoding="utf-8")


def _cases(options: argparse.Namespace, folder: Path) -> list[tuple[Callable[[Any], dict[str, Any]], Any]]:
    counts = {part: round(options.count * share) for part, share in SHARES.items() if options.only in (None, part)}
    cases: list[tuple[Callable[[Any], dict[str, Any]], Any]] = []
    if "interface" in counts:
        cases += [
            (interface.run_case, case) for case in interface.cases(counts["interface"], random.Random(options.seed))
        ]
    if counts.keys() - {"interface"}:
        _prepare(folder)
    if "files" in counts:
        cases += [(files.run_case, case) for case in files.cases(counts["files"], random.Random(options.seed), folder)]
    if "command lines" in counts:
        chosen = commands.command_cases(counts["command lines"], random.Random(options.seed))
        cases += [(commands.run_command_case, case) for case in chosen]
    if "run folders" in counts:
        cases += [
            (commands.run_folder_case, case)
            for case in commands.run_cases(counts["run folders"], random.Random(options.seed))
        ]
    cases = [(function, case) for function, case in cases if options.target in case.name]
    return random.Random(options.seed).sample(cases, len(cases))  # mixed, so that slow cases are spread


def _prepare(folder: Path) -> None:
    """Write valid files and runs, and remember what the library answers to them."""
    folder.chmod(0o755)
    commands.prepare(folder)
    files.prepare(folder)
    for case, result in run_all(commands.valid_cases(), commands.valid_output, 2):
        if "output" in result:
            commands.OUTPUTS[f"{case.run} {case.name}"] = result["output"]
        elif case.name != "again":  # which a run's folder refuses
            print(f"the valid run {case.run} fails in {case.name}: {result}", file=sys.stderr)
    for name, result in run_all([form.name for form in files.FORMATS], lambda name: _in_folder(folder / name, name), 2):
        if "digest" in result:
            files.RESULTS[name] = result["digest"]
        else:
            print(f"the valid file of the format {name} is refused: {result}", file=sys.stderr)


def _in_folder(folder: Path, name: str) -> dict[str, Any]:
    shutil.copytree(folder, "files")
    os.chdir("files")
    return files.valid_result(name)


def _run(cases: list[tuple[Callable[[Any], dict[str, Any]], Any]], jobs: int, records: list[dict[str, Any]]) -> None:
    results = run_all(cases, lambda entry: entry[0](entry[1]), jobs, batch=20)
    for number, ((_, case), result) in enumerate(results, start=1):
        if result["outcome"] == "hang" and case.parameter in WORK:
            result = {"outcome": "accepted", "reason": "it computes as long as it was asked to"}
        records.append(
            {
                "category": case.category,
                "target": case.name,
                "input": case.expression,
                "holder": getattr(case, "holder", ""),
                "parameter": case.parameter,
                **result,
            }
        )
        if number % 500 == 0:
            print(f"{number} of {len(cases)}", file=sys.stderr)


def summarize(records: list[dict[str, Any]]) -> tuple[dict[str, dict[str, int]], dict[str, list[dict[str, Any]]]]:
    """Return the counts by category and outcome, and the failures by category."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    failures: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in records:
        counts[record["category"]][record["outcome"]] += 1
        if record["outcome"] not in RIGHT:
            failures[record["category"]].append(record)
    return {category: dict(sorted(counts[category].items())) for category in sorted(counts)}, dict(failures)


def _reasons(records: list[dict[str, Any]]) -> dict[str, int]:
    return dict(Counter(record["reason"] for record in records if "reason" in record).most_common())


def table(counts: dict[str, dict[str, int]]) -> str:
    outcomes = sorted({outcome for row in counts.values() for outcome in row}, key=lambda x: (x not in RIGHT, x))
    lines = ["category".ljust(24) + "".join(outcome.rjust(len(outcome) + 2) for outcome in outcomes)]
    for category, row in counts.items():
        lines.append(category.ljust(24) + "".join(str(row.get(o, 0)).rjust(len(o) + 2) for o in outcomes))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
