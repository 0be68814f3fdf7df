"""Faults of one process in trainings from the command line; run by ``test_faults.py`` in a process of its own.

    python -m tests.distributed.faults CASE

Prints one line of JSON: the exit statuses, the seconds from the fault to the end of the last process, the lines on
standard error, and the epochs in the checkpoint.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from forwardforward.cli import main
from forwardforward.data import split
from forwardforward.distributed import Pipeline
from forwardforward.runs import Run
from forwardforward.sequential import FFSequential
from forwardforward.training import checkpoints
from tests.distributed import launch

#: The case's kind of training, and the number of processes.
CASES: dict[str, tuple[str, int]] = {
    "kill rank 1": ("data", 2),
    "kill rank 1 of 3": ("data", 3),
    "kill rank 0": ("data", 2),
    "kill rank 1 of a pipeline": ("pipeline", 2),
    "kill rank 0 of a pipeline": ("pipeline", 2),
    "full disk": ("data", 2),
    "full disk in a pipeline": ("pipeline", 2),
    "NaN on rank 1": ("data", 2),
    "kill rank 1 with sharded layers": ("data --shard", 2),
    "full disk with sharded layers": ("data --shard", 2),
    "NaN on rank 1 with sharded layers": ("data --shard", 2),
    "NaN on rank 0 of a pipeline": ("pipeline", 2),
    "unequal data": ("data", 2),
    "unequal data in a pipeline": ("pipeline", 2),
    "permuted data": ("data", 2),
    "permuted data in a pipeline": ("pipeline", 2),
    "unequal validation data in a pipeline": ("pipeline", 2),
    "port in use": ("data", 2),
    "interrupt rank 1": ("data", 2),
    "interrupt rank 0 of a pipeline": ("pipeline", 2),
}


def rank_of(case: str) -> int:
    """Return the process with the fault."""
    return 1 if any(word in case for word in ("rank 1", "unequal", "permuted")) else 0


def prepare(case: str, rank: int, folder: Path) -> None:
    """Prepare a fault in the process that has it, which writes the time of the fault to a file."""
    if rank != rank_of(case):
        return
    if "full disk" in case:
        replacing, calls = checkpoints.replacing, iter(range(1000))

        def full(*arguments: Any) -> Any:
            if next(calls) >= 2:
                note_time(folder)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return replacing(*arguments)

        checkpoints.replacing = full  # type: ignore[assignment]
    elif "NaN" in case:
        samples, calls = FFSequential.prepared_batch, iter(range(1000000))

        def poisoned(self: FFSequential, *arguments: Any, **options: Any) -> Any:
            images, labels = samples(self, *arguments, **options)
            if next(calls) <= 700:
                return images, labels
            note_time(folder)
            return images * float("nan"), labels

        FFSequential.prepared_batch = poisoned  # type: ignore[method-assign]
    elif "permuted" in case:
        ordered = Run.training_data
        Run.training_data = lambda self: ordered(self)[torch.arange(len(ordered(self))).flip(0)]  # type: ignore[method-assign]
    elif "validation" in case:
        evaluate = Pipeline.evaluate
        Pipeline.evaluate = lambda self, network, data, choose=False: evaluate(self, network, data[:10], choose)  # type: ignore[method-assign]
    elif "unequal" in case:
        whole = Run.training_data
        Run.training_data = lambda self: split(whole(self), [1000, len(whole(self)) - 1000], seed=0)[0]  # type: ignore[method-assign]


def note_time(folder: Path) -> None:
    """Write the time of the first fault to a file."""
    with contextlib.suppress(FileExistsError), (folder / "time").open("x") as file:
        file.write(str(time.monotonic()))


def rank_main(case: str, kind: str, folder: Path, rank: int) -> int:
    """Train in one process, with its standard error in a file."""
    for number, name in ((1, "out"), (2, "error")):
        os.dup2(os.open(folder / f"{name}{rank}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    torch.set_num_threads(1)
    prepare(case, rank, folder)
    words = f"train digits --recipe hinton --widths 60,60,60 --epochs 100000 --no-progress --parallel {kind} --out"
    return main([*words.split(), str(folder / "run"), *(["--validation"] if "validation" in case else [])])


def run(case: str, folder: Path) -> dict[str, Any]:
    """Train with a fault, and return what happened."""
    kind, size = CASES[case]
    port, begin = None, time.monotonic()
    with contextlib.ExitStack() as stack:
        if case == "port in use":
            listener = stack.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            port = listener.getsockname()[1]
        processes = launch.start(size, partial(rank_main, case, kind, folder), port)
        if "kill" in case or "interrupt" in case:
            history = folder / "run" / "history.jsonl"
            wait_for(lambda: history.exists() and history.read_text().count("\n") >= 2)
            time.sleep(0.05)
            begin = time.monotonic()
            os.kill(processes[rank_of(case)], signal.SIGKILL if "kill" in case else signal.SIGTERM)
        statuses = launch.wait(processes)
    if (noted := folder / "time").exists():
        begin = float(noted.read_text())
    seconds = time.monotonic() - begin
    lines = [line for rank in range(size) for line in (folder / f"error{rank}").read_text().splitlines()]
    epochs = Run.open(folder / "run").epochs_done if (folder / "run" / "config.json").exists() else None
    diverged = (folder / "run" / "failure.json").exists()
    return {
        "case": case, "statuses": statuses, "seconds": seconds, "lines": lines, "epochs": epochs, "diverged": diverged,
    }  # fmt: skip


def wait_for(condition: Callable[[], bool], timeout: float = 600.0) -> None:
    """Wait until a condition is met."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the training has not begun")
        time.sleep(0.02)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as scratch:
            print(json.dumps(run(name, Path(scratch))), flush=True)
