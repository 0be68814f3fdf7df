"""Training by several processes from the command line, here by one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from forwardforward.cli import main
from tests.distributed import equality


@pytest.mark.parametrize("kind", ["data", "pipeline"])
def test_a_run_of_several_processes_resumes_with_one(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], blank_figures: None
) -> None:
    pytest.importorskip("sklearn")
    folder = str(tmp_path / "run")
    words = ["train", "digits", "--recipe", "mono", "--widths", "20,20", "--epochs", "1", "--no-progress"]
    assert main([*words, "--parallel", kind, "--out", folder]) == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["parallel"].endswith(", 1 process")
    assert main(["train", "--resume", folder, "--epochs", "2", "--no-progress"]) == 0
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["epochs"] == 2
    assert "2 epochs" in capsys.readouterr().out


def test_a_device_is_refused_beside_parallel(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "digits", "--parallel", "data", "--device", "cpu", "--out", str(tmp_path / "run")]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert "--device must be left out with --parallel" in error
    assert error.count("\n") == 1


@pytest.mark.skipif(not equality.CAN_SHARD, reason="an old torch")
def test_sharded_layers_resume_without_and_need_data_parallel_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], blank_figures: None
) -> None:
    pytest.importorskip("sklearn")
    folder = str(tmp_path / "run")
    words = ["train", "digits", "--recipe", "mono", "--widths", "20,20", "--epochs", "1", "--no-progress"]
    assert main([*words, "--parallel", "data", "--shard", "--out", folder]) == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["parallel"] == "data-parallel, sharded, 1 process"
    assert main(["train", "--resume", folder, "--epochs", "2", "--no-progress"]) == 0
    assert main(["train", "--resume", folder, "--parallel", "pipeline", "--shard"]) == 2
    assert "--shard needs --parallel data, got --parallel pipeline" in capsys.readouterr().err
