"""Duration of `import forwardforward` beyond that of `import torch`.

    python -m benchmarks.imports

New processes import one or the other in turn; both have imported them before, so that files are in memory and compiled.
The results are written to benchmarks/results/imports.json by default.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.command_line import Parser, bounded, one_line_errors, shell_command
from benchmarks.machine import describe_machine
from benchmarks.pages import ROOT, write
from benchmarks.timing import durations, median_and_quartiles

RESULTS = ROOT / "benchmarks" / "results" / "imports.json"

#: The imports that are compared, and what they import.
MODULES = {"torch": "torch", "forwardforward": "forwardforward"}

#: Largest acceptable number of seconds that the library adds.
BOUND = 0.1


def import_in_new_process(module: str) -> None:
    """Import a module in a new Python process, which stores compiled files as usual, whatever the environment says."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True, env=environment)


def slowest_modules(count: int = 5) -> dict[str, float]:
    """Return the modules outside torch whose own code takes the longest time to import, in seconds.

    Args:
        count: Number of modules.
    """
    command = [sys.executable, "-X", "importtime", "-c", "import torch; import forwardforward"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stderr.splitlines()
    rows = [[field.strip() for field in line.removeprefix("import time:").split("|")] for line in lines]
    after_torch = rows[max(index for index, row in enumerate(rows) if row[-1] == "torch") + 1 :]
    seconds = {name: int(own) / 1e6 for own, _, name in after_torch if own.isdigit()}
    return dict(sorted(seconds.items(), key=lambda entry: -entry[1])[:count])


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write the results."""
    parser = Parser(prog="python -m benchmarks.imports", description=__doc__)
    parser.add_argument("--rounds", type=bounded(int, 1), default=15)
    parser.add_argument("--out", type=Path, default=RESULTS)
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = parser.parse_args(words)
    with one_line_errors(parser.prog):
        start = time.perf_counter()
        imports = {name: partial(import_in_new_process, module) for name, module in MODULES.items()}
        seconds = durations(imports, options.rounds)
        added = [ours - torch for torch, ours in zip(seconds["torch"], seconds["forwardforward"], strict=True)]
        median, (low, high) = median_and_quartiles(added)
        torch_seconds = statistics.median(seconds["torch"])
        print(
            f"import torch: {torch_seconds:.2f} s; import forwardforward adds {median:.3f} s "
            f"(quartiles {low:.3f} to {high:.3f}; bound {BOUND}), in {time.perf_counter() - start:.0f} s"
        )
        content = {
            "command": shell_command("benchmarks.imports", words),
            "rounds": options.rounds,
            "machine": describe_machine("cpu"),
            "torch_seconds": round(torch_seconds, 4),
            "added_seconds": [round(value, 4) for value in (low, median, high)],
            "bound": BOUND,
            "slowest_modules": slowest_modules(),
        }
        write(options.out, json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
