"""Several processes train as one does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.distributed import equality

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks")


def compared(*words: str) -> set[tuple[str, int, str]]:
    """Compare trainings in a process of its own, since it forks, and return the kinds, sizes and cases."""
    command = [sys.executable, "-m", "tests.distributed.equality", *words]
    process = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=900)
    assert process.returncode == 0, process.stderr
    records: list[dict[str, Any]] = [json.loads(line) for line in process.stdout.splitlines()]
    for record in records:
        assert record["weights"] < 1e-10, record
        assert record.get("figures", 0.0) < 1e-6, record  # accuracies are float32
    return {(record["kind"], record["size"], record["case"]) for record in records}


def test_two_and_three_processes_train_as_one() -> None:
    expected = {(kind, size, case) for size, kind, cases in equality.QUICK for case in cases}
    assert compared("quick") == {*expected, ("resumed", 0, str(equality.QUICK_EPOCHS))}


@pytest.mark.slow
def test_all_kinds_old_scores_and_resumed_trainings() -> None:
    expected = {(kind, size, case) for size, kind, cases in equality.ALL for case in cases}
    assert compared() == {*expected, ("lookahead", 2, "2"), ("resumed", 0, str(equality.EPOCHS))}
