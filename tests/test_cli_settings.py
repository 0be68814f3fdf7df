"""The command line's settings: fields of the recipe, files, suggestions, and the run that they lead to; the doctor."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import forwardforward as ff
from forwardforward.__main__ import main
from forwardforward.runs import Run
from forwardforward.training import load_checkpoint, save_checkpoint

pytest.importorskip("sklearn")
pytestmark = pytest.mark.usefixtures("blank_figures")

QUICK = ["--widths", "12,12", "--epochs", "1", "--batch-size", "100", "--threads", "1", "--no-progress"]


@pytest.fixture(autouse=True)
def _in_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def fails(one_line: Callable[..., str]) -> Callable[..., str]:
    """Run a command that must fail with status 2, and return its one-line error."""
    return lambda *arguments: one_line(main, list(arguments))


def npz(path: str = "own.npz", classes: int = 3) -> str:
    x = np.random.default_rng(0).random((60, 6), dtype=np.float32)
    np.savez(path, x=x, y=np.arange(60) % classes)
    return path


def config(run: str = "run") -> dict[str, Any]:
    return dict(json.loads(Path(run, "config.json").read_text()))


SETTINGS = ["--set", "lr=0.02", "--set", "loss=SymBa(alpha=2.0)", "--set", "optimizer_options.weight_decay=0.001"]


def test_fields_are_recorded_and_every_command_rebuilds_the_same_run(
    fails: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", npz(), "--recipe", "symba", *QUICK, *SETTINGS, "--out", "run"]) == 0
    saved = config()
    assert saved["changes"] == {
        "lr": "0.02", "loss": "SymBa(alpha=2.0)", "optimizer_options.weight_decay": "0.001",
    }  # fmt: skip
    assert (saved["table"]["lr"], saved["table"]["loss"]) == ("0.02", "SymBa(alpha=2.0)")
    assert saved["class_counts"] == [12, 12, 12]
    assert "--set 'loss=SymBa(alpha=2.0)'" in json.loads(Path("run/summary.json").read_text())["command"]
    recipe = Run.open("run").recipe
    assert (recipe.lr, recipe.optimizer_options) == (0.02, {"weight_decay": 0.001})
    model = ff.load("run")
    assert model.layers[1].objective.loss.alpha == 2.0
    capsys.readouterr()
    assert main(["evaluate", "run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["recipe"] == "symba"
    assert main(["predict", "run", "own.npz"]) == 0
    assert capsys.readouterr().out.count("\n") == 61
    assert main(["train", "--resume", "run", "--epochs", "2", "--no-progress", *SETTINGS]) == 0
    assert Run.open("run").recipe.lr == 0.02
    line = fails("train", "--resume", "run", "--set", "lr=0.03")
    assert "--set lr=0.03 contradicts the run in run, which has 0.02" in line
    assert "--set epochs=5 contradicts" in fails("train", "--resume", "run", "--set", "epochs=5")


def test_a_file_sets_options_and_fields_below_those_of_the_command_line(fails: Callable[..., str]) -> None:
    npz()
    Path("own.toml").write_text(
        'data = "own.npz"\nrecipe = "symba"\nwidths = [12, 12]\nbatch-size = 100\nepochs = 1\nthreads = 1\nseed = 3\n'
        'validation = true\nlr = 0.02\nloss = "SymBa(alpha=2.0)"\nclassifier = "SumOverLayers(slice(-1, None))"\n'
        "[optimizer_options]\nweight_decay = 0.001\n[overrides.0]\nlr = 0.5\n"
    )
    words = ["train", "--config", "own.toml", "--no-progress"]
    assert main([*words, "--out", "one"]) == 0
    one = config("one")
    assert one["data"] == str(Path("own.npz").absolute())
    assert (one["recipe"], one["widths"], one["seed"], one["validation"]) == ("symba", [12, 12], 3, True)
    assert one["changes"] == {
        "lr": "0.02", "loss": "SymBa(alpha=2.0)", "classifier": "SumOverLayers(slice(-1, None))",
        "optimizer_options.weight_decay": "0.001", "overrides.0.lr": "0.5",
    }  # fmt: skip
    assert "--config" not in one["command"]
    assert "--seed=3" in one["command"]
    assert Run.open("one").recipe.overrides == {"0": {"lr": 0.5}}
    assert main([*words, "--out", "two", "--seed", "4", "--set", "lr=0.5", "--recipe", "mono", "digits",
                 "--set", "loss=CrossEntropy(temperature=2.0)"]) == 0  # fmt: skip
    two = config("two")
    assert (two["data"], two["recipe"], two["seed"], two["changes"]["lr"]) == ("digits", "mono", 4, "0.5")
    assert main(["train", "--resume", "one", "--config", "own.toml", "--no-progress"]) == 0
    for text, message in {
        "epochs = 'many'": "bad.toml: argument --epochs: must be an integer from 1",
        "epochs = true": "bad.toml: epochs must be a number or a string, got True",
        "validation = 1": "bad.toml: validation must be true or false, got 1",
        "lr = [": "bad.toml must be a file in TOML",
        "lr = 'fast'": "--set lr=fast: it must be a value such as 0.001",
        "lr = 1979-05-27": "bad.toml: lr must be a number, a string or an array",
        "learning_rat = 1": "bad.toml: learning_rat is neither an option of train nor a field of a recipe",
        "lr_shedule = 1": "did you mean 'lr_schedule'?",
        "resume = 'one'": "bad.toml: resume is neither an option",
        "recipe = 'symbaa'": "did you mean 'symba'?",
        "batch_size = 50\nbatch-size = 60": "bad.toml: batch-size and batch_size are one setting",
        "data = '--json'": "bad.toml: data must be the name of a data set or the path of an .npz file, got '--json'",
        "teacher = ['one', 'gone']": "--teacher",
        "teacher = []\nepochs = 'many'": "argument --epochs",
    }.items():
        Path("bad.toml").write_text(text)
        assert message in fails("train", "--config", "bad.toml"), text
    assert "--config: there is no file 'gone.toml'" in fails("train", "--config", "gone.toml")
    assert "--config: there is no file '.'" in fails("train", "--config", ".")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
def test_a_file_of_settings_may_be_a_pipe(fails: Callable[..., str]) -> None:
    os.mkfifo("pipe")
    writer = threading.Thread(target=Path("pipe").write_text, args=("recipe = 'symbaa'",), daemon=True)
    writer.start()
    assert "did you mean 'symba'?" in fails("train", "--config", "pipe")
    writer.join(timeout=10)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trian"], "evaluate, ensemble, doctor, recipes, got 'trian': did you mean 'train'?"),
        (["train", "--widhts", "5"], "unrecognized arguments: --widhts: did you mean '--widths'?"),
        (["evaluate", "run", "--jsn"], "did you mean '--json'?"),
        (["train", "--precision", "bf61"], "must be one of float32, tf32, bf16, got 'bf61': did you mean 'bf16'?"),
        (["train", "fasion-mnist"], "did you mean 'fashion-mnist'?"),
        (["train", "--recipe", "HINTON"], "did you mean 'hinton'?"),
        (["train", "--set", "loss=Symba"], "did you mean 'SymBa'?"),
        (["train", "--set", "learnig_rate=1"], "'learnig_rate' is not a field of a recipe"),
        (["train", "--set", "batchsize=1"], "did you mean 'batch_size'?"),
        (["train", "--set", "lr"], "--set must be FIELD=VALUE, such as lr=0.01, got 'lr'"),
        (["train", "--set", "lr="], "--set must be FIELD=VALUE"),
        (["train", "--set", "epochs=2", "--epochs", "3"], "--epochs and --set epochs=2 must not both be given"),
        (["train", "--set", "optimizer=AdamW"], " (the default) --set optimizer=AdamW do not fit recipe hinton on"),
        (["train", "--set", "goodness=LearnedProjection"], "--set goodness=LearnedProjection do not fit recipe"),
        (["train", "--set", "baseline=Backpropagation"], "--set goodness, loss, peer"),
        (["train", "--set", "representation=NGrams"], "--recipe hinton needs a data set of texts"),
    ],
)
def test_errors_suggest_similar_names_and_leave_no_run(
    arguments: list[str], words: str, fails: Callable[..., str]
) -> None:
    assert words in fails(*arguments)
    assert not Path("runs").exists()


def test_results_name_unfinished_runs_and_runs_with_validation(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--validation", "--precision", "tf32", "--out", "run"]
    assert main(["train", npz(), "--recipe", "mono", *QUICK, *options]) == 0
    assert config()["precision"] == "tf32"
    assert torch.get_float32_matmul_precision() == "highest"
    assert "mono on own.npz, trained with --validation: validation error" in capsys.readouterr().out
    Path("run/config.json").write_text(json.dumps({**config(), "epochs": 5}))  # as a killed run leaves it
    assert main(["evaluate", "run"]) == 0
    out = capsys.readouterr().out
    assert "mono on own.npz, unfinished, 1 of 5 epochs, trained with --validation: test error" in out
    assert main(["evaluate", "run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["trained_on"] == "training split"
    assert main(["predict", "run", "own.npz"]) == 0
    assert capsys.readouterr().err.splitlines() == [
        "unfinished: 1 of 5 epochs", "trained with --validation, without the validation split",
    ]  # fmt: skip
    summary = json.loads(Path("run/summary.json").read_text())
    assert (summary["epochs"], summary["planned_epochs"]) == (1, 1)


def test_a_classifier_that_chooses_by_the_validation_split_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", npz(), "--recipe", "mono", *QUICK, "--set"]
    note = "the validation split is held out of the training, since classifier WeightedSum(depth=2) chooses by it\n"
    for choice, options, expected in (
        ("classifier=WeightedSum(2)", [], note),
        ("classifier=WeightedSum(2)", ["--validation"], ""),
        ("classifier=Candidates(2)", [], ""),
    ):
        assert main([*words, choice, *options]) == 0
        assert capsys.readouterr().err == expected
    summary = json.loads(Path("runs/own-mono-0-3/summary.json").read_text())
    assert summary["trained_on"] == "all training images"


def test_more_epochs_are_written_only_when_the_checkpoint_was_accepted(fails: Callable[..., str]) -> None:
    assert main(["train", npz(), "--recipe", "mono", *QUICK, "--out", "run"]) == 0
    before = Path("run/config.json").read_bytes()
    content = load_checkpoint("run/checkpoint.pt")
    content.pop("format", None)
    other = {**content, "settings": {**content["settings"], "precision": "'bf16'"}}
    save_checkpoint("run/checkpoint.pt", other)
    assert "precision" in fails("train", "--resume", "run", "--epochs", "3", "--no-progress")
    assert Path("run/config.json").read_bytes() == before
    save_checkpoint("run/checkpoint.pt", content)
    assert main(["train", "--resume", "run", "--epochs", "3", "--no-progress"]) == 0
    assert (config()["epochs"], config()["table"]["epochs"]) == (3, "3")


def test_the_doctor_names_causes_with_numbers(fails: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", npz(), "--recipe", "mono", *QUICK[:2], *QUICK[4:], "--epochs", "4", "--set", "lr=1e-8"]
    assert main([*words, "--out", "run"]) == 0
    capsys.readouterr()
    assert main(["doctor", "run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "mono on own.npz"
    assert lines[1] == "1. learning rate too low, layers 0, 1"
    assert any("1e-08" in line for line in lines)
    assert any(line.startswith("   To do: ") for line in lines)
    assert all(len(line) <= 110 for line in lines)
    assert main(["doctor", "run", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert (content["recipe"], content["epochs_done"], content["epochs"]) == ("mono", 4, 4)
    assert [finding["cause"] for finding in content["findings"]] == ["learning rate too low"]
    assert "there is no run in 'gone'" in fails("doctor", "gone")
    Path("run/history.jsonl").write_text("{}\n")
    assert "history.jsonl is not the history of a run" in fails("doctor", "run")
    Path("run/history.jsonl").write_text("")
    assert "has no completed epoch yet" in fails("doctor", "run")
