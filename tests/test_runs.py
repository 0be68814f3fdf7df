"""Run folders."""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import forwardforward as ff
from forwardforward.data import Splits, TensorData
from forwardforward.data.text import TextEncoder
from forwardforward.recipes import Recipe, get, set_fields
from forwardforward.recipes.fields import SETTABLE
from forwardforward.recipes.recipe import USED_IN_TRAINING
from forwardforward.runs import Ensemble, Run, RunConfig, differences
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


def test_the_curves_of_a_finished_run_contain_the_test_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    monkeypatch.setattr("forwardforward.diagnostics.curves", lambda *arguments: drawn.append(arguments[2]))
    run = Run.create(tmp_path / "run", config())
    summary = run.train(progress=False)
    run.plot()
    run.set_epochs(3)
    run.fit(progress=False)
    run.plot()
    assert drawn == [{"model": summary["test_error"], "one-pass head": summary["head_error"]}, {}]


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
        {"threads": 2.0},
        {"epochs": 10**18},
        {"batch_size": float("nan")},
        {"train_samples": 1e400},
        {"seed": -1},
        {"seed": 2**63},
        {"data": None},
        {"recipe": ["hinton"]},
        {"device": 0},
        {"compile": 1},
        {"widths": [10**10]},
        {"num_classes": 10**12},
        {"data_digest": 5},
        {"table": [["lr", "0.1"]]},
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


@pytest.mark.parametrize(
    "content",
    [b"\xff{", b"[" * 10**5, b"null", b'{"data": 1, "data": 2}', b"9" * 5000],
    ids=lambda text: text[:5].hex(),
)
def test_a_configuration_that_is_not_json(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"config\.json is not the configuration of a run"):
        Run.open(tmp_path)


def test_a_folder_or_pipe_in_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "config.json").mkdir()
    with pytest.raises(ValueError, match=r"config\.json is not a regular file"):
        Run.open(tmp_path)
    run = Run.create(tmp_path / "run", config())
    for name in ("summary.json", "history.jsonl", "checkpoint.pt", "curves.png"):
        (run.folder / name).mkdir()
        with pytest.raises(ValueError, match=rf"{name} is not a regular file"):
            run.train(progress=False)
        (run.folder / name).rmdir()
    (run.folder / "history.jsonl").mkdir()
    with pytest.raises(ValueError, match=r"history\.jsonl is not a regular file"):
        run.plot()


