"""The order of worth in which the runner trains cells."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence

from benchmarks.reproduce.interface import Job, Studies, states

__all__ = ["ORDER", "Entry", "ordered"]

#: A cell with the studies that it belongs to.
Entry = tuple[Studies, Job]

#: Patterns of ``NAME/STUDY/CELL``, the most useful first, by type of device. On a GPU the papers' settings are
#: affordable, and one seed of each result is worth more than three seeds of one; on a CPU they are smaller settings, and
#: the narrow networks of the training dynamics.
ORDER: Mapping[str, tuple[str, ...]] = {
    "cuda": (
        "trifecta/table2/tff-s_cifar10_*seed0*",
        "dynamics/*",
        "trifecta/table1/symba*seed0*",
        "trifecta/table1/ftl10*seed0*",
        "trifecta/table1/ftl2*seed0*",
        "trifecta/table1/*",
        "trifecta/table3/tff-d_cifar10_*seed0*",
        "thresholds/*seed0*",
        "activations/*seed0*",
        "self_supervision/*",
        "trifecta/*_cifar10_*seed0*",
        "trifecta/*_mnist_*seed0*",
        "trifecta/*_fashion-mnist_*seed0*",
    ),
    "cpu": (
        "seven_percent/*",
        "thresholds/*_width*",
        "activations/*_width*",
        "dynamics/*_width100_*",
        "trifecta/table1/*_width*",
        "trifecta/*_width*",
        "self_supervision/*",
        "dynamics/*",
        "trifecta/table2/tff-s_mnist_*epochs10",
        "thresholds/*seed0*",
        "activations/*seed0*",
    ),
}


def ordered(entries: Iterable[Entry], device: str, order: Mapping[str, Sequence[str]] = ORDER) -> list[Entry]:
    """Return the unfinished cells in the order in which to run them.

    Smaller settings of goals that are done are left out. Cells without a pattern come last: on a GPU those with the
    paper's setting first, elsewhere those with smaller settings. Earlier stages of a training precede later ones.

    Args:
        entries: Cells in the order of their studies.
        device: Device to train on.
        order: Patterns, by type of device.
    """
    is_gpu = not device.startswith("cpu")
    patterns = order["cuda" if is_gpu else "cpu"]
    every = list(entries)
    done = {name: states(job for studies, job in every if studies.name == name) for name in {s.name for s, _ in every}}
    waiting = [
        (studies, job) for studies, job in every if not job.is_finished and done[studies.name][job.goal] != "done"
    ]

    def rank(entry: Entry) -> int:
        studies, job = entry
        paths = [f"{studies.name}/{study}/{job.name}" for study in job.studies]
        for number, pattern in enumerate(patterns):
            if any(fnmatch.fnmatchcase(path, pattern) for path in paths):
                return number
        return len(patterns) + int(bool(job.setting) == is_gpu)

    result: dict[tuple[str, str], Entry] = {}
    for studies, job in sorted(waiting, key=rank):
        stages = [
            (other, stage)
            for other, stage in waiting
            if other is studies and job.training and stage.training == job.training and stage.stage < job.stage
        ]
        for entry in (*sorted(stages, key=lambda entry: entry[1].stage), (studies, job)):
            result.setdefault((studies.name, entry[1].name), entry)
    return list(result.values())
