"""The command line: its output and run folders, errors on one line, prediction, killed and resumed runs."""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import random
import re
import runpy
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import forwardforward as ff
from forwardforward import __version__
from forwardforward.__main__ import main
from forwardforward._utils.files import sole_process
from forwardforward.cli import train
from forwardforward.data import load
from forwardforward.recipes import RECIPES
from forwardforward.training import load_checkpoint

pytest.importorskip("sklearn")
pytestmark = pytest.mark.usefixtures("blank_figures")  # `test_runs` and `test_plots` render them

QUICK = ["--widths", "12,12", "--epochs", "1", "--batch-size", "100", "--threads", "1", "--no-progress"]


@pytest.fixture(autouse=True)
def _in_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def fails(one_line: Callable[..., str]) -> Callable[..., str]:
    """Run a command that must fail with status 2, and return its one-line error."""
    return lambda *arguments: one_line(main, list(arguments))


def npz(path: Path, shape: tuple[int, ...] = (4, 4), classes: int = 3, count: int = 60) -> str:
    x = np.random.default_rng(0).random((count, *shape), dtype=np.float32)
    np.savez(path, x=x, y=np.arange(count) % classes)
    return str(path)


def test_train_prints_a_table_and_leaves_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *QUICK]) == 0
    out, err = capsys.readouterr()
    run = Path("runs/digits-hinton-0")
    lines = out.splitlines()
    assert [line.split()[:-2] for line in lines[1:5]] == [
        ["layer", "0"],
        ["layer", "1"],
        ["one-pass", "head"],
        ["model"],
    ]
    assert len({line.index(" %") for line in lines[1:5]}) == 1  # aligned
    assert str(run / "summary.json") in out
    assert str(run / "curves.png") in out
    assert err == ""
    assert {path.name for path in run.iterdir()} == {
        "config.json", "history.jsonl", "checkpoint.pt", "summary.json", "curves.png",
    }  # fmt: skip


