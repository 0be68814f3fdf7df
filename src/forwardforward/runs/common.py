"""What runs must have in common to be averaged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from forwardforward.runs.run import Run
from forwardforward.targets import TargetKind
from forwardforward.training import CheckpointError

__all__ = ["check_runs"]


def check_runs(runs: Sequence[Run]) -> None:
    """Check that runs can be averaged.

    Args:
        runs: The runs.

    Raises:
        CheckpointError: If one has no checkpoint yet.
        ValueError: If they cannot, or the recipe of one has changed.
    """
    if not runs:
        raise ValueError("runs must be at least one, got none")
    folders = [run.folder.resolve() for run in runs]
    for run, folder in zip(runs, folders, strict=True):
        if folders.count(folder) > 1:
            raise ValueError(f"runs must be distinct, got {run.folder} twice")
    for run in runs:
        if not (run.folder / "checkpoint.pt").exists():
            raise CheckpointError(f"there is no checkpoint {run.folder / 'checkpoint.pt'}")
        run.check_recipe(training=False)  # before kinds of targets are compared
        if run.config.num_classes is None:
            raise ValueError(f"runs must predict classes or labels, got real values in {run.folder}")
    first = runs[0]
    for run in runs[1:]:
        for what, value, other in (
            ("data set", *(Path(r.config.data).name for r in (first, run))),
            ("number of classes", first.config.num_classes, run.config.num_classes),
            ("kind of targets", *(_kind_name(r.recipe.target_kind) for r in (first, run))),
            # that of texts differs between representations
            ("data", *(None if r.reads_text else r.config.data_digest for r in (first, run))),
        ):
            if value != other:
                raise ValueError(
                    f"runs must have the same {what}, got {value} in {first.folder} and {other} in {run.folder}"
                )


def _kind_name(kind: TargetKind) -> str:
    return "one class per sample" if kind.has_one_class else repr(kind)
