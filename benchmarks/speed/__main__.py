"""The command line, ``python -m benchmarks.speed``."""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch

import benchmarks.speed
from benchmarks.command_line import Parser, bounded, choose_device, one_line_errors, several, shell_command
from benchmarks.machine import describe_machine
from benchmarks.pages import ROOT
from benchmarks.speed import results, tables
from benchmarks.speed.measure import measure
from benchmarks.speed.stacks import DEFAULT, FFLIB, parse
from benchmarks.speed.steps import KINDS
from benchmarks.speed.workload import OPTIMIZERS, PRECISIONS
from forwardforward.training import reuse_freed_memory

PROGRAM = "python -m benchmarks.speed"
RESULTS = ROOT / "benchmarks" / "results" / "speed.json"

#: The optimizer of fflib's network, on which the others use it too.
FFLIB_OPTIMIZER = "adam"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write results and tables.

    Args:
        arguments: Words after the program's name; default: those of the process.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(words)
    with one_line_errors(PROGRAM, "--stacks"):
        if options.merge:
            results.add(options.out, results.read(options.merge))
        if not (options.render or options.merge):
            _measure(options, shell_command("benchmarks.speed", words))
        if options.out == RESULTS:
            tables.write_page(results.read(RESULTS))


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog=PROGRAM, description=benchmarks.speed.__doc__)
    names = ",".join(DEFAULT)
    parser.add_argument("--stacks", type=several(parse), default=tuple(map(parse, DEFAULT)), help=f"default: {names}")
    parser.add_argument("--precision", type=several(_choice(PRECISIONS)), default=tuple(PRECISIONS),
                        help=f"compute precisions (default: {','.join(PRECISIONS)})")  # fmt: skip
    parser.add_argument("--kinds", type=several(str), help="kinds of steps, by the beginning of their names, "
                        f"separated by commas (default: all): {'; '.join(KINDS)}")  # fmt: skip
    parser.add_argument("--optimizer", choices=OPTIMIZERS, default="sgd", help="of all steps, but those of fflib's "
                        f"stack use {FFLIB_OPTIMIZER} (default: sgd, with momentum)")  # fmt: skip
    parser.add_argument("--rounds", type=bounded(int, 1), default=15)
    parser.add_argument("--images", type=bounded(int, 1), default=10000, help="images that are classified beside fflib")
    parser.add_argument("--minutes", type=bounded(float, 0), default=math.inf, help="start no stack after this time")
    parser.add_argument("--profile", action="store_true", help="also measure the share of each kind of operation")
    parser.add_argument("--device", help="cpu, cuda, ... (default: a GPU if available)")
    parser.add_argument("--threads", type=bounded(int, 1, 4096), default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=RESULTS, help="file of the results; the page shows the default one")
    parser.add_argument("--render", action="store_true", help="measure nothing, write the page's tables")
    parser.add_argument("--merge", type=Path, metavar="FILE", help="measure nothing, add the results of another file")
    return parser


def _choice(choices: Iterable[str]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            raise argparse.ArgumentTypeError(f"must be of {', '.join(choices)}, got {text!r}")
        return text

    return read


def _measure(options: argparse.Namespace, command: str) -> None:
    """Measure the selected stacks, each at every precision."""
    torch.set_num_threads(options.threads)
    reuses_memory = reuse_freed_memory()
    device, deadline = choose_device(options.device), time.monotonic() + 60 * options.minutes
    kinds = [name for name in KINDS if options.kinds is None or name.startswith(options.kinds)]
    if not kinds:
        raise ValueError(f"--kinds must be beginnings of {'; '.join(KINDS)}, got {','.join(options.kinds)!r}")
    for stack in options.stacks:
        for precision in options.precision:
            if time.monotonic() >= deadline:
                print(f"stopped before {stack.name} {precision}", file=sys.stderr)
                return
            optimizer = FFLIB_OPTIMIZER if stack.name == FFLIB else options.optimizer
            measured = measure(
                stack, device, precision, optimizer, kinds, options.rounds, options.images, options.profile
            )
            entry = {
                "stack": stack.name,
                "precision": precision,
                "optimizer": optimizer,
                "rounds": options.rounds,
                "command": command,
                "machine": describe_machine(device),
                "reuses_freed_memory": reuses_memory,
                **measured,
            }
            results.add(options.out, [entry])
            print(tables.summary(entry), flush=True)


if __name__ == "__main__":
    main()