def test_json_is_all_there_is_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *QUICK, "--seed", "5", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary == json.loads(Path("runs/digits-hinton-5/summary.json").read_text())
    assert (summary["seed"], summary["threads"], summary["widths"], summary["epochs"]) == (5, 1, [12, 12], 1)
    assert main(["evaluate", "runs/digits-hinton-5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["test_error"] == summary["test_error"]


def test_options(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--recipe", "mono", "--precision", "bf16", "--device", "cpu", "--validation", "--json"]
    assert main(["train", "digits", *options, *QUICK]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["recipe"], summary["precision"]) == ("mono", "bf16")
    assert (summary["measured_on"], summary["test_error"]) == ("validation", None)
    assert summary["trained_on"] == "training split"
    record = json.loads(Path("runs/digits-mono-0/history.jsonl").read_text())
    assert record["validation"]["error"] == summary["validation_error"] is not None
    assert record["validation"]["layer_errors"] == summary["layer_errors"]
    assert main(["train", "digits", *options[:-1], *QUICK]) == 0
    assert "mono on digits, trained with --validation: validation error" in capsys.readouterr().out
    assert main(["evaluate", "runs/digits-mono-0"]) == 0
    assert "mono on digits, trained with --validation: test error" in capsys.readouterr().out


def test_places_are_not_in_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *QUICK, "--out", "elsewhere", "--data-dir=there", "--json"]) == 0
    command = json.loads(capsys.readouterr().out)["command"]
    assert command == " ".join(["python -m forwardforward train", *QUICK, "--json"])


def test_the_default_folder_is_numbered_and_a_given_one_is_not(fails: Callable[..., str]) -> None:
    for _ in range(2):
        assert main(["train", *QUICK]) == 0
    assert {path.name for path in Path("runs").iterdir()} == {"digits-hinton-0", "digits-hinton-0-2"}
    before = Path("runs/digits-hinton-0/summary.json").read_bytes()
    line = fails("train", *QUICK, "--out", "runs/digits-hinton-0")
    assert "--out" in line
    assert "--resume runs/digits-hinton-0" in line
    assert Path("runs/digits-hinton-0/summary.json").read_bytes() == before


def test_an_npz_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", npz(tmp_path / "own.npz"), *QUICK]) == 0
    assert "hinton on own.npz" in capsys.readouterr().out
    assert main(["evaluate", "runs/own-hinton-0"]) == 0
    assert "model" in capsys.readouterr().out


def test_a_command_keeps_the_memory_of_freed_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr("forwardforward.cli.reuse_freed_memory", lambda: calls.append("reuse"))
    assert main(["recipes"]) == 0
    assert calls == ["reuse"]


def test_recipes_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(RECIPES)
    assert main(["recipes", "hinton"]) == 0
    assert "SumOfSquares()" in capsys.readouterr().out
    assert main(["recipes", "hcl-ff"]) == 0
    usual, cifar, others = re.split(r"on cifar10:\n|on digits:\n", capsys.readouterr().out)
    assert "superclasses=()" in usual
    assert cifar.startswith("  objective     ContrastiveObjective(")
    assert "superclasses=((1, 0, 1," in cifar
    assert "\n  augment       none\n" in others
    with pytest.raises(SystemExit):
        main(["--version"])
    assert __version__ in capsys.readouterr().out


def test_without_matplotlib_a_run_ends_well(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["train", *QUICK]) == 0
    assert "pip install matplotlib" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["COMMAND"]),
        (["learn"], ["learn"]),
        (["train", "cifar"], ["data", "digits, fashion-mnist, imdb, mnist", "'cifar': did you mean 'cifar10'?"]),
        (["train", "gone.npz"], ["gone.npz"]),
        (["train", "mnist", "--data-dir", "gone"], ["--data-dir", "gone", "train-images-idx3-ubyte"]),
        (["train", "--recipe", "hintom"], ["recipe", "'hintom'", "did you mean 'hinton'"]),
        (["train", "--epochs", "0"], ["--epochs", "0"]),
        (["train", "--epochs", "many"], ["--epochs", "many"]),
        (["train", "--batch-size", "-1"], ["--batch-size", "-1"]),
        (["train", "--widths", "10,x"], ["--widths", "10,x"]),
        (["train", "--widths", "10,0"], ["--widths", "10,0"]),
        (["train", "--seed", "1.5"], ["--seed", "1.5"]),
        (["train", "--seed", str(2**64)], ["--seed", str(2**64)]),
        (["train", "--threads", "0"], ["--threads", "0"]),
        (["train", "--precision", "fp8"], ["--precision", "fp8"]),
        (["train", "--device", "abacus"], ["--device", "abacus"]),
        (["train", "--colour"], ["--colour"]),
        (["train", "--resume", "gone"], ["gone", "config.json"]),
        (["evaluate"], ["RUN"]),
        (["evaluate", "gone"], ["gone", "config.json"]),
        (["predict", "gone"], ["INPUT"]),
        (["predict", "gone", "image.png"], ["gone", "config.json"]),
        (["recipes", "hintom"], ["recipe", "'hintom'", "did you mean 'hinton'"]),
    ],
)
def test_an_error_is_one_line_and_no_run_is_left(
    fails: Callable[..., str], tmp_path: Path, arguments: list[str], words: list[str]
) -> None:
    if arguments[1:2] == ["mnist"]:
        pytest.importorskip("torchvision")
    line = fails(*arguments)
    assert all(word in line for word in words), line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("shape", "classes", "recipe", "words"),
    [
        ((2,), 3, "hff", "(channels, height, width)"),  # no maps to convolve
        ((2,), 3, "deeperforward", "data own.npz do not fit recipe deeperforward: input_shape must be (channels,"),
        ((2,), 3, "hcl-ff", "(channels, height, width)"),
        ((2,), 3, "trifecta-s", "(channels, height, width) for label channels, got (2,)"),
        ((15,), 3, "unsupervised", "HybridMask"),  # no rows and columns to mask
        ((3, 3), 3, "mono-conv-wide", "data own.npz do not fit recipe mono-conv-wide: input_shape must be large"),
    ],
)
def test_data_that_do_not_fit_leave_no_run(
    fails: Callable[..., str], tmp_path: Path, shape: tuple[int, ...], classes: int, recipe: str, words: str
) -> None:
    assert words in fails(
        "train", npz(tmp_path / "own.npz", shape, classes), "--recipe", recipe, *QUICK, "--out", "run"
    )
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("classes", "recipe", "widths", "words"),
    [
        (10, "cwcomp", "20,20", "windows must be one per layer, got 4 for 2 layers"),
        (10, "deeperforward", "10,10", "widths must double"),
        (3, "scff", "8,8,8,8", "theta_positive must contain one value per layer"),
        (3, "class-groups", "9,10", "got 3 classes for 10 features"),
        (3, "cwcomp", None, "multiples of the 3 classes"),
        (3, "deeperforward", None, "got 3 classes for 100 features"),
    ],
)
def test_widths_that_do_not_fit_name_the_option_and_leave_no_run(
    fails: Callable[..., str], tmp_path: Path, classes: int, recipe: str, widths: str | None, words: str
) -> None:
    given = ["--widths", widths] if widths else []
    line = fails("train", npz(tmp_path / "own.npz", (8, 8), classes), "--recipe", recipe, *given, "--no-progress")
    shown = widths or ",".join(map(str, RECIPES[recipe].widths)) + " (the default)"
    assert f"--widths {shown} do not fit recipe {recipe} on data with {classes} classes: " in line
    assert words in line
    assert not Path("runs").exists()


