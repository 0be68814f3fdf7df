"""A fault of one process ends all of them within seconds, with one error and a checkpoint that can be resumed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks"),
]

#: What the one line on standard error contains, by case.
MESSAGES = {
    "kill rank 1": ("rank 1 has ended", "--resume"),
    "kill rank 1 of 3": ("rank 1 has ended", "--resume"),
    "kill rank 0": ("rank 0 has ended", "--resume"),
    "kill rank 1 of a pipeline": ("rank 1 has ended", "--resume"),
    "kill rank 0 of a pipeline": ("rank 0 has ended", "--resume"),
    "full disk": ("cannot write the checkpoint", "No space left on device"),
    "full disk in a pipeline": ("cannot write the checkpoint", "No space left on device"),
    "NaN on rank 1": ("training diverged", "nan"),
    "kill rank 1 with sharded layers": ("rank 1 has ended", "--resume"),
    "full disk with sharded layers": ("cannot write the checkpoint", "No space left on device"),
    "NaN on rank 1 with sharded layers": ("training diverged", "nan"),
    "NaN on rank 0 of a pipeline": ("training diverged", "nan"),
    "unequal data": ("number of samples must be the same in every process", "rank 1"),
    "unequal data in a pipeline": ("number of samples must be the same in every process", "rank 1"),
    "permuted data": ("training data: checksum of the inputs must be the same in every process", "rank 1"),
    "permuted data in a pipeline": ("checksum of the inputs must be the same in every process", "rank 1"),
    "unequal validation data in a pipeline": ("data to evaluate or classify: number of samples", "rank 1"),
    "port in use": ("the port is in use", "MASTER_PORT"),
    "interrupt rank 1": ("interrupted", "--resume"),
    "interrupt rank 0 of a pipeline": ("interrupted", "--resume"),
}

#: Cases that end before a checkpoint is written.
WITHOUT_CHECKPOINT = (*(case for case in MESSAGES if "unequal" in case or "permuted" in case), "port in use")


@pytest.mark.parametrize("case", MESSAGES)
def test_one_error_within_seconds_and_no_process_left_behind(case: str) -> None:
    pytest.importorskip("sklearn")
    command = [sys.executable, "-m", "tests.distributed.faults", case]
    process = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=900)
    assert process.returncode == 0, process.stderr
    result: dict[str, Any] = json.loads(process.stdout)
    assert None not in result["statuses"], result  # no process had to be killed
    assert 0 not in result["statuses"], result
    assert result["seconds"] < 15, result  # processes that wait for each other take 600 s
    assert len(result["lines"]) == 1, result
    for words in MESSAGES[case]:
        assert words in result["lines"][0]
    assert result["diverged"] == ("NaN" in case)  # which the run folder records
    if case not in WITHOUT_CHECKPOINT:
        assert result["epochs"] >= 1
