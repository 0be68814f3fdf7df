"""The study as the runner of all studies sees it, see :mod:`benchmarks.reproduce`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.dynamics.cells import Cell, plan, read, tiny_plan
from benchmarks.dynamics.estimates import steps_of, work_of
from benchmarks.dynamics.render import PAGE, render
from benchmarks.dynamics.train import Options, groups_of, run
from benchmarks.reproduce.interface import Job, Place

__all__ = ["STUDIES", "Dynamics"]


class Dynamics:
    """The study of training dynamics."""

    name = "dynamics"
    paper = "2504.11229"
    titles: Mapping[str, str] = {
        "grid": "Accuracy of layers and model, delay and correlation, by depth and width",
        "growth": "Networks that grow against fixed depth",
        "variants": "Open questions: data, hyperparameters, connections",
    }

    def jobs(self, place: Place) -> Iterator[Job]:
        """Return every cell in the order in which to run them."""
        for cell in tiny_plan() if place.tiny else plan():
            content = read(cell, place.results / self.name)
            precision = _options(place).resolved_precision
            yield Job(
                name=cell.name,
                studies=self._studies_of(cell),
                # each group of seeds is a result of its own, so that the first group does not stand for the others
                goal=f"{cell.setting.label}, depth {cell.depth}, width {cell.width}, seeds {_range(cell.seeds)}",
                setting=cell.reduction,
                data=cell.setting.data,
                work=work_of(cell) / 2,  # a training step has about two multiply-adds per one of a forward pass
                kind="dense" + (", bf16" if precision == "bf16" else ""),
                steps=steps_of(cell) / len(cell.seeds) * len(groups_of(cell)),
                is_finished=content is not None,
                seconds=None if content is None else content["seconds"] + content["measuring_seconds"],
                device="" if content is None else _device(content["machine"]),
                key=cell,
            )

    def run(self, job: Job, place: Place) -> bool:
        """Train a cell, resuming from its checkpoint, and write its file; return False if the time was up before."""
        return run(job.key, _options(place))

    def render(self, place: Place) -> None:
        """Write the tables and figures of the finished cells, and the page."""
        render(place.results / self.name, place.page(PAGE))

    @staticmethod
    def _studies_of(cell: Cell) -> tuple[str, ...]:
        if cell.setting.grows:
            return ("growth",)
        return ("grid", "growth") if cell.variant == "paper" else ("variants",)


def _range(seeds: Sequence[int]) -> str:
    return f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else str(seeds[0])


def _options(place: Place) -> Options:
    return Options(
        out=place.results / Dynamics.name,
        work=place.work / Dynamics.name,
        data_dir=place.data_dir,
        device=place.device,
        compile=not place.tiny,
        deadline=place.deadline,
        progress=place.progress,
    )


def _device(machine: Mapping[str, Any]) -> str:
    """Return the name of a finished cell's device, as ``benchmarks.machine.device_name`` names it."""
    if machine["device"] != "cpu":
        return str(machine["device"])
    return f"{machine['cpu']} ({machine['threads']} thread{'' if machine['threads'] == 1 else 's'})"


STUDIES = Dynamics()
