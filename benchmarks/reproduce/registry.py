"""The modules of studies that the runner knows, and how their names select cells."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterable, Sequence

from benchmarks.command_line import check_names
from benchmarks.reproduce.interface import Job, Studies

__all__ = ["MODULES", "load_studies", "names", "selected", "shown_by"]

#: Modules with a name ``BENCH`` or ``STUDIES``, in the order of worth of what no pattern of the order mentions.
MODULES = (
    "benchmarks.trifecta",
    "benchmarks.dynamics.study",
    "benchmarks.thresholds",
    "benchmarks.activations",
    "benchmarks.self_supervision",
    "benchmarks.seven_percent",
)


def load_studies(modules: Sequence[str] = MODULES) -> list[Studies]:
    """Return the studies of the modules that exist.

    Raises:
        TypeError: If the object of a module does not have the methods that the runner needs.
    """
    objects = []
    for name in modules:
        if _exists(name):
            module = importlib.import_module(name)
            entry = getattr(module, "BENCH", None) or getattr(module, "STUDIES", None)
            if not isinstance(entry, Studies):
                raise TypeError(f"{name} must have BENCH or STUDIES with name, paper, titles, jobs, run and render")
            objects.append(entry)
    return objects


def _exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of a package that contains it
        return False


def names(studies: Studies) -> list[str]:
    """Return the names that select the studies on the command line: all of them together, and each."""
    return [studies.name, *(f"{studies.name}/{study}" for study in studies.titles)]


def selected(studies: Iterable[Studies], words: Sequence[str]) -> list[tuple[Studies, tuple[str, ...]]]:
    """Return the selected modules of studies, each with the names of its selected studies.

    Args:
        studies: Every module's studies.
        words: Words of the command line: ``NAME`` or ``NAME/STUDY``; none select everything.

    Raises:
        ValueError: If a word names no studies.
    """
    every = list(studies)
    known = [name for entry in every for name in names(entry)]
    check_names("STUDY", words, known, [entry.name for entry in every])
    result = []
    for entry in every:
        of_entry = [study for study in entry.titles if not words or {entry.name, f"{entry.name}/{study}"} & set(words)]
        if of_entry:
            result.append((entry, tuple(of_entry)))
    return result


def shown_by(jobs: Iterable[Job], studies: Sequence[str]) -> list[Job]:
    """Return the jobs that some studies show."""
    return [job for job in jobs if set(job.studies) & set(studies)]
