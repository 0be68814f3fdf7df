"""The order of worth in which the runner trains cells."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence

from benchmarks.reproduce.interface import Job, Studies, states

__all__ = ["ORDER", "Entry", "ordered"]

#: A cell with the studies that it belongs to.
Entry = tuple[Studies, Job]

#: Patterns of ``own NAME/STUDY/CELL`` for cells with the paper's setting and ``smaller NAME/STUDY/CELL`` for others,
#: the most useful first, by type of device. On a GPU the papers' settings are affordable, and one seed of each result
#: is worth more than three seeds of one. On a CPU, smaller settings and narrow networks are affordable.
ORDER: Mapping[str, tuple[str, ...]] = {
    "cuda": (
        "own trifecta/table2/tff-s_cifar10_*seed0*",
        "* dynamics/*",
        "own trifecta/table1/symba*seed0*",
        "own trifecta/table1/ftl10*seed0*",
        "own trifecta/table1/ftl2*seed0*",
        "own trifecta/table1/*",
        "own trifecta/table3/tff-d_cifar10_*seed0*",
        "own thresholds/*seed0*",
        "own activations/*seed0*",
        "own self_supervision/*",
        "own trifecta/*_cifar10_*seed0*",
        "own trifecta/*_mnist_*seed0*",
        "own trifecta/*_fashion-mnist_*seed0*",
    ),
    "cpu": (
        "* seven_percent/*",
        "* dynamics/*_width100_*",
        "smaller trifecta/table1/*",
        "smaller trifecta/mnist10/*",
        "smaller self_supervision/pretexts/*_mnist_*",
        "smaller thresholds/*seed0*",
        "smaller activations/*seed0*",
        "* dynamics/*_width400_*",
        "smaller trifecta/*",
        "smaller self_supervision/*",
        "smaller *",
        "* dynamics/*",
        "own trifecta/table2/tff-s_mnist_*epochs10",
        "own thresholds/*seed0*",
        "own activations/*seed0*",
        "own self_supervision/*",
    ),
}


def ordered(entries: Iterable[Entry], device: str, order: Mapping[str, Sequence[str]] = ORDER) -> list[Entry]:
    """Return the unfinished cells in the order in which to run them.

    Smaller settings of goals that are done are left out. Cells without a pattern come last. Among them, and among cells
    that match the same pattern, smaller settings come before the paper's on a CPU and after them on a GPU. Earlier
    stages of a training precede later ones.

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

    def rank(entry: Entry) -> tuple[int, bool]:
        studies, job = entry
        kind = "smaller" if job.setting else "own"
        paths = [f"{kind} {studies.name}/{study}/{job.name}" for study in job.studies]
        matching = (
            number
            for number, pattern in enumerate(patterns)
            if any(fnmatch.fnmatchcase(path, pattern) for path in paths)
        )
        return next(matching, len(patterns)), (job.setting != "") == is_gpu

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
