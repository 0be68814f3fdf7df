"""The command line of the runner: `python -m benchmarks reproduce`."""

from __future__ import annotations

import argparse
import contextlib
import math
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks import results_table
from benchmarks.command_line import Parser, bounded, choose_device, folder, one_line_errors
from benchmarks.pages import ROOT
from benchmarks.reproduce.available import is_available
from benchmarks.reproduce.interface import Place, Studies
from benchmarks.reproduce.listing import Jobs, cell_lines, duration, item_lines, write_pages
from benchmarks.reproduce.order import ordered
from benchmarks.reproduce.registry import load_studies, names, selected, shown_by
from benchmarks.reproduce.speed import Speed
from forwardforward._utils.plugins import one_line
from forwardforward.cli.errors import USER_ERRORS, memory_errors
from forwardforward.training import reuse_freed_memory

__all__ = ["main"]

PROGRAM = "python -m benchmarks reproduce"

DESCRIPTION = """\
Run the studies of all papers: train what is missing, the most useful cells first, and write tables, figures and pages.

A STUDY is NAME, or NAME/STUDY for one of its tables; none select everything. Each finished cell is one file. The same
command resumes what was stopped by --minutes or interrupted. Smaller settings come first on a CPU, the papers' own
settings on a GPU; cells that exist are not run again.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run, list or show studies.

    Args:
        arguments: Words after the program's name; default: those of the process.

    Raises:
        SystemExit: With status 1 if a cell failed, 2 for errors caused by the user or the environment, 130 when
            interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(words)
    command = f"{PROGRAM} {shlex.join(words)}".strip()
    with one_line_errors(PROGRAM, "the settings of the studies", resume=command), _place(options) as place:
        reuse_freed_memory()
        if options.threads:
            torch.set_num_threads(options.threads)
        chosen = selected(load_studies(), options.studies)
        if options.list:
            _list(chosen, place, in_detail=bool(options.studies))
            return
        failures = 0 if options.render else _run(chosen, place, command)
        _render([studies for studies, _ in chosen], place)
        if failures:
            sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog=PROGRAM, description=DESCRIPTION)
    parser.add_argument("studies", nargs="*", metavar="STUDY", help="see --list (default: all)")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--list",
        action="store_true",
        help="list tables and figures with their state; with STUDY, the cells in their order",
    )
    what.add_argument("--render", action="store_true", help="train nothing, write what follows from the finished cells")
    parser.add_argument("--minutes", type=bounded(float, 0), default=math.inf, help="stop after this many minutes")
    parser.add_argument("--device", help="cpu, cuda, ... (default: a GPU if available)")
    parser.add_argument(
        "--precision", choices=("float32", "bf16"), help="of the papers' settings (default: float32, on a GPU bf16)"
    )
    parser.add_argument("--threads", type=bounded(int, 1, 4096), help="CPU threads (default: torch's number)")
    parser.add_data_dir()
    parser.add_argument("--out", type=folder, help="folder of finished cells; pages are then not changed")
    parser.add_argument("--work", type=folder, default=Path("runs"), help="folder of checkpoints (default: runs)")
    parser.add_argument(
        "--tiny",
        action="store_true",
        help="test every study: a few tiny cells on scikit-learn's digits, in a temporary folder unless --out is given",
    )
    return parser


@contextlib.contextmanager
def _place(options: argparse.Namespace) -> Iterator[Place]:
    """Context manager for the place of the cells; pages are copied if the repository's are not to be changed."""
    device = choose_device(options.device)
    place = Place(
        work=options.work,
        data_dir=options.data_dir,
        device=device,
        deadline=time.monotonic() + 60 * options.minutes,
        progress=sys.stderr.isatty() and not options.tiny,
        precision=options.precision or ("bf16" if device.startswith("cuda") else "float32"),
        tiny=options.tiny,
    )
    if options.out is None and not options.tiny:
        yield place
        return
    with tempfile.TemporaryDirectory() as folder:
        docs = Path(folder) / "docs"
        shutil.copytree(ROOT / "docs", docs, ignore=shutil.ignore_patterns("_build", "*.png"))
        work = Path(folder) / "runs" if options.tiny else options.work
        yield replace(place, results=options.out or Path(folder) / "results", work=work, docs=docs)


def _jobs(chosen: Sequence[tuple[Studies, tuple[str, ...]]], place: Place) -> Jobs:
    """Return the jobs of the selected studies by the name of their module."""
    return {studies.name: (studies, shown_by(studies.jobs(place), of_it)) for studies, of_it in chosen}


def _list(chosen: Sequence[tuple[Studies, tuple[str, ...]]], place: Place, in_detail: bool) -> None:
    jobs = _jobs(chosen, place)
    # also with the cells that no selected study shows, which correct the estimates
    every = {studies.name: studies.jobs(place) for studies, _ in chosen}
    speed = Speed(place.work / "reproduce" / "speed.json", place.device, every)
    entries = [(studies, job) for studies, every in jobs.values() for job in every]
    order = ordered(entries, place.device)
    if in_detail:
        lines = cell_lines(jobs, order, speed.seconds, lambda data: is_available(data, place.data_dir))
    else:
        lines = item_lines(jobs, place.results, speed.seconds)
        lines += ["", f"Names of studies: {', '.join(name for studies, _ in chosen for name in names(studies))}"]
    total = sum(speed.seconds(studies.name, job) for studies, job in order)
    finished = sum(job.is_finished for _, job in entries)
    print("\n".join(lines).strip("\n"))
    print(f"\n{finished} cells finished, {len(order)} to run in about {duration(total)} on {speed.name}.")
    if order:
        print(f"Estimates: {speed.source()}.")


def _run(chosen: Sequence[tuple[Studies, tuple[str, ...]]], place: Place, command: str) -> int:
    """Train the unfinished cells until the time is up, and return the number of failures."""
    jobs = _jobs(chosen, place)
    order = ordered([(studies, job) for studies, every in jobs.values() for job in every], place.device)
    missing_data: dict[str, str] = {}
    failures = 0
    for number, (studies, job) in enumerate(order, start=1):
        label = f"{number}/{len(order)}  {studies.name}/{job.name}"
        if job.data in missing_data:
            continue
        start = time.monotonic()
        if start >= place.deadline:
            _say_time_is_up(label, command)
            break
        try:
            with memory_errors("the settings of the study"):
                is_finished = studies.run(job, place)
        except (FileNotFoundError, ConnectionError) as error:
            missing_data[job.data] = one_line(error)
            print(f"data not available: {job.data} ({missing_data[job.data]})", flush=True)
            continue
        except USER_ERRORS as error:
            failures += 1
            print(f"{label}: failed: {one_line(error)}", file=sys.stderr, flush=True)
            continue
        if not is_finished:
            _say_time_is_up(label, command)
            break
        print(f"{label}: {duration(time.monotonic() - start)}", flush=True)
    left_out = sum(job.data in missing_data for _, job in order)
    if left_out:
        print(f"{left_out} cells left out: no data of {', '.join(missing_data)}")
    return failures


def _say_time_is_up(label: str, command: str) -> None:
    print(f"time is up in {label}; resume with: {command}")


def _render(chosen: Sequence[Studies], place: Place) -> None:
    """Write the tables, figures and pages of the selected studies, and the state of everything."""
    for studies in chosen:
        studies.render(place)
        print(f"rendered {studies.name}", flush=True)
    everything = [(studies, tuple(studies.titles)) for studies in load_studies()]
    write_pages(_jobs(everything, place), place.results, place.docs)
    if place.docs == ROOT / "docs":
        results_table.main([])
