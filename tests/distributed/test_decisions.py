"""What one process decides, all do; and an error of one ends all."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.distributed import decisions

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks")

#: Epochs that are trained, and those in the checkpoint, of trainings that a callback ends.
ENDS = {
    "rank 0 stops after an epoch": 1,
    "rank 1 stops after an epoch": 1,
    "rank 1 stops in a step": 1,
    "rank 1 stops before the first epoch": 0,
    "rank 0 writes within an epoch": decisions.EPOCHS,
    decisions.CHOICE: decisions.EPOCHS,
}

#: The error of the process that has it, and the epochs that are in the checkpoint at least.
ERRORS = {
    "fails": ("ValueError: a callback failed", 0),
    "is interrupted": ("KeyboardInterrupt: interrupted", 1),
    "cannot read the validation data": ("OSError: cannot read the validation data", 1),
}


def check(*words: str) -> set[tuple[str, str]]:
    """Train in a process of its own, since it forks, check what happened, and return the cases and kinds."""
    command = [sys.executable, "-m", "tests.distributed.decisions", *words]
    process = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=900)
    assert process.returncode == 0, process.stderr
    records: list[dict[str, Any]] = [json.loads(line) for line in process.stdout.splitlines()]
    for record in records:
        assert record["statuses"] == [0, 0], record  # no process was ended by the system or had to be killed
        results, case = record["results"], record["case"]
        if case in ENDS:
            assert [result["error"] for result in results] == [None, None], record
            assert results[0]["history"] == results[1]["history"], record  # also the times
            assert {len(result["history"]) for result in results} == {ENDS[case]}, record
            assert results[0]["chosen"] == results[1]["chosen"], record
            assert bool(results[0]["chosen"]) == (case == decisions.CHOICE), record
            assert results[0]["saved"] == ENDS[case], record
            assert results[0]["writes"] >= ("writes" in case), record
            continue
        rank = int(case.split()[1])
        if (rank, record["kind"]) == (1, "data") and "validation" in case:  # only rank 0 evaluates
            assert [result["error"] for result in results] == [None, None], record
            continue
        error, saved = next(value for words, value in ERRORS.items() if words in case)
        assert results[rank]["error"] == error, record
        other = results[1 - rank]["error"]
        assert error in other or other == "InterruptedElsewhere: interrupted in another process", record
        assert (results[0]["saved"] or 0) >= saved, record
    return {(record["case"], record["kind"]) for record in records}


def test_all_processes_follow_the_decision_of_one() -> None:
    assert check("quick") == set(decisions.QUICK)


@pytest.mark.slow
def test_all_processes_follow_every_decision_of_one_in_all_kinds() -> None:
    assert check() == set(decisions.ALL)
