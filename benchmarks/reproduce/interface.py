"""What a module of studies provides to the runner."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from benchmarks.pages import ROOT

__all__ = ["Job", "Place", "State", "Studies", "states"]

#: State of a goal.
State = Literal["done", "reduced", "missing"]


@dataclass(frozen=True)
class Place:
    """Where and how cells are trained and shown, with no effect on a cell's result.

    Args:
        results: Folder of the finished cells, with one folder per module of studies.
        work: Folder of run folders and checkpoints, with one folder per module of studies.
        docs: Folder of the documentation's pages, which rendering fills.
        data_dir: Folder of the data sets' files; default: the cache.
        device: Device to train on.
        deadline: Time at which to stop, as ``time.monotonic`` measures it.
        progress: Whether to show progress bars.
        precision: Compute precision of cells with the paper's setting, ``"float32"`` or ``"bf16"``.
        tiny: Whether to train a few tiny cells on scikit-learn's digits in place of the studies' own.
    """

    results: Path = ROOT / "benchmarks" / "results"
    work: Path = Path("runs")
    docs: Path = ROOT / "docs"
    data_dir: str | None = None
    device: str = "cpu"
    deadline: float = math.inf
    progress: bool = False
    precision: str = "float32"
    tiny: bool = False

    def page(self, path: Path) -> Path:
        """Return a page of the repository's documentation as a page of the folder ``docs``."""
        return self.docs / path.relative_to(ROOT / "docs") if path.is_relative_to(ROOT / "docs") else path


@dataclass(frozen=True)
class Job:
    """A cell, finished or not: a training, or trainings of several seeds together, with one result file.

    Args:
        name: Name of the file without its suffix.
        studies: Names of all studies that show the cell.
        goal: What a table or figure of the paper needs, such as a row, a data set and a seed; the same for cells with
            the paper's setting and cells with smaller ones.
        setting: Differences from the paper's setting in words; "" if there are none.
        data: Name of the data set.
        work: Multiply-adds of the forward passes of all steps, positive and negative samples counted apart. For a
            finished cell, all that took ``seconds``; otherwise what remains after the earlier stages of the training.
        kind: Trainings of a kind take about the same time per unit of work: ``"dense"`` or ``"convolutional"``, with
            ``", bf16"`` in this precision.
        steps: Number of optimizer steps, counted in the same way.
        is_finished: Whether the cell's file exists.
        seconds: Measured duration of a finished cell.
        device: Device that measured it, as :func:`benchmarks.machine.device_name` names it.
        training: Name of the training of which the cell is a stage; default: the cell's name.
        stage: Position among the stages of the training.
        key: What the studies' ``run`` needs; not used by the runner.
    """

    name: str
    studies: tuple[str, ...]
    goal: str
    setting: str = ""
    data: str = "mnist"
    work: float = 0.0
    kind: str = "dense"
    steps: float = 0.0
    is_finished: bool = False
    seconds: float | None = None
    device: str = ""
    training: str = ""
    stage: float = 0.0
    key: Any = None


@runtime_checkable
class Studies(Protocol):
    """Studies of a paper that share their cells."""

    @property
    def name(self) -> str:
        """Name on the command line, and of the folders of cells and checkpoints."""

    @property
    def paper(self) -> str:
        """Number of the paper on arXiv."""

    @property
    def titles(self) -> Mapping[str, str]:
        """Title of each study, by its name."""

    def jobs(self, place: Place) -> Iterable[Job]:
        """Return every cell in the order in which to run them, with the paper's setting and with smaller ones."""

    def run(self, job: Job, place: Place) -> bool:
        """Train a cell, resuming from its checkpoint, and write its file; return False if the time was up before."""

    def render(self, place: Place) -> None:
        """Write the tables, figures and pages of the finished cells."""


def states(jobs: Iterable[Job]) -> dict[str, State]:
    """Return the state of each goal of some cells, in their order."""
    result: dict[str, State] = {}
    for job in jobs:
        if job.is_finished and not job.setting:
            result[job.goal] = "done"
        elif job.is_finished and result.get(job.goal) != "done":
            result[job.goal] = "reduced"
        else:
            result.setdefault(job.goal, "missing")
    return result
