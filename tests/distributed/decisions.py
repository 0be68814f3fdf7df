"""Decisions that one process takes, and all must follow; run by ``test_decisions.py`` in a process of its own.

    python -m tests.distributed.decisions [quick]

Prints one line of JSON per case and kind: of each process, its error, its history, the epochs in the checkpoint and the
number of checkpoints within epochs.
"""

from __future__ import annotations

import json
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import forwardforward as ff
from forwardforward.distributed import process_group
from forwardforward.training import Callback, FitState
from forwardforward.training.checkpoints import load_checkpoint
from tests.distributed import launch
from tests.distributed.equality import KINDS, pair
from tests.replicas.cases import data

EPOCHS = 3


class Act(Callback):
    """Do something in one process at one place.

    Args:
        rank: The process.
        place: Name of the callback's method.
        action: ``stop``, ``interrupt`` or ``raise``.
    """

    def __init__(self, rank: int, place: str, action: str) -> None:
        self.rank = rank
        self.action = action
        setattr(self, place, self._act)

    def _act(self, state: FitState, *_: Any) -> None:
        if state.parallel.ranks.rank != self.rank:  # type: ignore[attr-defined]
            return
        if self.action == "raise":
            raise ValueError("a callback failed")
        if self.action == "interrupt":
            state.interruption = KeyboardInterrupt("interrupted")
        state.stop = self.action == "stop"


class MainOnly(Act):
    """The same of a callback that only rank 0 has."""

    main_only = True


class CountWrites(ff.training.Checkpoint):
    """A checkpoint within epochs, at every step at which it is due in rank 0."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, minutes=1e-9)
        self.writes = 0

    def write(self, state: FitState, finished: bool = True) -> None:
        """Count the checkpoints within epochs."""
        self.writes += state.unfinished is not None
        super().write(state, finished)


class Failing(torch.utils.data.Dataset[Any]):
    """Validation data that one process cannot read in the second epoch.

    Args:
        fails: Whether this process cannot.
    """

    def __init__(self, fails: bool) -> None:
        self.images, self.labels = data("pair")
        self.fails = fails
        self.reads = 0

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        self.reads += 1
        if self.fails and self.reads > 2 * len(self):  # the first are a check before the training, and the first epoch
            raise OSError("cannot read the validation data")
        return self.images[index], self.labels[index]


CHOICE = "rank 0 fits the weights of the layers"

#: Callbacks by case; of ``state.stop`` in one process.
CALLBACKS: dict[str, Any] = {
    "rank 0 stops after an epoch": lambda: MainOnly(0, "on_epoch_end", "stop"),
    "rank 1 stops after an epoch": lambda: Act(1, "on_epoch_end", "stop"),
    "rank 1 stops in a step": lambda: Act(1, "on_step_end", "stop"),
    "rank 1 stops before the first epoch": lambda: Act(1, "on_fit_begin", "stop"),
    "rank 1 fails after an epoch": lambda: Act(1, "on_epoch_end", "raise"),
    "rank 0 fails after an epoch": lambda: MainOnly(0, "on_epoch_end", "raise"),
    "rank 1 fails in a step": lambda: Act(1, "on_step_end", "raise"),
    "rank 0 is interrupted before an evaluation": lambda: Act(0, "on_evaluation_begin", "interrupt"),
    "rank 1 is interrupted before an evaluation": lambda: Act(1, "on_evaluation_begin", "interrupt"),
}


def classifying() -> ff.FFSequential:
    """A network whose classifier weights the layers by validation data."""
    return pair(
        goodness=ff.goodness.LearnedProjection(3),
        loss=ff.losses.CrossEntropy(),
        label_encoder=None,
        classifier=ff.classifiers.WeightedSum(depth=4),
    )


def train(case: str, kind: str, folder: Path, rank: int) -> None:
    """Train in one process, and write what happened to a file."""
    torch.set_num_threads(1)
    torch.manual_seed(1)
    record: dict[str, Any] = {"error": None}
    checkpoint = folder / "checkpoint.pt"
    count = CountWrites(folder / "within.pt")
    options: dict[str, Any] = {"checkpoint": checkpoint}
    if case in CALLBACKS:
        options["callbacks"] = [CALLBACKS[case]()]
    elif case == "rank 0 writes within an epoch":
        options["callbacks"] = [count]
    if case == CHOICE:
        options["validation"] = data("pair")
    if "validation" in case or "evaluation" in case:
        failing = case == f"rank {rank} cannot read the validation data"
        options["validation"] = torch.utils.data.DataLoader(Failing(failing), batch_size=12)
    try:
        with process_group(start_timeout=60, timeout=20) as ranks:
            parallel = KINDS[kind](ranks)
            model = classifying() if case == CHOICE else pair()
            history = ff.fit(
                model, data("pair"), epochs=EPOCHS, batch_size=8, progress=False, parallel=parallel, **options
            )
            chosen = {name: value.tolist() for name, value in model.state_dict().items() if "classifier" in name}
            record |= {"history": history.epochs, "writes": count.writes, "chosen": chosen}
    except (Exception, KeyboardInterrupt) as error:
        record["error"] = f"{type(error).__name__}: {error}"
    record["saved"] = load_checkpoint(checkpoint)["epoch"] if checkpoint.exists() else None
    (folder / f"{rank}.json").write_text(json.dumps(record))


#: All cases; and with their kinds those of the default tests and of the slow ones.
CASES = [
    *CALLBACKS,
    "rank 0 writes within an epoch",
    *(f"rank {rank} cannot read the validation data" for rank in (0, 1)),
]
QUICK = [
    ("rank 0 stops after an epoch", "data"),
    (CHOICE, "data"),
    ("rank 1 stops in a step", "pipeline"),
    ("rank 0 cannot read the validation data", "pipeline"),
    *([("rank 0 writes within an epoch", "sharded")] if "sharded" in KINDS else []),
]
ALL = [(case, kind) for case in CASES for kind in KINDS] + [(CHOICE, kind) for kind in KINDS if kind != "pipeline"]


def main(quick: bool) -> None:
    """Train with two processes, and print what happened in each."""
    for case, kind in QUICK if quick else ALL:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            statuses = launch.wait(launch.start(2, partial(train, case, kind, folder)), timeout=60)
            results = [json.loads(file.read_text()) for file in sorted(folder.glob("?.json"))]
        print(json.dumps({"case": case, "kind": kind, "statuses": statuses, "results": results}), flush=True)


if __name__ == "__main__":
    main(quick="quick" in sys.argv)
