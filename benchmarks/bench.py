"""A bench: studies that share their cells, and the command line that runs and shows them.

A bench is a module:

    BENCH = Bench("benchmarks.mine", studies=(Study("table1", "Table 1", rows=(...), data=("mnist",)),))

    if __name__ == "__main__":
        sys.exit(BENCH.main())

Studies of one bench share their cells, so that a training which stands in two tables runs once.
"""

from __future__ import annotations

import argparse
import math
import os
import shlex
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import forwardforward as ff
from benchmarks.cells import Cell, Options, Readings, Row, Setting, read_cell
from benchmarks.pages import ROOT, filled, near
from benchmarks.tables import Study, by_setting, render
from forwardforward._utils.options import (
    USER_ERRORS,
    Parser,
    bounded,
    chosen_device,
    saying_what_saves_memory,
    several,
)
from forwardforward.data.sources import TEXT_SOURCES

__all__ = ["Bench"]

#: What stands for every study.
ALL = "all"


@dataclass(frozen=True)
class Bench:
    """Studies that share their cells, and the command line that runs and shows them.

    Args:
        module: The module's full name, such as ``"benchmarks.trifecta"``.
        studies: The studies.
        readings: Further figures of each cell's result.
        page: A page that holds the tables between ``<!-- NAME:begin -->`` and ``<!-- NAME:end -->``, and the pictures
            between the same with ``NAME-figures``.
        about: What --help says.
    """

    module: str
    studies: tuple[Study, ...]
    readings: Readings | None = None
    page: Path | None = None
    about: str = ""

    @property
    def folder(self) -> Path:
        """Where finished cells are kept."""
        return ROOT / "benchmarks" / "results" / self.module.rpartition(".")[2]

    def main(self, arguments: Sequence[str] | None = None) -> int:
        """Run cells of a study, or of all, then show it.

        Args:
            arguments: Words after the program's name; those of the process unless given.

        Returns:
            Exit status: 0, also where the time was up; 2 for a slip of the user's, 130 when interrupted.
        """
        words = list(sys.argv[1:] if arguments is None else arguments)
        again = f"python -m {self.module} {shlex.join(words)}"
        options = self._parser().parse_args(words)
        try:
            studies = [one for one in self.studies if options.study in (one.name, ALL)]
            cells = self._cells(studies, options)
            with saying_what_saves_memory("--width, --images or --batch-size"):
                finished = options.render or self._run(cells, options, again)
            for study in studies if finished else ():
                self._show(study, options)
        except USER_ERRORS as error:
            print(f"{self.module}: {one_line(error)}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print(f"{self.module}: interrupted; go on with: {again}", file=sys.stderr)
            return 130
        return 0

    def _parser(self) -> argparse.ArgumentParser:
        parser = Parser(
            prog=f"python -m {self.module}",
            description=self.about,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        names = [study.name for study in self.studies]
        parser.add_argument("study", choices=[*names, ALL], metavar="STUDY", help=f"{', '.join(names)}, or {ALL}")
        parser.add_argument("--rows", type=several(str), help="rows, by line or by line and epochs (default: all)")
        parser.add_argument("--data", type=several(str), help="data sets (default: the study's)")
        parser.add_argument("--seeds", type=several(bounded(int, 0)), help="seeds (default: the study's, 0,1,2)")
        reduce = parser.add_argument_group("smaller cells, shown apart from the study's own")
        if any(study.quick is not None for study in self.studies):
            reduce.add_argument("--quick", action="store_true", help="the study's quick setting, one seed")
        reduce.add_argument("--epochs", type=bounded(int, 1), default=0, help="length of each training")
        reduce.add_argument("--width", type=bounded(float, 1e-3), default=1.0, help="factor on the layers' widths")
        reduce.add_argument("--images", type=bounded(int, 1), default=0, help="number of training images")
        reduce.add_argument("--batch-size", type=bounded(int, 1), default=0, help="number of images in a batch")
        reduce.add_argument("--precision", choices=("float32", "bf16"), default="float32", help="of the products")
        parser.add_argument("--minutes", type=bounded(float, 0), default=math.inf, help="stop after so many minutes")
        parser.add_argument("--device", help="cpu, cuda, ... (default: a GPU where there is one)")
        parser.add_argument("--threads", type=bounded(int, 1), help="CPU threads (default: torch's choice)")
        parser.add_argument("--data-dir", help="folder of the data sets' files (default: downloaded to a cache)")
        parser.add_argument("--out", type=Path, help=f"folder of finished cells (default: {near(self.folder)})")
        parser.add_argument("--work", type=Path, help="folder of checkpoints (default: runs/ and the bench's name)")
        parser.add_argument("--render", action="store_true", help="run nothing, show the cells that are finished")
        return parser

    def _cells(self, studies: Sequence[Study], options: argparse.Namespace) -> list[tuple[Study, Cell]]:
        """The cells that are asked for, each with a study that it is of, stages of one training in order."""
        trained = [row for study in studies for row in study.rows if row.recipe is not None]
        if options.rows:
            known = {*(row.line for row in trained), *(row.name for row in trained)}
            _refuse("--rows", options.rows, known, dict.fromkeys(row.name for row in trained))
        named = {data for study in studies for data in study.data}  # texts only where a study is about them
        known = [data for data in ff.data.available() if data in named or data not in TEXT_SOURCES]
        _refuse("--data", options.data or (), known, known)
        unique = {
            cell.name: (study, cell)
            for study in studies
            for seed in options.seeds or (study.seeds[:1] if _quick(options) else study.seeds)
            for one in options.data or study.data
            for row in study.rows
            if row.recipe is not None and (not options.rows or {row.line, row.name} & set(options.rows))
            for cell in [Cell(row, one, seed, self._setting(study, row, one, options))]
        }
        first = {cell.training: i for i, (_, cell) in reversed(list(enumerate(unique.values())))}
        return sorted(unique.values(), key=lambda both: (first[both[1].training], both[1].epochs))

    @staticmethod
    def _setting(study: Study, row: Row, data: str, options: argparse.Namespace) -> Setting:
        setting = Setting(options.epochs, options.width, options.images, options.batch_size, options.precision)
        if _quick(options):
            if study.quick is None or setting != Setting():
                means = "no setting" if study.quick is None else study.quick.words()
                raise ValueError(f"--quick must stand alone and for something: for {study.name} it means {means}")
            setting = study.quick
        return replace(setting, epochs=0) if setting.epochs == row.length(data) else setting

    def _run(self, cells: list[tuple[Study, Cell]], options: argparse.Namespace, again: str) -> bool:
        """Run what is not finished; whether all is."""
        place = Options(
            out=options.out or self.folder,
            work=options.work or Path("runs") / self.folder.name,
            data_dir=options.data_dir,
            device=chosen_device(options.device),
            threads=options.threads,
            deadline=time.monotonic() + 60 * options.minutes,
            progress=sys.stderr.isatty(),
        )
        for number, (study, cell) in enumerate(cells, start=1):
            content = cell.read(place.out) or cell.run(place, self.readings, self._command(study, cell))
            if content is None:
                print(f"time is up in {cell.name}, cell {number} of {len(cells)}; go on with: {again}")
                return False
            accuracy = content["result"].get("accuracy")
            shown = "diverged" if accuracy is None else f"{accuracy:.2f} %"
            print(f"{number}/{len(cells)}  {cell.name}: {shown}, {content['seconds']:.0f} s", flush=True)
        return True

    def _command(self, study: Study, cell: Cell) -> str:
        """The shortest command that makes one cell."""
        given = {name: value for name, value in vars(cell.setting).items() if value != getattr(Setting(), name)}
        words = [study.name, "--rows", cell.row.name, "--data", cell.data, "--seeds", cell.seed]
        for name, value in given.items():
            words += [f"--{name.replace('_', '-')}", f"{value:g}" if isinstance(value, float) else value]
        return f"python -m {self.module} {' '.join(map(str, words))}"

    def _show(self, study: Study, options: argparse.Namespace) -> None:
        """Print the table, and write it and the pictures beside the cells."""
        out: Path = options.out or self.folder
        contents = [read_cell(path) for path in sorted(out.glob("*_seed*.json"))]
        table = render(study, contents, f"`python -m {self.module} {study.name} --render`")
        print(table)
        out.mkdir(parents=True, exist_ok=True)
        (out / f"{study.name}.md").write_text(table, encoding="utf-8")
        if self.page is not None and options.out is None:
            self.page.write_text(filled(self.page, study.name, table), encoding="utf-8")
        drawn = study.draw(out, by_setting(study, contents)) if study.draw is not None else []
        for path in drawn:
            print(f"drawn: {near(path)}")
        if self.page is not None and options.out is None and drawn:
            links = [f"![{study.title}]({os.path.relpath(path, self.page.parent)})\n" for path in drawn]
            text = filled(self.page, f"{study.name}-figures", "\n".join(links))
            self.page.write_text(text, encoding="utf-8")


def _quick(options: argparse.Namespace) -> bool:
    """Whether the quick setting is asked for; benches without one do not know the word."""
    return getattr(options, "quick", False)


def _refuse(option: str, given: Iterable[str], known: Iterable[str], shown: Iterable[str]) -> None:
    unknown = [name for name in given if name not in set(known)]
    if unknown:
        raise ValueError(f"{option} must be of {', '.join(shown)}, got {', '.join(map(repr, unknown))}")