def test_a_run_whose_recipe_has_changed_is_not_resumed(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", config(table={**RECIPE.table(), "lr": "0.5"}))
    with pytest.raises(ValueError, match=r"has changed since the run began: lr \(was 0\.5, is 0\.\d+\)"):
        Run.open(run.folder).train(progress=False)


def test_a_run_whose_recipe_makes_another_model_now_is_not_used(tmp_path: Path) -> None:
    changes = {"goodness": "SumOfSquares()"}
    recipe = set_fields(RECIPE, changes)
    run = Run.create(tmp_path / "run", RunConfig.from_recipe(recipe, "digits", changes=changes, threads=1))
    error = run.train(progress=False)["test_error"]
    assert Run.open(run.folder).evaluate().error == error
    path = run.folder / "config.json"
    saved = json.loads(path.read_text())
    # as after a change of the recipe's source that the shapes of the weights do not tell
    path.write_text(json.dumps({**saved, "table": {**saved["table"], "normalization": "BatchNorm()"}}))
    changed = Run.open(run.folder)
    for use in (changed.load, changed.evaluate, changed.text_encoder, lambda: Ensemble([changed])):
        with pytest.raises(ValueError, match=r"changed since the run began: normalization \(was BatchNorm\(\), is \w"):
            use()


def test_a_run_is_used_after_changes_that_concern_its_training_alone(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", config())
    error = run.train(progress=False)["test_error"]
    path = run.folder / "config.json"
    saved = json.loads(path.read_text())
    path.write_text(json.dumps({**saved, "table": {**saved["table"], "lr": "0.5", "clip_norm": "1.0"}}))
    assert Run.open(run.folder).evaluate().error == error
    with pytest.raises(ValueError, match=r"lr \(was 0\.5, is 0\.\d+\), clip_norm \(was 1\.0, is None\)"):
        Run.open(run.folder).check_recipe()


def test_every_field_of_a_recipe_determines_the_model_or_is_used_in_training_alone() -> None:
    methods = [inspect.unwrap(vars(Recipe)[name]) for name in ("model", "_outputs", "_layers", "_preprocessing")]
    methods += [inspect.unwrap(Recipe._label_encoder), Recipe.target_kind.fget]  # type: ignore[attr-defined]
    read = {name for method in methods for name in method.__code__.co_names}
    assert not read & set(USED_IN_TRAINING)
    assert set(SETTABLE) - read - set(USED_IN_TRAINING) == {"representation"}  # which determines the inputs


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


@pytest.mark.parametrize("change", ["shape", "one input", "one label", "order"])
def test_other_data_under_a_run_are_noticed(tmp_path: Path, change: str) -> None:
    data = npz(tmp_path / "own.npz", 4, 4)
    recipe = get("mono").for_dataset(data).replace(widths=(12,), epochs=1)
    Run.create(tmp_path / "run", RunConfig.from_recipe(recipe, data)).train(progress=False)
    with np.load(data) as file:
        x, y = file["x"], file["y"]
    if change == "shape":
        x = x[:, :, :3]
    elif change == "one input":
        x[7, 0, 0] = 0.5
    elif change == "one label":
        y[7] = (y[7] + 1) % 3
    else:
        x = x[::-1]
    np.savez(data, x=x, y=y)
    field = "input_shape" if change == "shape" else "data_digest"
    for use in (lambda run: run.evaluate(), lambda run: run.train(progress=False)):
        with pytest.raises(ValueError, match=rf"own\.npz have changed since the run began: {field} \(was"):
            use(Run.open(tmp_path / "run"))


def test_data_that_were_only_rounded_otherwise_are_the_same_for_texts_only() -> None:
    class Words(TextEncoder):
        def __init__(self) -> None:
            """Without a representation."""

        def state(self) -> dict[str, Any]:
            return {"words": ["a", "film"]}

    inputs = torch.rand(9, 4)
    splits = [
        Splits("x", *[TensorData(x, torch.arange(9) % 3)] * 3, 3, (4,), text_encoder=encoder)
        for x in (inputs, inputs * (1 + 1e-7))
        for encoder in (None, Words())
    ]
    labels = TensorData(inputs, 2 - torch.arange(9) % 3)
    relabeled = Splits("x", splits[0].train, splits[0].validation, labels, 3, (4,))
    assert splits[0].digest != splits[2].digest
    assert splits[0].digest != relabeled.digest
    assert splits[1].digest == splits[3].digest


def test_a_second_trainer_is_refused_and_readers_are_not(tmp_path: Path) -> None:
    class Second(Callback):
        def on_epoch_end(self, state: FitState) -> None:
            second = Run.open(tmp_path / "run")
            for use in (
                lambda: second.train(progress=False),
                lambda: second.fit(progress=False),
                lambda: second.set_epochs(3),
            ):
                with pytest.raises(BlockingIOError, match=rf"^process {os.getpid()} on \S+ is training in .*run$"):
                    use()
            second.discard()
            second.splits()
            if second.epochs_done:
                second.load()

    run = Run.create(tmp_path / "run", config())
    assert run.train([Second()], progress=False)["epochs"] == 2
    assert not (tmp_path / "run" / ".lock").exists()


def test_of_two_processes_that_begin_a_run_at_once_the_second_is_refused(tmp_path: Path) -> None:
    first, second = (Run(tmp_path / "run", config()) for _ in range(2))
    splits = second.splits

    def begun_meanwhile() -> Any:
        first.begin()
        return splits()

    second.splits = begun_meanwhile  # type: ignore[method-assign]
    with pytest.raises(FileExistsError, match="already contains a run"):
        second.begin()
    assert Run.open(tmp_path / "run").config == first.config


def test_an_unreadable_summary_is_named_before_the_training(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", config())
    path = run.folder / "summary.json"
    for content in (
        b"{",
        b"\xff",
        b"[]",
        b'{"epochs": 2, "total_seconds": NaN}',
        b'{"epochs": 2, "total_seconds": "x"}',
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"summary\.json is not the summary of a run, remove it"):
            run.train(progress=False)
    assert not (run.folder / "checkpoint.pt").exists()


@pytest.mark.usefixtures("blank_figures")
def test_the_history_of_a_killed_process_is_drawn_and_another_is_named(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", config())
    run.train(progress=False)
    path = run.folder / "history.jsonl"
    first, second = path.read_text().splitlines(keepends=True)
    path.write_text(first + second[:40])
    assert run.plot().is_file()
    for content in ("[]\n", "{}\n", first + "{\n", '{"epoch": 1, "layers": 5}\n', "[" * 10**5 + "\n", ""):
        path.write_text(content)
        with pytest.raises(ValueError, match=r"history\.jsonl is not the history of a run"):
            run.plot()
    path.write_bytes(b"\xff\n")
    with pytest.raises(ValueError, match=r"history\.jsonl"):
        run.plot()


def test_more_epochs(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", config())
    run.train(progress=False)
    assert run.epochs_done == 2
    with pytest.raises(ValueError, match="epochs must be at least 2, the number of epochs that have begun, got 1"):
        run.set_epochs(1)
    run.set_epochs(4)
    assert Run.open(run.folder).config == run.config
    assert run.train(progress=False)["epochs"] == run.epochs_done == 4
    assert json.loads((run.folder / "summary.json").read_text())["total_seconds"] is None


def test_the_summary_has_the_error_of_the_best_epochs_weights(tmp_path: Path) -> None:
    class Spoil(Callback):
        def on_step_end(self, state: FitState, result: object) -> None:
            if len(state.history) == 2:
                with torch.no_grad():
                    for parameter in state.model.parameters():
                        parameter.zero_()

    recipe = get("mono").for_dataset("digits").replace(widths=(12,), epochs=3, batch_size=100, lr=0.03)
    settings: dict[str, Any] = {"seed": 3, "threads": 1, "command": "train", "validation": True}
    settings["changes"] = {"lr": "0.03"}
    run = Run.create(tmp_path / "run", RunConfig.from_recipe(recipe, "digits", **settings))
    summary = run.train([ff.training.EarlyStopping(5), Spoil()], progress=False)
    measured = ff.evaluate(run.load(), run.splits().validation)
    assert summary["validation_error"] == measured.error < 60
    assert run.load().card["validation error, %"] == measured.error


def test_the_card_of_a_run_has_the_facts_on_its_weights_alone(tmp_path: Path) -> None:
    class Kill(Callback):
        def on_step_end(self, state: FitState, result: object) -> None:
            if len(state.history) == 1:
                state.interruption = KeyboardInterrupt()

    settings = {"seed": 3, "threads": 1, "command": "python -m forwardforward train"}
    run = Run.create(tmp_path / "run", RunConfig.from_recipe(RECIPE.replace(epochs=1), "digits", **settings))
    run.train(progress=False)
    assert {"epochs", "test error, %"} <= run.load().card.keys()
    run.set_epochs(4)
    with pytest.raises(KeyboardInterrupt):
        run.train([Kill()], progress=False)
    assert (run.epochs_done, run.epochs_begun) == (1, 2)
    card = run.load().card
    assert card["epochs"] == 1
    assert "test error, %" not in card
    with pytest.raises(ValueError, match="epochs must be at least 2, the number of epochs that have begun, got 1"):
        run.set_epochs(1)


def test_the_card_of_real_values_has_their_error(tmp_path: Path) -> None:
    recipe = get("ordinal").for_dataset("diabetes").replace(widths=(12,), epochs=1)
    settings = {"seed": 3, "threads": 1, "command": "python -m forwardforward train"}
    run = Run.create(tmp_path / "run", RunConfig.from_recipe(recipe, "diabetes", **settings))
    run.train(progress=False)
    model = run.load()
    assert model.card["test RMSE"] > 0
    assert not [name for name in model.card if "%" in name]
    model.save_pretrained(tmp_path / "saved")
    readme = (tmp_path / "saved" / "README.md").read_text()
    assert "| input | (10,) |" in readme
    assert "uint8" not in readme


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


def test_a_lost_checkpoint_is_refused_and_not_trained_again_in_silence(tmp_path: Path) -> None:
    recipe = get("symba").for_dataset("digits").replace(widths=(8, 8), epochs=2, batch_size=500)
    run = Run.create(tmp_path / "run", RunConfig.from_recipe(recipe, "digits"))
    run.train(progress=False)
    (tmp_path / "run" / "checkpoint.pt").unlink()
    with pytest.raises(CheckpointError, match=r"there is no checkpoint .*, but history\.jsonl contains 2 epochs"):
        Run.open(tmp_path / "run").train(progress=False)
    (tmp_path / "run" / "history.jsonl").unlink()
    assert Run.open(tmp_path / "run").train(progress=False)["epochs"] == 2
