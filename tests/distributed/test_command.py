"""Training by several processes from the command line, here by one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from forwardforward.cli import distributed, main
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


@pytest.fixture
def torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables of the second of two processes that torchrun has started."""
    for name, value in {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(distributed, "WAIT_SECONDS", 0.0)


COMMANDS = {
    "train digits": "pass --parallel data or pipeline to train with them",
    "train --config CONFIG": "pass --parallel data or pipeline to train with them",
    "train --resume absent": "pass --parallel data or pipeline to train with them",
    "evaluate absent": "evaluate runs in one process, start it without torchrun",
    "recipes": "recipes runs in one process, start it without torchrun",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_uses_one_process_is_refused_once_under_torchrun(
    command: str, torchrun: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.toml").write_text("epochs = 1\n")
    monkeypatch.chdir(tmp_path)
    words = command.replace("CONFIG", "config.toml").split()
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("RANK", "0")
    assert main(words) == 2
    assert capsys.readouterr() == ("", f"forwardforward: torchrun started 2 processes: {COMMANDS[command]}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["config.toml"]


def test_a_mistake_in_the_options_is_shown_once_under_torchrun(
    torchrun: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for rank, lines in (("1", 0), ("0", 1)):
        monkeypatch.setenv("RANK", rank)
        with pytest.raises(SystemExit) as caught:
            main(["train", "digits", "--parallel", "pipe"])
        assert caught.value.code == 2
        error = capsys.readouterr().err
        assert error.count("\n") == lines
        assert ("argument --parallel" in error) == bool(lines)


@pytest.mark.parametrize("changes", [{"TORCHELASTIC_RUN_ID": None}, {"WORLD_SIZE": "1"}])
def test_a_command_runs_under_other_launchers_and_with_one_process(
    changes: dict[str, str | None], torchrun: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in changes.items():
        monkeypatch.delenv(name) if value is None else monkeypatch.setenv(name, value)
    assert main(["recipes"]) == 0


def test_parallel_of_a_configuration_file_is_not_refused(
    torchrun: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.toml").write_text('parallel = "data"\n')
    assert main(["train", "--config", str(tmp_path / "config.toml")]) == 2
    assert "the environment must have RANK" in capsys.readouterr().err  # no address of the processes
