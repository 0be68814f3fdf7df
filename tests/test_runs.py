"""Run folders."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from forwardforward.recipes import get
from forwardforward.runs import Run, RunConfig
from forwardforward.training import CheckpointError, load_checkpoint

pytest.importorskip("sklearn")

RECIPE = get("hinton").for_dataset("digits").replace(widths=(12, 12), epochs=2, batch_size=100)


@pytest.fixture(autouse=True)
def _keep_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def config(**changes: Any) -> RunConfig:
    values: dict[str, Any] = {
        "data": "digits",
        "recipe": "hinton",
        "widths": (12, 12),
        "epochs": 2,
        "batch_size": 100,
        "seed": 3,
        "data_dir": None,
        "device": "cpu",
        "precision": "float32",
        "threads": 1,
        "validation": False,
        "command": "python -m forwardforward train",
        "table": RECIPE.table(),
        "compile": False,
        "vectors": None,
    }
    return RunConfig(**{**values, **changes})


def test_a_run_leaves_its_files(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", config())
    summary = run.train(progress=False)
    run.plot()
    files = {path.name for path in run.folder.iterdir()}
    assert files == {"config.json", "history.jsonl", "checkpoint.pt", "summary.json", "curves.png"}
    assert json.loads((run.folder / "summary.json").read_text()) == summary
    assert 0 <= summary["test_error"] <= 100
    assert len(summary["layer_errors"]) == 2
    assert summary["seconds"] > 0
    assert {"head_error", "parameters", "threads", "torch", "command", "cores"} <= set(summary)
    assert (summary["epochs"], summary["recipe"], summary["data"], summary["seed"]) == (2, "hinton", "digits", 3)
    assert [json.loads(line)["epoch"] for line in (run.folder / "history.jsonl").read_text().splitlines()] == [1, 2]
    assert load_checkpoint(run.folder / "checkpoint.pt")["epoch"] == 2
    assert Run.open(run.folder).config == run.config
    assert run.evaluate().error == summary["test_error"]


def test_a_finished_run_trains_no_further(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", config(epochs=1, table=RECIPE.replace(epochs=1).table()))
    assert run.train(progress=False) == run.train(progress=False)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "a b", config())
    with pytest.raises(FileExistsError, match=r"--resume '.*a b', or give another --out"):
        Run.create(run.folder, config())
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "summary.json").write_text("mine")
    with pytest.raises(FileExistsError, match=r"summary\.json"):
        Run.create(tmp_path / "other", config())
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileExistsError, match="is a file"):
        Run.create(tmp_path / "file", config())


def test_discard_takes_only_its_own(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", config())
    (run.folder / "notes.txt").write_text("mine")
    run.discard()
    assert [path.name for path in run.folder.iterdir()] == ["notes.txt"]
    Run.create(tmp_path / "run", config()).train(progress=False)
    run.discard()
    assert (run.folder / "checkpoint.pt").exists()


def test_what_is_not_a_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no run"):
        Run.open(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no run"):
        Run.open(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "change", [{"epochs": "2"}, {"widths": 12}, {"widths": ["a"]}, {"extra": 1}, {"seed": True}, None]
)
def test_a_damaged_configuration(tmp_path: Path, change: dict[str, Any] | None) -> None:
    path = tmp_path / "config.json"
    content = json.dumps({**dataclasses.asdict(config()), **(change or {})})
    path.write_text(content if change else content[:40])
    with pytest.raises(ValueError, match=r"config\.json is not the configuration of a run"):
        Run.open(tmp_path)


def test_a_recipe_that_has_changed_is_not_gone_on_with(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", config(table={**RECIPE.table(), "lr": "0.5"}))
    with pytest.raises(ValueError, match="has changed since the run began: lr"):
        Run.open(run.folder).train(progress=False)


def test_a_checkpoint_cut_short(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", config())
    run.train(progress=False)
    checkpoint = run.folder / "checkpoint.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    for use in (run.evaluate, lambda: run.train(progress=False)):
        with pytest.raises(CheckpointError, match="cut short"):
            use()


def test_a_full_disk_keeps_what_was_there_and_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.create(tmp_path / "run", config())

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", full)
        with pytest.raises(
            CheckpointError, match=r"No space left on device.*go on with: forwardforward train --resume"
        ):
            run.train(progress=False)
    assert {path.name for path in run.folder.iterdir()} <= {"config.json", "history.jsonl"}
    assert run.train(progress=False)["epochs"] == 2


def test_a_run_leaves_the_callers_randomness_and_threads_alone(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    before = torch.get_rng_state()
    Run.create(tmp_path / "run", config(threads=2)).train(progress=False)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == 1
