"""Trainings that are killed at many moments and resumed, and several processes with the same files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks, and reads /proc"),
]


def numbers(module: str, out: Path, *arguments: str) -> dict[str, Any]:
    """Run a module in a process of its own, since it forks, and return the numbers that it writes."""
    for name in ("sklearn", "gensim", "matplotlib"):
        pytest.importorskip(name)
    command = [sys.executable, "-m", f"tests.robustness.{module}", "--out", str(out), *arguments]
    process = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert out.is_file(), process.stderr
    result: dict[str, Any] = json.loads(out.read_text())
    return result


def test_killed_trainings_resume_bit_for_bit(tmp_path: Path) -> None:
    result = numbers("kills", tmp_path / "kills.json", "--count", "10", "--workers", "1")
    assert result["kills"] >= 10
    assert not result["failures"]


def test_two_processes_with_the_same_files(tmp_path: Path) -> None:
    result = numbers("concurrency", tmp_path / "concurrency.json", "--reads", "200", "--pairs", "1")
    assert result["files"]["reads"] == 200
    assert result["right"], result
