"""Duration of a layerwise step on the CPU with and without reuse of freed memory.

    python -m benchmarks.allocation
    python -m benchmarks.allocation --stacks mono-conv@128 --precisions bf16

Each round trains in two new processes, one after the other, since the setting is one of the whole process. A process
takes a few steps first. The results are written to benchmarks/results/allocation.json by default, and the table of
docs/speed.md from there.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

import forwardforward as ff
from benchmarks.command_line import Parser, bounded, check_names, one_line_errors, several, shell_command
from benchmarks.machine import describe_machine, machine_words
from benchmarks.markdown import table
from benchmarks.pages import ROOT, filled, write
from benchmarks.pipeline.measure import run_processes
from benchmarks.speed.stacks import CLASSES, parse
from benchmarks.timing import durations, median_and_quartiles
from forwardforward.training import reuse_freed_memory

RESULTS = ROOT / "benchmarks" / "results" / "allocation.json"
PAGE = ROOT / "docs" / "speed.md"

STACKS = "784-500-500@128,784-4x2000@512,mono-conv@128,trifecta-s/4@128"
OBJECTIVES = ("class", "pair")
PRECISIONS = ("float32", "bf16")


def _measure(_: int, stack: str, objective: str, precision: str, options: Mapping[str, Any], *places: Any) -> None:
    """Put the duration of a step and the peak memory of this process into a queue."""
    _, queue = places
    torch.set_num_threads(options["threads"])
    if options["reuse"] and not reuse_freed_memory():
        raise RuntimeError("freed memory can be kept only where the C library is glibc")
    parsed = parse(stack)
    model = parsed.pair() if objective == "pair" else parsed.per_class()
    images = torch.rand(parsed.batch_size, *parsed.input_shape)
    batch = images, torch.arange(parsed.batch_size) % CLASSES
    optimizer = ff.LocalOptimizer(torch.optim.SGD, lr=1e-4, momentum=0.9, fused=True).attach(model)
    model.preprocessing.fit(images)
    context = torch.autocast("cpu", torch.bfloat16) if precision == "bf16" else contextlib.nullcontext()
    with context:
        seconds = durations({"step": lambda: model.step(batch, optimizer)}, options["steps"])["step"]
    kibibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    queue.put({"milliseconds": 1000 * statistics.median(seconds), "mebibytes": kibibytes / 1024})


def measure_row(stack: str, objective: str, precision: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return medians of a step's duration and of the peak memory, and the ratio of the durations.

    Args:
        stack: Name of the stack, see ``benchmarks.speed``.
        objective: ``"class"`` or ``"pair"``.
        precision: ``"float32"`` or ``"bf16"``.
        options: Options of the command line.
    """
    figures: dict[str, list[dict[str, float]]] = {"default": [], "reuse": []}
    for turn in range(options.rounds):
        for name in sorted(figures, reverse=turn % 2 == 1):
            setting = {"threads": options.threads, "steps": options.steps, "reuse": name == "reuse"}
            figures[name] += run_processes(_measure, 1, (stack, objective, precision, setting), 1)
    pairs = zip(figures["default"], figures["reuse"], strict=True)
    ratio, quartiles = median_and_quartiles([b["milliseconds"] / a["milliseconds"] for a, b in pairs])
    medians = {
        name: {key: statistics.median(result[key] for result in results) for key in results[0]}
        for name, results in figures.items()
    }
    row = {"stack": stack, "objective": objective, "precision": precision}
    return {**row, **medians, "ratio": ratio, "ratio_quartiles": list(quartiles)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write the results."""
    parser = Parser(prog="python -m benchmarks.allocation", description=__doc__)
    parser.add_argument("--stacks", type=several(parse), default=several(parse)(STACKS), help=f"default: {STACKS}")
    parser.add_argument("--objectives", type=several(str), default=OBJECTIVES, metavar="NAME,...")
    parser.add_argument("--precisions", type=several(str), default=PRECISIONS, metavar="NAME,...")
    parser.add_argument("--rounds", type=bounded(int, 1), default=3, help="pairs of processes")
    parser.add_argument("--steps", type=bounded(int, 1), default=15, help="measured steps of a process")
    parser.add_argument("--threads", type=bounded(int, 1, 4096), default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--render", action="store_true", help="measure nothing, write the page's table")
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = parser.parse_args(words)
    with one_line_errors(parser.prog, "--stacks"):
        check_names("--objectives", options.objectives, OBJECTIVES)
        check_names("--precisions", options.precisions, PRECISIONS)
        if not options.render:
            measure(options, shell_command("benchmarks.allocation", words))
        if options.out == RESULTS:
            content = json.loads(RESULTS.read_text(encoding="utf-8"))
            write(PAGE, filled(PAGE, "allocation", render(content)))


def measure(options: argparse.Namespace, command: str) -> None:
    """Measure every row, print it and write the results.

    Args:
        options: Options of the command line.
        command: The command, for the file of results.
    """
    rows: list[dict[str, Any]] = []
    for stack in options.stacks:
        for objective in options.objectives:
            for precision in options.precisions:
                row = measure_row(stack.name, objective, precision, options)
                rows.append(row)
                print(" | ".join(_cells(row)), flush=True)
    machine = {**describe_machine("cpu"), "threads": options.threads}
    content = {"command": command, "rounds": options.rounds, "machine": machine, "rows": rows}
    write(options.out, json.dumps(content, indent=2) + "\n")


def render(content: Mapping[str, Any]) -> str:
    """Return the page's table.

    Args:
        content: What :func:`measure` wrote.
    """
    machine = content["machine"]
    columns = ["stack@batch, objective", "precision", "default, ms", "reuse, ms", "ratio",
               "default, peak MiB of the process", "reuse, peak MiB"]  # fmt: skip
    setting = f"{machine_words(machine)}, torch {machine['torch']}; `{content['command']}`"
    return f"{setting}\n\n{table(columns, [_cells(row) for row in content['rows']])}"


def _cells(row: Mapping[str, Any]) -> list[str]:
    low, high = row["ratio_quartiles"]
    kinds = row["default"], row["reuse"]
    return [
        f"{row['stack']}, {row['objective']}",
        row["precision"],
        *(f"{kind['milliseconds']:.1f}" for kind in kinds),
        f"{row['ratio']:.2f} ({low:.2f}–{high:.2f})",
        *(f"{kind['mebibytes']:.0f}" for kind in kinds),
    ]


if __name__ == "__main__":
    main()