@pytest.mark.parametrize("shape", [(15,), (8, 8)])
def test_images_of_ones_own_are_not_augmented(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...]
) -> None:
    def augmented(*_: Any) -> None:
        raise AssertionError("augmented")

    monkeypatch.setattr("forwardforward.data.augmentation.Augmentation.__call__", augmented)
    assert main(["train", npz(tmp_path / "own.npz", shape), "--recipe", "trifecta-fcn", *QUICK]) == 0


def test_resume_trains_longer(fails: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *QUICK, "--out", "run"]) == 0
    capsys.readouterr()
    assert main(["train", "--resume", "run", "--epochs", "3", "--json", "--no-progress"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["epochs"] == 3
    assert summary["command"].endswith(" && python -m forwardforward train --resume RUN --epochs 3")
    assert _epochs_logged("run") == 3
    config = json.loads(Path("run/config.json").read_text())
    assert (config["epochs"], config["table"]["epochs"]) == (3, "3")
    assert main(["train", "--resume", "run", "--no-progress"]) == 0  # nothing is left to do
    line = fails("train", "--resume", "run", "--epochs", "2")
    assert "--epochs 2 is less than the 3 epochs that the run in run has begun" in line
    assert json.loads(Path("run/config.json").read_text()) == config


def test_options_are_written_out(fails: Callable[..., str]) -> None:
    assert "unrecognized arguments: --data: did you mean '--data-dir'?" in fails("train", "--data", "mnist", *QUICK)
    assert "unrecognized arguments: --wid" in fails("train", "--wid", "12")


@pytest.mark.parametrize(
    ("arguments", "name"),
    [(["train", ""], "data"), (["train", "--out", ""], "--out"), (["train", "--recipe", ""], "--recipe"),
     (["evaluate", "run", "--data-dir", ""], "--data-dir")],
)  # fmt: skip
def test_an_empty_word_is_not_the_default(arguments: list[str], name: str, fails: Callable[..., str]) -> None:
    assert f"argument {name}: must not be empty, got ''" in fails(*arguments)
    assert not Path("runs").exists()


def test_a_moved_file_of_arrays_is_found_in_a_folder(
    fails: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", npz(tmp_path / "own.npz"), *QUICK, "--out", "run", "--json"]) == 0
    error = json.loads(capsys.readouterr().out)["test_error"]
    Path("folder").mkdir()
    Path("own.npz").rename("folder/own.npz")
    assert "own.npz does not exist" in fails("evaluate", "run")
    assert main(["evaluate", "run", "--data-dir", "folder", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["test_error"] == error
    line = fails("train", "folder/own.npz", *QUICK, "--data-dir", "folder")
    assert "--data-dir must be left out for an .npz file, got folder" in line


def test_schedules_run_over_the_new_number_of_epochs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *QUICK, "--out", "run"]) == 0
    assert main(["train", "--resume", "run", "--epochs", "4", "--no-progress"]) == 0
    records = [json.loads(line) for line in Path("run/history.jsonl").read_text().splitlines()]
    rates = [record["layers"][0]["learning_rate"] for record in records]
    assert rates[0] == rates[1] > rates[2] > rates[3]  # Cooldown(0.5) over 4 epochs, the first of them over 1


def test_evaluate_reports_an_unfinished_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["train", *QUICK, "--out", "run"]) == 0
    config = json.loads(Path("run/config.json").read_text())
    capsys.readouterr()
    assert main(["evaluate", "run", "--json"]) == 0
    out, err = capsys.readouterr()
    assert (json.loads(out)["finished"], json.loads(out)["epochs_done"], err) == (True, 1, "")
    Path("run/config.json").write_text(json.dumps({**config, "epochs": 5}))  # as a killed run leaves it
    assert main(["evaluate", "run", "--json"]) == 0
    out, err = capsys.readouterr()
    assert (json.loads(out)["finished"], json.loads(out)["epochs_done"], json.loads(out)["epochs"]) == (False, 1, 5)
    assert err == "unfinished: 1 of 5 epochs\n"


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on digits, to be read only."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    assert main(["train", *QUICK, "--epochs", "5", "--widths", "30,30", "--out", str(folder)]) == 0
    return folder


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_predict_arrays(digits_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = load("digits").test.inputs
    expected = ff.load(digits_run).predict(images)
    np.save("images.npy", images.double().numpy())
    np.save("single.npy", images[0].numpy())
    np.savez("x.npz", x=images.squeeze(1).numpy())  # grey images without the dimension of the channels
    np.savez("x_test.npz", x_test=images.numpy(), y_test=np.zeros(len(images)))
    np.save("bytes.npy", (images * 255).round().to(torch.uint8).numpy())
    for name in ("images.npy", "x.npz", "x_test.npz", "bytes.npy"):
        assert main(["predict", str(digits_run), name, "--batch-size", "100"]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        rows = table(out)
        assert list(rows[0]) == ["input", "label", "probability", *map(str, range(10))]
        assert [row["input"] for row in rows[:2]] == [f"{name}[0]", f"{name}[1]"]
        same = sum(int(row["label"]) == label for row, label in zip(rows, expected.tolist(), strict=True))
        assert same >= len(rows) * (0.99 if name == "bytes.npy" else 1)
        for row in rows[:20]:
            probabilities = [float(row[str(label)]) for label in range(10)]
            assert sum(probabilities) == pytest.approx(1, abs=1e-4)
            assert float(row["probability"]) == max(probabilities) == probabilities[int(row["label"])]
    assert main(["predict", str(digits_run), "single.npy", "x.npz", "--out", "labels.csv"]) == 0
    assert capsys.readouterr().out == ""
    rows = table(Path("labels.csv").read_text())
    assert [row["input"] for row in rows[:2]] == ["single.npy[0]", "x.npz[0]"]
    assert len(rows) == 1 + len(images)
    assert not list(tmp_path.glob("*.part"))


def test_predict_images(
    digits_run: Path, fails: Callable[..., str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = pytest.importorskip("PIL.Image")
    inputs = load("digits").test.inputs[:12]
    pixels = (inputs * 255).round().to(torch.uint8)
    expected = ff.load(digits_run).predict(pixels).tolist()
    Path("images/b").mkdir(parents=True)
    Path("images/.hidden").mkdir()
    Path("images/notes.txt").write_text("not an image")
    for index, array in enumerate(pixels.squeeze(1).numpy()):
        grey = image.fromarray(array)
        folder = "images/b" if index % 2 else "images"
        if index % 3 == 0:
            grey = image.fromarray(array.astype(np.uint16) * 257)  # 16 bits per pixel
        elif index % 3 == 1:
            grey = grey.convert("RGB")
        grey.save(f"{folder}/{index:02d}.png")
    image.fromarray(array).save("images/.hidden/0.png")
    image.fromarray(array).save("images/.0.png")
    assert main(["predict", str(digits_run), "images", "--batch-size", "5"]) == 0
    rows = table(capsys.readouterr().out)
    order = [*range(0, 12, 2), *range(1, 12, 2)]
    assert [Path(row["input"]).stem for row in rows] == [f"{index:02d}" for index in order]
    assert [int(row["label"]) for row in rows] == [expected[index] for index in order]
    assert main(["predict", str(digits_run), "images/00.png", "images/b/01.png"]) == 0
    assert [int(row["label"]) for row in table(capsys.readouterr().out)] == expected[:2]

    image.new("L", (20, 10)).save("wide.png")
    line = fails("predict", str(digits_run), "images", "wide.png")
    assert "wide.png has 20 x 10 pixels, the model's images have 8 x 8; --resize resizes it" in line
    assert main(["predict", str(digits_run), "wide.png", "--resize"]) == 0
    assert len(table(capsys.readouterr().out)) == 1
    image.fromarray(np.random.default_rng(0).integers(256, size=(8, 8), dtype=np.uint8)).save("noise.png")
    Path("broken.png").write_bytes(Path("noise.png").read_bytes()[:80])
    line = fails("predict", str(digits_run), "broken.png", "--out", "labels.csv")
    assert "broken.png is not an image that Pillow can read" in line
    assert not Path("labels.csv").exists()
    assert "images/notes.txt is not an image" in fails("predict", str(digits_run), "images/notes.txt")
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert "pip install pillow" in fails("predict", str(digits_run), "wide.png")


def test_predict_refuses_what_does_not_fit(digits_run: Path, fails: Callable[..., str], tmp_path: Path) -> None:
    run = str(digits_run)
    (tmp_path / "empty").mkdir()
    np.save("small.npy", np.zeros((3, 1, 4, 4)))
    np.save("nan.npy", np.full((3, 8, 8), np.nan))
    np.save("text.npy", np.array(["a"]))
    np.save("objects.npy", np.array([{}], dtype=object))
    np.savez("other.npz", z=np.zeros(3))
    Path("damaged.npz").write_bytes(Path("other.npz").read_bytes()[:40])
    for word, message in {
        "gone.png": "there is no file 'gone.png'",
        "gone.npz": "there is no file 'gone.npz'",
        "empty": "the folder empty contains no images",
        "small.npy": "small.npy must have shape (samples, 1, 8, 8), got (3, 1, 4, 4)",
        "nan.npy": "nan.npy must be finite",
        "text.npy": "text.npy must have shape",
        "objects.npy": "objects.npy must be an array of numbers or strings, got Python objects",
        "other.npz": "other.npz must contain the arrays x, or x_test, got z",
        "damaged.npz": "damaged.npz must be an array in numpy's format",
    }.items():
        assert message in fails("predict", run, word)
    np.save("good.npy", np.zeros((3, 1, 8, 8)))


def test_class_names_are_the_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = np.random.default_rng(0).random((60, 6), dtype=np.float32)
    np.savez("pets.npz", x=x, y=np.array(["cat", "dog", "a bird"] * 20))
    assert main(["train", "pets.npz", *QUICK, "--recipe", "mono", "--out", "run"]) == 0
    assert ff.load("run").class_names == ("a bird", "cat", "dog")
    capsys.readouterr()
    assert main(["predict", "run", "pets.npz"]) == 0
    rows = table(capsys.readouterr().out)
    assert list(rows[0]) == ["input", "label", "probability", "a bird", "cat", "dog"]
    assert all(float(row["probability"]) == float(row[row["label"]]) for row in rows)


def test_predict_rows_of_numbers(tmp_path: Path, fails: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", npz(tmp_path / "own.npz", (6,), 3), *QUICK, "--recipe", "mono", "--out", "run"]) == 0
    capsys.readouterr()
    assert main(["predict", "run", "own.npz"]) == 0
    assert list(table(capsys.readouterr().out)[0]) == ["input", "label", "probability", "0", "1", "2"]
    if image := pytest.importorskip("PIL.Image"):
        image.new("L", (6, 6)).save("image.png")
    assert "the model's inputs have shape (6,)" in fails("predict", "run", "image.png")


def test_too_little_memory_and_errors_of_the_library(
    fails: Callable[..., str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = fails("train", "--recipe", "mono", "--widths", "2000000000,2000000000", "--no-progress")
    assert "--widths 2000000000,2000000000 do not fit" in line
    assert "must lead to tensors that fit into the" in line
    assert not Path("runs").exists()

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr("forwardforward.recipes.recipe.fit", broken)
    assert main(["train", *QUICK]) == 70
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert "internal error, please report it with the traceback that FORWARDFORWARD_TRACEBACK=1 shows" in line
    assert "RuntimeError: a mistake of ours" in line
    monkeypatch.setenv("FORWARDFORWARD_TRACEBACK", "1")
    with pytest.raises(RuntimeError, match="a mistake of ours"):
        main(["train", *QUICK])


def test_files_that_are_no_data(fails: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("not one")
    assert "text.npz" in fails("train", "text.npz")
    np.savez("other.npz", z=np.zeros(3))
    assert "other.npz" in fails("train", "other.npz")
    np.savez("nan.npz", x=np.full((60, 4, 4), np.nan, dtype=np.float32), y=np.arange(60) % 3)
    assert "finite" in fails("train", "nan.npz")
    np.savez("float.npz", x=np.zeros((60, 4, 4), dtype=np.float32), y=np.zeros(60))
    assert "integer" in fails("train", "float.npz")


def test_resume_refuses_contradicting_options_and_accepts_equal_ones(
    fails: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *QUICK, "--out", "run"]) == 0
    capsys.readouterr()
    contradictions = {
        "--batch-size": "7", "--widths": "9", "--seed": "1", "--recipe": "mono", "--precision": "bf16",
        "--out": "other", "--threads": "7", "--validation": None, "--compile": None,
        "--cuda-graph": None,
        "--vectors": "some.txt", "--teacher": "other", "--data-dir": "other", "--set": "lr=0.5",
    }  # fmt: skip
    for option, value in contradictions.items():
        line = fails("train", "--resume", "run", option, *([value] if value else []))
        assert f"{option} " in line
        assert "contradicts" in line
    assert "which has none: leave it out" in fails("train", "--resume", "run", "--teacher", "other")
    commands = argparse.ArgumentParser().add_subparsers()
    train.add_command(commands)
    others = {"--epochs", "--device", "--checkpoint-minutes", "--parallel", "--shard"}  # differ between resumptions
    others |= {"-h", "--help", "--config", "--resume", "--json", "--no-progress"}
    assert set(commands.choices["train"]._option_string_actions) == others | contradictions.keys()
    assert "data mnist contradicts" in fails("train", "mnist", "--resume", "run")
    assert main(["train", "digits", "--resume", "run", "--out", "run", *QUICK]) == 0


def test_damaged_runs(fails: Callable[..., str]) -> None:
    assert main(["train", *QUICK, "--out", "run"]) == 0
    checkpoint = Path("run/checkpoint.pt")
    checkpoint.write_bytes(checkpoint.read_bytes()[:500])
    for command in (["evaluate", "run"], ["train", "--resume", "run"]):
        assert "checkpoint.pt" in fails(*command)
    checkpoint.unlink()
    assert "checkpoint.pt" in fails("evaluate", "run")
    Path("run/config.json").write_text("{")
    assert "config.json" in fails("train", "--resume", "run")


def test_a_full_disk(fails: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    replace = os.replace

    def full(source: str | Path, target: str | Path) -> None:
        if Path(target).name == "checkpoint.pt":
            raise OSError(28, "No space left on device")
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", full)
        line = fails("train", *QUICK, "--out", "run")
    assert "No space left on device" in line
    assert "train --resume run" in line
    assert main(["train", "--resume", "run", "--no-progress"]) == 0


def test_an_interruption_names_the_command_that_resumes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("forwardforward.recipes.recipe.fit", interrupted)
    assert main(["train", *QUICK, "--out", "run"]) == 130
    assert capsys.readouterr().err == "forwardforward: interrupted; resume with: forwardforward train --resume run\n"
    monkeypatch.undo()


def test_the_module_ends_with_the_status_of_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = str(Path(ff.__file__).with_name("__main__.py"))
    monkeypatch.setattr(sys, "argv", [program, "evaluate", "gone"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(program, run_name="__main__")
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("forwardforward: there is no run")


SLOWER = ["own.npz", "--recipe", "hinton", "--widths", "40,40", "--epochs", "6", "--batch-size", "10", "--threads", "1"]


def _killed(folder: str, ready: Callable[[], bool], delay: float) -> None:
    """Train in a process of its own, and kill it some time after it is ready."""
    command = [sys.executable, "-m", "forwardforward", "train", *SLOWER, "--no-progress", "--out", folder]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while not ready() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)


def _epochs_logged(folder: str) -> int:
    log = Path(folder, "history.jsonl")
    return log.read_text().count("\n") if log.exists() else 0


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
@pytest.mark.parametrize(
    "epochs",
    [
        pytest.param(None, marks=pytest.mark.slow, id="before the first epoch"),
        pytest.param(1, id="after the first"),
        pytest.param(3, marks=pytest.mark.slow, id="later"),
    ],
)
def test_killed_and_resumed_ends_with_the_same_weights(epochs: int | None, tmp_path: Path) -> None:
    npz(tmp_path / "own.npz", (8, 8), 10, 400)
    assert main(["train", *SLOWER, "--no-progress", "--out", "whole"]) == 0
    whole = load_checkpoint("whole/checkpoint.pt")

    def ready() -> bool:
        return Path("run/config.json").exists() if epochs is None else _epochs_logged("run") >= epochs

    _killed("run", ready, random.Random(epochs).uniform(0, 0.05))
    assert not Path("run/summary.json").exists(), "the run was over before it was killed"
    assert main(["train", "--resume", "run", "--no-progress"]) == 0
    resumed = load_checkpoint("run/checkpoint.pt")
    assert resumed["model"].keys() == whole["model"].keys()
    assert all(torch.equal(value, whole["model"][key]) for key, value in resumed["model"].items())
    summary, expected = (json.loads(Path(run, "summary.json").read_text()) for run in ("run", "whole"))
    same = ("test_error", "layer_errors", "head_error", "epochs", "widths", "seed")
    assert [summary[key] for key in same] == [expected[key] for key in same]
    assert _epochs_logged("run") == _epochs_logged("whole") == 6


def test_a_run_means_the_same_from_every_folder(
    fails: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    npz(tmp_path / "own.npz", (6,), 3)
    monkeypatch.chdir(tmp_path)
    assert main(["train", "own.npz", "--recipe", "mono", *QUICK, "--out", "run"]) == 0
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    assert main(["evaluate", "../run"]) == 0
    assert main(["train", "--resume", "../run", "--no-progress"]) == 0
    assert main(["train", "../own.npz", "--resume", "../run", "--no-progress"]) == 0


def test_a_run_of_another_device_is_resumed_here(tmp_path: Path, fails: Callable[..., str]) -> None:
    folder = tmp_path / "run"
    assert main(["train", "digits", "--recipe", "mono", *QUICK, "--out", str(folder)]) == 0
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "device": "nowhere"}))
    assert "nowhere" in fails("train", "--resume", str(folder))
    assert main(["train", "--resume", str(folder), "--device", "cpu", "--no-progress"]) == 0


def test_a_finished_run_is_measured_though_its_recipe_has_changed(tmp_path: Path, fails: Callable[..., str]) -> None:
    folder = tmp_path / "run"
    assert main(["train", "digits", "--recipe", "mono", *QUICK, "--out", str(folder)]) == 0
    config = json.loads((folder / "config.json").read_text())
    config["table"]["lr"] = "0.5"
    (folder / "config.json").write_text(json.dumps(config))
    assert main(["evaluate", str(folder)]) == 0
    assert "recipe mono has changed since the run began: lr" in fails("train", "--resume", str(folder))


@pytest.mark.slow
def test_a_reader_of_the_module_that_has_seen_enough_is_no_error() -> None:
    found = subprocess.run(
        f"{sys.executable} -m forwardforward recipes | head -1", shell=True, capture_output=True, text=True, check=False
    )
    assert found.stdout.count("\n") == 1
    assert found.stderr == ""


FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run on an `.npz` file, which commands only read."""
    folder = tmp_path_factory.mktemp("trained")
    assert main(["train", npz(folder / "own.npz", (6,)), "--recipe", "mono", *QUICK, "--out", str(folder / "run")]) == 0
    return str(folder / "run")


@FULL
@pytest.mark.parametrize("name", ["train", "train --json", "evaluate", "evaluate --json", "predict", "recipes"])
def test_a_full_disk_behind_standard_output_is_one_line(
    name: str, trained: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command, *options = name.split()
    words = {
        "train": ["train", *QUICK, "--out", "new"],
        "evaluate": ["evaluate", trained],
        "predict": ["predict", trained, str(Path(trained).with_name("own.npz"))],
        "recipes": ["recipes"],
    }[command]
    with open("/dev/full", "w") as full:
        monkeypatch.setattr("sys.stdout", full)
        assert main([*words, *options]) == 2
    *notes, error = capsys.readouterr().err.splitlines()
    assert error == "forwardforward: standard output cannot be written to: [Errno 28] No space left on device"
    assert all("curves" in note for note in notes)
    if command == "train":
        assert {"summary.json", "curves.png"} <= {path.name for path in Path("new").iterdir()}


@FULL
def test_a_full_disk_behind_standard_error_changes_nothing(
    trained: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr("sys.stderr", full)
        assert main(["train", *QUICK[:-1], "--out", "new"]) == 0  # with a progress bar
        assert main(["evaluate", trained]) == 0
        assert main(["evaluate", "nowhere"]) == 2
    assert "summary: new/summary.json" in capsys.readouterr().out


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")
@pytest.mark.slow
@pytest.mark.parametrize("closed", [">&- 2>&- <&-", "2>&1 | true"])
def test_closed_standard_streams_end_cleanly(closed: str, trained: str) -> None:
    data = Path(trained).with_name("own.npz")
    command = f"{sys.executable} -m forwardforward train {data} {' '.join(QUICK[:-1])} --out run {closed}"
    subprocess.run(["/bin/bash", "-c", command], check=True)
    assert main(["evaluate", "run"]) == 0
    assert Path("run/summary.json").exists()


def test_file_names_that_are_not_utf8(tmp_path: Path, trained: str, capsys: pytest.CaptureFixture[str]) -> None:
    name = os.fsdecode(b"b\xff.npz")
    try:
        shutil.copy(Path(trained).with_name("own.npz"), tmp_path / name)
    except OSError:
        pytest.skip("the file system accepts UTF-8 only")
    assert main(["predict", trained, str(tmp_path / name), "--out", "out.csv"]) == 0
    assert "b\\udcff.npz[0]" in Path("out.csv").read_text(encoding="utf-8")


def test_predictions_replace_regular_files_only(trained: str, fails: Callable[..., str]) -> None:
    Path("folder").mkdir()
    Path("target").write_text("mine")
    Path("link").symlink_to("target")
    for name in ("folder", "link", os.devnull):
        assert "--out must be the name of a new or a regular file" in fails(
            "predict", trained, str(Path(trained).with_name("own.npz")), "--out", name
        )
    shutil.copy(Path(trained).with_name("own.npz"), "inputs.npz")
    before = Path("inputs.npz").read_bytes()
    assert "--out must not be an input, got inputs.npz" in fails(
        "predict", trained, "inputs.npz", "--out", "inputs.npz"
    )
    Path("images").mkdir()
    Path("images/a.png").write_text("an image")
    for folder in ("images", str(Path("images").absolute()), "folder/../images"):
        assert "--out must not be an input" in fails("predict", trained, folder, "--out", "images/a.png")
    Path("images/labels.csv").write_text("an earlier table")
    assert "--out" not in fails("predict", trained, "images", "--out", "images/labels.csv")
    assert Path("inputs.npz").read_bytes() == before
    assert Path("target").read_text() == "mine"


def test_predictions_that_cannot_be_written_are_refused_before_the_model_is_read(
    trained: str, fails: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("forwardforward.runs.Run.load", lambda *_: pytest.fail("the model was read"))
    Path("target").write_text("mine")
    for name, reason in {
        "no/such/labels.csv": "No such file or directory",
        "target/labels.csv": "Not a directory",
        "n" * 250: "File name too long",  # with that of the temporary file
    }.items():
        line = fails("predict", trained, str(Path(trained).with_name("own.npz")), "--out", name)
        expected = f"--out must be a file in a folder that can be written to, got {name}: {reason}"
        assert line == f"forwardforward: {expected}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_a_folder_that_cannot_be_made_is_refused_before_the_data_are_read(
    fails: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forwardforward.runs.Run.splits", lambda *_, **__: pytest.fail("the data were read"))
    Path("file").write_text("mine")
    for name in ("file/run", "file/a/run"):
        line = fails("train", "--out", name)
        assert f"--out {name} cannot be a run folder: file is not a folder; choose another --out" in line
    Path("closed").mkdir()
    monkeypatch.setattr(os, "access", lambda path, _: Path(path).name != "closed")
    line = fails("train", "--out", "closed/a/run")
    assert "--out closed/a/run cannot be a run folder: closed cannot be written to; choose another --out" in line
    line = fails("train", "--out", "n" * 300)
    assert "--out: folder must be a path of names of at most 255 characters" in line
    line = fails("train", "--out", "/".join(["n" * 250] * 20))
    assert line.endswith("cannot be a run folder: File name too long; choose another --out\n")


def test_a_saved_model_predicts_as_its_run(
    digits_run: Path, fails: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("safetensors")
    ff.load(digits_run).save_pretrained("saved")
    images = load("digits").test.inputs[:20]
    np.savez("x.npz", x=images.numpy())
    np.save("x.npy", images.numpy())
    outputs = []
    for folder in (str(digits_run), "saved"):
        assert main(["predict", folder, "x.npz", "x.npy", "--device", "cpu"]) == 0
        outputs.append(capsys.readouterr())
        assert outputs[-1].err == ""
    assert outputs[0] == outputs[1]
    assert list(table(outputs[1].out)[0])[3:] == list(map(str, range(10)))
    for name in ("model.safetensors", "config.json"):
        line = fails("predict", "saved", "x.npy", "--out", f"saved/{name}")
        assert f"--out must not be a file of a run or a saved model, got saved/{name}" in line
    for words in (["evaluate", "saved"], ["ensemble", "saved", str(digits_run)], ["doctor", "saved"],
                  ["train", "--resume", "saved"]):  # fmt: skip
        line = fails(*words)
        assert "there is no run in 'saved': it contains a saved model, which ff.load and forwardforward" in line
    assert "--out saved already contains a saved model; choose another" in fails("train", "--out", "saved")


def test_a_saved_network_of_words_needs_its_run(fails: Callable[..., str]) -> None:
    pytest.importorskip("safetensors")
    model = ff.FFSequential(
        ff.layers.FFEmbeddingBag(20, 6), ff.FFLinear(6, 6), goodness=ff.goodness.LearnedProjection(2),
        loss=ff.losses.CrossEntropy(), input_shape=(5,),
    )  # fmt: skip
    model.save_pretrained("saved")
    line = fails("predict", "saved", "A wonderful film.")
    assert "RUN must be a run folder for a network of texts, whose text encoder is part of the run, got the" in line


def test_recipes_and_data_that_do_not_fit_are_refused_before_the_data_are_read(
    fails: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forwardforward.runs.Run.splits", lambda *_, **__: pytest.fail("the data were read"))
    line = fails("train", "imdb", "--recipe", "mono")
    assert "--recipe must be a recipe for texts for imdb, one of imdb-symba," in line
    assert "--recipe imdb-bag needs a data set of texts, imdb, got mnist" in fails(
        "train", "mnist", "--recipe", "imdb-bag"
    )
    assert "did you mean 'hinton'?" in fails("train", "--recipe", "hintn")
    assert "did you mean 'mnist'?" in fails("train", "MNIST")


def test_a_second_trainer_is_refused_by_name(fails: Callable[..., str]) -> None:
    assert main(["train", *QUICK, "--out", "run"]) == 0
    with sole_process(Path("run/.lock"), "training in run"):
        line = fails("train", "--resume", "run", "--epochs", "2")
        assert main(["evaluate", "run"]) == 0
    assert f"process {os.getpid()} on " in line
    assert "is training in run" in line
