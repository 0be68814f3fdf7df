"""Run folders."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import forwardforward as ff
from forwardforward.recipes import get
from forwardforward.runs import Run, RunConfig, differences
from forwardforward.training import Callback, CheckpointError, FitState, load_checkpoint

pytest.importorskip("sklearn")

RECIPE = get("hinton").for_dataset("digits").replace(widths=(12, 12), epochs=2, batch_size=100)


@pytest.fixture(autouse=True)
def _keep_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def config(**changes: Any) -> RunConfig:
    settings = {"seed": 3, "threads": 1, "command": "python -m forwardforward train"}
    return dataclasses.replace(RunConfig.from_recipe(RECIPE, "digits", **settings), **changes)


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
    with pytest.raises(FileExistsError, match=r"already contains a run \(resume with: .*--resume '.*a b'\)"):
        Run.create(run.folder, config())
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "summary.json").write_text("mine")
    with pytest.raises(FileExistsError, match=r"summary\.json"):
        Run.create(tmp_path / "other", config())
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileExistsError, match="is a file"):
        Run.create(tmp_path / "file", config())


def test_discard_removes_only_files_of_the_run(tmp_path: Path) -> None:
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
    "change",
    [
        {"epochs": "2"},
        {"epochs": 0},
        {"widths": 12},
        {"widths": ["a"]},
        {"widths": []},
        {"extra": 1},
        {"seed": True},
        {"threads": 1000000},
        {"precision": "fp8"},
        {"table": {"lr": 0.1}},
        {"input_shape": [1, 0]},
        {"class_names": "ab"},
        None,
    ],
)
def test_a_damaged_configuration(tmp_path: Path, change: dict[str, Any] | None) -> None:
    path = tmp_path / "config.json"
    content = json.dumps({**dataclasses.asdict(config()), **(change or {})})
    path.write_text(content if change else content[:40])
    with pytest.raises(ValueError, match=r"config\.json is not the configuration of a run"):
        Run.open(tmp_path)


def test_a_run_whose_recipe_has_changed_is_not_resumed(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", config(table={**RECIPE.table(), "lr": "0.5"}))
    with pytest.raises(ValueError, match=r"has changed since the run began: lr \(was 0\.5, is 0\.\d+\)"):
        Run.open(run.folder).train(progress=False)


def test_a_checkpoint_cut_short(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", config())
    run.train(progress=False)
    checkpoint = run.folder / "checkpoint.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    for use in (run.evaluate, lambda: run.train(progress=False)):
        with pytest.raises(CheckpointError, match="incomplete"):
            use()


def test_a_full_disk_keeps_the_files_and_names_the_command_to_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.create(tmp_path / "run", config())

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", full)
        with pytest.raises(CheckpointError, match=r"No space left on device.*resume with: forwardforward train --res"):
            run.train(progress=False)
    assert {path.name for path in run.folder.iterdir()} <= {"config.json", "history.jsonl"}
    assert run.train(progress=False)["epochs"] == 2


def test_a_run_leaves_the_callers_randomness_and_threads_alone(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    before = torch.get_rng_state()
    Run.create(tmp_path / "run", config(threads=2)).train(progress=False)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == 1


def npz(path: Path, *shape: int) -> str:
    np.savez(path, x=np.random.default_rng(0).random((60, *shape), dtype=np.float32), y=np.arange(60) % 3)
    return str(path)


def test_load_in_a_new_process_without_the_data_set(tmp_path: Path) -> None:
    data = npz(tmp_path / "own.npz", 4, 4)
    recipe = get("mono").for_dataset(data).replace(widths=(12, 12), epochs=2, standardize=True)
    run = Run.create(tmp_path / "run", RunConfig.from_recipe(recipe, data), recipe=recipe)
    run.train(progress=False)
    Path(data).unlink()
    images = run.splits().test.inputs
    torch.save({"images": images, "scores": run.load().scores(images).detach()}, tmp_path / "expected.pt")
    program = """if True:
        import torch
        import forwardforward as ff
        from forwardforward.runs import Run
        from forwardforward.recipes import get
        model = Run.open("run", recipe=get("mono").replace(standardize=True)).load()
        expected = torch.load("expected.pt", weights_only=True)
        assert not model.training
        with torch.no_grad():
            assert torch.equal(model.scores(expected["images"]), expected["scores"])
        assert model.predict(expected["images"].numpy()).shape == (len(expected["images"]),)
    """
    subprocess.run([sys.executable, "-W", "error", "-c", program], cwd=tmp_path, check=True)


def test_load_gives_the_runs_test_error(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", config())
    summary = run.train(progress=False)
    model, test = ff.load(run.folder), run.splits().test
    assert not model.training
    wrong = (model.predict(test.inputs) != test.targets).double().mean()
    assert 100 * float(wrong) == pytest.approx(summary["test_error"])
    assert model.class_names == run.config.class_names
    assert (run.config.input_shape, run.config.num_classes) == ((1, 8, 8), 10)


def test_load_needs_a_checkpoint(tmp_path: Path) -> None:
    Run.create(tmp_path / "run", config())
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        ff.load(tmp_path / "run")
    with pytest.raises(FileNotFoundError, match="there is no run"):
        ff.load(tmp_path)


def test_other_data_under_a_run_are_noticed(tmp_path: Path) -> None:
    data = npz(tmp_path / "own.npz", 4, 4)
    recipe = get("mono").for_dataset(data).replace(widths=(12,), epochs=1)
    Run.create(tmp_path / "run", RunConfig.from_recipe(recipe, data)).train(progress=False)
    npz(tmp_path / "own.npz", 4, 5)
    with pytest.raises(ValueError, match=r"own\.npz have changed since the run began: input_shape \(was \(1, 4, 4\)"):
        Run.open(tmp_path / "run").evaluate()


def test_more_epochs(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", config())
    run.train(progress=False)
    assert run.epochs_done == 2
    with pytest.raises(ValueError, match="epochs must be at least 2, the number of completed epochs, got 1"):
        run.set_epochs(1)
    run.set_epochs(4)
    assert Run.open(run.folder).config == run.config
    assert run.train(progress=False)["epochs"] == run.epochs_done == 4
    assert json.loads((run.folder / "summary.json").read_text())["total_seconds"] is None


def test_the_checkpoint_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Run.create(tmp_path / "run", config()).train(progress=False)
    reads = []

    def counted(path: Path) -> dict[str, Any]:
        reads.append(path)
        return load_checkpoint(path)

    monkeypatch.setattr("forwardforward.runs.run.load_checkpoint", counted)
    run = Run.open(tmp_path / "run")
    run.load()
    assert (run.epochs_done, run.epochs_done, len(reads)) == (2, 2, 1)
    Run.open(tmp_path / "run").set_epochs(3)
    Run.open(tmp_path / "run").train(progress=False)  # replaces the checkpoint
    assert run.epochs_done == 3


def test_a_recipe_without_a_registered_name(tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, name="my-recipe", lr=0.02)
    settings = RunConfig.from_recipe(recipe, "digits", threads=1)
    summary = Run.create(tmp_path / "run", settings, recipe=recipe).train(progress=False)
    assert summary["recipe"] == "my-recipe"
    again = Run.open(tmp_path / "run", recipe=recipe)
    assert again.evaluate().error == summary["test_error"]
    with pytest.raises(ValueError, match="my-recipe"):
        ff.load(tmp_path / "run")
    model, test = ff.load(tmp_path / "run", recipe=recipe), again.splits().test
    assert torch.equal(model.scores(test.inputs), again.load().scores(test.inputs))
    with pytest.raises(ValueError, match=r"lr \(was 0\.02, is 0\.03\)"):
        Run.open(tmp_path / "run", recipe=recipe.replace(lr=0.03)).train(progress=False)


class StopAfter(Callback):
    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def on_epoch_end(self, state: FitState) -> None:
        state.stop = len(state.history) >= self.epochs


def test_a_run_in_stages(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", config())
    _, history = run.fit([StopAfter(1)], progress=False)
    assert len(history) == run.epochs_done == 1
    assert not (run.folder / "summary.json").exists()
    again = Run(tmp_path / "run", config(), splits=run.splits())
    again.begin(resume=True)
    assert again.splits() is run.splits()
    again.train(progress=False)
    whole = Run.create(tmp_path / "whole", config())
    whole.train(progress=False)
    actual, expected = (load_checkpoint(run.folder / "checkpoint.pt")["model"] for run in (again, whole))
    assert all(torch.equal(value, expected[name]) for name, value in actual.items())
    with pytest.raises(ValueError, match=r"contains a run with other settings: seed \(was 3, is 4\)"):
        Run(tmp_path / "run", config(seed=4)).begin(resume=True)


def test_fewer_training_samples(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", config(train_samples=200, epochs=1, table=RECIPE.replace(epochs=1).table()))
    assert run.train(progress=False)["train_samples"] == len(run.training_data()) == 200
    counts = run.training_data().targets.bincount()
    assert counts.max() - counts.min() <= 2
    for samples in (5, 10_000):
        with pytest.raises(ValueError, match=f"train_samples must be from 10 to 1437, got {samples}"):
            Run(tmp_path / "other", config(train_samples=samples)).training_data()


def test_differences_of_configurations() -> None:
    saved, current = config(), config(seed=4, device="cuda", threads=2, train_samples=100)
    changed = differences(saved.settings(), current.settings())
    assert changed == {"seed": (3, 4), "train_samples": (None, 100)}
