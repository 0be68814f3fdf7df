"""Trains the missing cells of the study of training dynamics, and writes its tables, figures and page.

    python -m benchmarks.dynamics --data-dir DIR --minutes 60      the most useful cells first, resumable
    python -m benchmarks.dynamics --list                           finished and missing cells
    python -m benchmarks.dynamics --render                         only tables and figures, in seconds
    python -m benchmarks.dynamics --cells 'paper_depth*_width100*' some cells, by pattern
    python -m benchmarks.dynamics --quick                          tiny cells on scikit-learn's digits
    python -m benchmarks.dynamics choose                           the sweep on validation images behind the setting

All seeds of a cell are trained together where they fit into memory. The test set is measured after every epoch, since
these curves are the study's result; nothing is chosen by it.
"""

from __future__ import annotations

import argparse
import fnmatch
import math
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.command_line import Parser, bounded, choose_device, folder, one_line_errors, shell_command
from benchmarks.dynamics.cells import FOLDER, Cell, plan, read, tiny_plan
from benchmarks.dynamics.choose import choose
from benchmarks.dynamics.estimates import minutes_of
from benchmarks.dynamics.render import PAGE, render
from benchmarks.dynamics.train import Options, run
from benchmarks.pages import relative
from forwardforward.training import reuse_freed_memory


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    result = Parser(prog="python -m benchmarks.dynamics", description=__doc__)
    result.add_argument("task", nargs="?", choices=("run", "choose"), default="run")
    result.add_argument("--cells", default="*", help="pattern of the cells' names (default: all)")
    result.add_argument("--minutes", type=bounded(float, 0), default=math.inf, help="stop after this many minutes")
    result.add_argument("--list", action="store_true", help="show the cells and their state, and train nothing")
    result.add_argument("--render", action="store_true", help="train nothing, show the finished cells")
    result.add_argument("--quick", action="store_true", help="tiny cells on digits, in a folder of their own")
    result.add_argument("--precision", choices=("float32", "bf16"), default="", help="default: bf16 where it is fast")
    result.add_argument("--no-compile", action="store_true", help="compile nothing")
    result.add_argument("--device", help="cpu, cuda, ... (default: a GPU if available)")
    result.add_argument("--threads", type=bounded(int, 1, 4096), help="CPU threads (default: torch's number)")
    result.add_data_dir()
    result.add_argument("--out", type=folder, help=f"folder of finished cells (default: {relative(FOLDER)})")
    result.add_argument("--work", type=folder, default=Path("runs") / "dynamics", help="folder of checkpoints")
    return result


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line.

    Args:
        arguments: Words after the program's name; default: those of the process.

    Raises:
        SystemExit: With status 2 for errors caused by the user or the environment, 130 when interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    command = f"python -m benchmarks.dynamics {shlex.join(words)}".strip()
    options = parser().parse_args(words)
    with one_line_errors("benchmarks.dynamics", "--cells", resume=command):
        reuse_freed_memory()
        if options.threads:
            torch.set_num_threads(options.threads)
        out = options.out or (Path(tempfile.gettempdir()) / "dynamics-quick" if options.quick else FOLDER)
        place = Options(
            out=out,
            work=options.work / "quick" if options.quick else options.work,
            data_dir=options.data_dir,
            device="cpu" if options.render or options.list else choose_device(options.device),
            precision=options.precision,
            compile=not (options.no_compile or options.quick),
            deadline=time.monotonic() + 60 * options.minutes,
            progress=True,
        )
        if options.task == "choose":
            print(choose(place))
            return
        cells = [c for c in (tiny_plan() if options.quick else plan()) if fnmatch.fnmatch(c.name, options.cells)]
        if not cells:
            raise ValueError(f"--cells must match a cell of --list, got {options.cells!r}")
        if options.list:
            _list(cells, place)
            return
        if not options.render:
            _train(cells, place, command, shell_command("benchmarks.dynamics", words))
        is_own = out == FOLDER
        print(render(out, PAGE if is_own else None))


def _list(cells: Sequence[Cell], place: Options) -> None:
    """Print the state of each cell, and an estimate of the minutes that it takes."""
    for cell in cells:
        content = read(cell, place.out)
        if content is not None:
            seconds = content["seconds"] + content["measuring_seconds"]
            print(f"done     {seconds / 60:8.1f} min  {cell.name}")
        else:
            print(f"missing ~{minutes_of(cell, place.device):8.1f} min  {cell.name}")


def _train(cells: Sequence[Cell], place: Options, command: str, shown: str) -> None:
    """Train the missing cells in order until the time is up.

    Args:
        cells: The cells.
        place: Options of the training.
        command: The command.
        shown: The same without the user's folders, for the files of the cells.
    """
    for cell in cells:
        if read(cell, place.out) is not None:
            continue
        start = time.perf_counter()
        if not run(cell, place, shown):
            print(f"the time is up; resume with: {command}", file=sys.stderr)
            return
        print(f"{cell.name}: {(time.perf_counter() - start) / 60:.1f} minutes", file=sys.stderr)


if __name__ == "__main__":
    main()
