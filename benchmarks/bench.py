"""Benches: studies that share their cells, with a command line that trains and shows them.

A bench is a module:

    BENCH = Bench("benchmarks.mine", studies=(Study("table1", "Table 1", rows=(...), data=("mnist",)),))

    if __name__ == "__main__":
        BENCH.main()

A training that is part of several tables runs once. A bench has what the runner of all studies needs, see
:mod:`benchmarks.reproduce`.
"""

from __future__ import annotations

import argparse
import math
import os
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

import forwardforward as ff
from benchmarks.cells import Cell, Measure, Options, Row, Setting, read_cell
from benchmarks.command_line import (
    Parser,
    bounded,
    check_names,
    choose_device,
    folder,
    one_line_errors,
    several,
)
from benchmarks.pages import ROOT, filled, relative, write
from benchmarks.reproduce.bench_jobs import bench_jobs
from benchmarks.reproduce.interface import Job, Place
from benchmarks.tables import Study, by_setting, render

__all__ = ["Bench"]

#: Name on the command line for every study.
ALL = "all"

#: Data sets of texts, of several labels and of real values, for studies that name them.
OTHERS = ("diabetes", "digit-pairs", "imdb")


@dataclass(frozen=True)
class Bench:
    """Studies that share their cells, with a command line that trains and shows them.

    Args:
        module: Full name of the module, such as ``"benchmarks.trifecta"``.
        studies: The studies.
        measure: Makes further entries of each cell's result; default: none.
        page: Page of the documentation with the tables between ``<!-- NAME:begin -->`` and ``<!-- NAME:end -->``, and
            the figures between the same markers of ``NAME-figures``; default: none.
        about: Description for ``--help``.
        paper: Number of the paper on arXiv.
    """

    module: str
    studies: tuple[Study, ...]
    measure: Measure | None = None
    page: Path | None = None
    about: str = ""
    paper: str = ""

    @property
    def name(self) -> str:
        """Name of the module without its package."""
        return self.module.rpartition(".")[2]

    @property
    def titles(self) -> Mapping[str, str]:
        """Title of each study, by its name."""
        return {study.name: study.title for study in self.studies}

    @property
    def folder(self) -> Path:
        """Default folder of finished cells."""
        return ROOT / "benchmarks" / "results" / self.name

    def jobs(self, place: Place) -> list[Job]:
        """Return the cells of all studies, stages of one training in order."""
        return bench_jobs(self, place)

    def run(self, job: Job, place: Place) -> bool:
        """Train a cell and return whether it is finished."""
        study, cell = job.key
        options = Options(
            out=place.results / self.name,
            work=place.work / self.name,
            data_dir=place.data_dir,
            device=place.device,
            deadline=place.deadline,
            progress=place.progress,
        )
        return (cell.read(options.out) or cell.run(options, self.measure, self._command(study, cell))) is not None

    def render(self, place: Place) -> None:
        """Write the tables and figures of all studies to the folder of finished cells and to the page."""
        page = None if self.page is None else place.page(self.page)
        for study in self.studies:
            self._write(study, place.results / self.name, page)

    def main(self, arguments: Sequence[str] | None = None) -> None:
        """Train the missing cells of a study, or of all studies, then show it.

        Args:
            arguments: Words after the program's name; default: those of the process.

        Raises:
            SystemExit: With status 2 for errors caused by the user or the environment, 130 when interrupted.
        """
        words = list(sys.argv[1:] if arguments is None else arguments)
        command = f"python -m {self.module} {shlex.join(words)}"
        options = self._parser().parse_args(words)
        with one_line_errors(self.module, "--width, --images or --batch-size", resume=command):
            studies = [study for study in self.studies if options.study in (study.name, ALL)]
            cells = self._cells(studies, options)
            if options.render or self._train(cells, options, command):
                for study in studies:
                    self._show(study, options)

    def _parser(self) -> argparse.ArgumentParser:
        parser = Parser(prog=f"python -m {self.module}", description=self.about)
        names = [study.name for study in self.studies]
        parser.add_argument("study", choices=[*names, ALL], metavar="STUDY", help=f"{', '.join(names)}, or {ALL}")
        parser.add_argument("--rows", type=several(str), help="rows, by line or by line and epochs (default: all)")
        parser.add_argument("--data", type=several(str), help="data sets (default: the study's)")
        parser.add_argument("--seeds", type=several(bounded(int, 0)), help="seeds (default: the study's, 0,1,2)")
        smaller = parser.add_argument_group("smaller cells, in tables separate from the study's own")
        if any(study.quick is not None for study in self.studies):
            smaller.add_argument("--quick", action="store_true", help="the study's quick setting, one seed")
        if any(study.reduced is not None for study in self.studies):
            smaller.add_argument("--reduced", action="store_true", help="the study's reduced setting, all seeds")
        smaller.add_argument("--epochs", type=bounded(int, 1), default=0, help="length of each training")
        smaller.add_argument("--width", type=bounded(float, 1e-3), default=1.0, help="factor on the layers' widths")
        smaller.add_argument("--images", type=bounded(int, 2), default=0, help="number of training images")
        smaller.add_argument("--batch-size", type=bounded(int, 1), default=0, help="images per step")
        smaller.add_argument("--lr-factor", type=bounded(float, 1e-6), default=1.0, help="factor on the learning rate")
        smaller.add_argument("--precision", choices=("float32", "bf16"), default="float32", help="compute precision")
        parser.add_argument("--minutes", type=bounded(float, 0), default=math.inf, help="stop after this many minutes")
        parser.add_argument("--device", help="cpu, cuda, ... (default: a GPU if available)")
        parser.add_argument("--threads", type=bounded(int, 1, 4096), help="CPU threads (default: torch's number)")
        parser.add_data_dir()
        parser.add_argument("--out", type=folder, help=f"folder of finished cells (default: {relative(self.folder)})")
        parser.add_argument("--work", type=folder, help=f"folder of run folders (default: runs/{self.name})")
        parser.add_argument("--render", action="store_true", help="train nothing, show the finished cells")
        return parser

    def _cells(self, studies: Sequence[Study], options: argparse.Namespace) -> list[tuple[Study, Cell]]:
        """Return the selected cells, each with a study that contains it, stages of one training in order."""
        rows = [row for study in studies for row in study.rows if row.recipe is not None]
        names = list(dict.fromkeys(row.name for row in rows))
        check_names("--rows", options.rows or (), [*names, *(row.line for row in rows)], names)
        of_studies = {data for study in studies for data in study.data}
        known = [data for data in ff.data.available() if data in of_studies or data not in OTHERS]
        check_names("--data", options.data or (), known)
        cells = {
            cell.name: (study, cell)
            for study in studies
            for seed in options.seeds or (study.seeds[:1] if _is_quick(options) else study.seeds)
            for data in options.data or [name for name in study.data if name not in study.unavailable]
            for row in study.rows
            if row.recipe is not None and (not options.rows or {row.line, row.name} & set(options.rows))
            for cell in [Cell(row, data, seed, self._setting(study, row, data, options))]
        }
        position: dict[str, int] = {}
        for _, cell in cells.values():
            position.setdefault(cell.training, len(position))
        return sorted(cells.values(), key=lambda entry: (position[entry[1].training], entry[1].epochs))

    @staticmethod
    def _setting(study: Study, row: Row, data: str, options: argparse.Namespace) -> Setting:
        setting = Setting(**{name: getattr(options, name) for name in vars(Setting())})
        for kind, named in study.named_settings().items():
            if getattr(options, kind, False):
                if named is None or setting != Setting():
                    words = f"it has no {kind} setting" if named is None else named.description()
                    raise ValueError(f"--{kind} must be given without other sizes, for {study.name}: {words}")
                setting = named
        return replace(setting, epochs=0) if setting.epochs == row.epochs_on(data) else setting

    def _train(self, cells: list[tuple[Study, Cell]], options: argparse.Namespace, command: str) -> bool:
        """Train the unfinished cells, and return whether all are finished."""
        ff.training.reuse_freed_memory()
        if options.threads:
            torch.set_num_threads(options.threads)
        place = Options(
            out=options.out or self.folder,
            work=options.work or Path("runs") / self.name,
            data_dir=options.data_dir,
            device=choose_device(options.device),
            deadline=time.monotonic() + 60 * options.minutes,
            progress=sys.stderr.isatty(),
        )
        for number, (study, cell) in enumerate(cells, start=1):
            content = cell.read(place.out) or cell.run(place, self.measure, self._command(study, cell))
            if content is None:
                print(f"time is up in {cell.name}, cell {number} of {len(cells)}; resume with: {command}")
                return False
            accuracy = content["result"].get("accuracy")
            result = "diverged" if accuracy is None else f"{accuracy:.2f} %"
            print(f"{number}/{len(cells)}  {cell.name}: {result}, {content['seconds']:.0f} s", flush=True)
        return True

    def _command(self, study: Study, cell: Cell) -> str:
        """Return the shortest command that trains one cell."""
        changed = {name: value for name, value in vars(cell.setting).items() if value != getattr(Setting(), name)}
        words = [study.name, "--rows", cell.row.name, "--data", cell.data, "--seeds", cell.seed]
        for name, value in changed.items():
            words += [f"--{name.replace('_', '-')}", f"{value:g}" if isinstance(value, float) else value]
        return f"python -m {self.module} {' '.join(map(str, words))}"

    def _show(self, study: Study, options: argparse.Namespace) -> None:
        """Write a study's table and figures, and print the table and the figures' paths."""
        table, figures = self._write(study, options.out or self.folder, self.page if options.out is None else None)
        print(table)
        for path in figures:
            print(f"figure: {relative(path)}")

    def _write(self, study: Study, out: Path, page: Path | None) -> tuple[str, list[Path]]:
        """Write a study's table and figures to a folder and to a page, and return them."""
        contents = [read_cell(path) for path in sorted(out.glob("*_seed*.json"))]
        table = render(study, contents, f"`python -m {self.module} {study.name} --render`")
        write(out / f"{study.name}.md", table)
        figures = study.draw(out, by_setting(study, contents)) if study.draw is not None else []
        if page is not None:
            write(page, filled(page, study.name, table))
            if figures:
                links = [f"![{study.title}]({os.path.relpath(path, page.parent)})\n" for path in figures]
                write(page, filled(page, f"{study.name}-figures", "\n".join(links)))
        return table, figures


def _is_quick(options: argparse.Namespace) -> bool:
    """Return whether the quick setting is selected; benches without one do not have the option."""
    return getattr(options, "quick", False)
