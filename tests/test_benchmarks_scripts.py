"""The scripts that time things: what they print and write, and their one-line errors."""

from __future__ import annotations

import importlib
import json
import platform
import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("benchmarks.classification")


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def script(name: str) -> Any:
    return importlib.import_module(f"benchmarks.{name}")


def test_a_commands_folders_are_replaced_by_words_that_suit_every_machine() -> None:
    words = ["--run", "/here/run", "--data-dir=/here", "--out", "OUT", "--data-dir", "/there/my data"]
    shown = script("command_line").shell_command("benchmarks.script", words)
    assert shown == "python -m benchmarks.script --run RUN --data-dir=DIR --out OUT --data-dir DIR"


def test_classification(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    classification, out = script("classification"), tmp_path / "found.json"
    words = ["--dense", "none", "--rounds", "1", "--threads", "1", "--out", str(out)]
    classification.main(["--images", "3", *words])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all("  3 images with 10 labels: " in line for line in lines)
    content = json.loads(out.read_text(encoding="utf-8"))
    assert content["command"] == shlex.join(["python", "-m", "benchmarks.classification", "--images", "3", *words])
    assert list(content["networks"]) == list(classification.NETWORKS)
    assert {row["images"] for row in content["networks"].values()} == {3}
    assert [usual for _, _, usual in classification.NETWORKS.values()] == [20, 20]


def test_the_curve_of_candidate_lists() -> None:
    classification = script("classification")
    goodness, labels = torch.rand(40, 2, 10), torch.arange(40) % 10
    points = classification.curve(goodness, labels, (500, 500))
    assert len(points) == len(classification.LENGTHS) * (1 + len(classification.SHARES))
    for point in points:
        scores = classification.candidates_of(point)(goodness)
        assert point["validation_accuracy"] == pytest.approx(100 * (scores.argmax(1) == labels).double().mean())
        rows = sum(count for count in (scores > float("-inf")).sum(1).tolist() if count > 1)
        assert point["labels_per_image"] == pytest.approx(rows / 40)
        assert point["cost"] == pytest.approx((784 * 500 + rows / 40 * 500 * 500) / (784 * 500 + 500 * 500))
    full = [{"margin": None, "validation_accuracy": a, "cost": c} for a, c in ((97, 1.0), (98, 2.0), (99, 3.0))]
    assert classification.chosen([*full, {**full[0], "margin": 1.0}], 98, exits=False) == full[1]
    assert classification.chosen([*full, {**full[0], "margin": 1.0}], 98, exits=True)["margin"] == 1.0


def test_the_tables_of_classification() -> None:
    classification = script("classification")
    figures = {"milliseconds": 4.0, "ratio": 1.5, "ratio_quartiles": [1.25, 1.75]}
    point = {"cost": 1.234, "validation_accuracy": 98.1}
    network = {
        "bf16": {"forward pass": figures, "class objective": figures},
        "lists": {"candidates": "Candidates(k=4)"},
        "mnist": {
            "validation_accuracy": 98.2,
            "test_accuracy": {"all labels": 98.0, "candidates": 97.9},
            "chosen": {"candidates": point},
        },
    }
    machine = {"device": "cpu", "cpu": "A CPU", "threads": 1, "bf16_units": [], "torch": "2.0"}
    content = {"machine": machine, "command": "python", "dense": {"784-5": network}}
    durations, curves = classification.render_durations(content), classification.render_curves(content)
    assert durations.splitlines()[0] == "A CPU, 1 thread, no units for bfloat16, torch 2.0; `python`"
    assert durations.splitlines()[-1] == "| 784-5 | bf16 | 4.0 |  |  |  |  | 1.50 (1.25–1.75) |"
    assert curves.splitlines()[-2:] == [
        "| 784-5 | all labels |  | 98.20 | 98.00 |",
        "| 784-5 | candidates, `Candidates(k=4)` | 1.23 | 98.10 | 97.90 |",
    ]
    del network["mnist"]
    assert classification.render_curves(content) == "Not measured yet."
    assert classification.render_fflib(content) == "Not measured yet."
    faster = {"milliseconds": 2.0, "ratio": 0.125, "ratio_quartiles": [0.1, 0.25]}
    compared = {"fflib": {**figures, "milliseconds": 16.0}, "all labels": figures, "early exit": faster}
    content["dense"] = {classification.BESIDE_FFLIB: {"images": 50, "fflib": {"bf16": compared}}}
    assert classification.render_fflib(content).splitlines()[-1] == (
        "| bf16 | 50 | 16 | 0.67 (0.57–0.80) |  | 8.00 (4.00–10.00) |"
    )


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_allocation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    allocation, out = script("allocation"), tmp_path / "found.json"
    allocation.main(
        ["--stacks", "12-6@4", "--objectives", "class", "--rounds", "1", "--steps", "1", "--threads", "1",
         "--precisions", "float32", "--out", str(out)]
    )  # fmt: skip
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith("12-6@4, class | float32 | ")
    content = json.loads(out.read_text(encoding="utf-8"))
    [row] = content["rows"]
    assert row["ratio"] == row["reuse"]["milliseconds"] / row["default"]["milliseconds"]
    assert row["reuse"]["mebibytes"] > 0
    assert line in allocation.render(content)


def test_the_arithmetic_is_that_of_classification() -> None:
    classification = script("classification")
    torch.manual_seed(0)
    model, images = classification.trifecta(), torch.rand(5, 3, 32, 32)
    rows: list[int] = []
    model.chunk_size = 2 * model.chunk_size // classification.rows_per_chunk(model, images)
    model[0].block.register_forward_hook(lambda block, inputs, output: rows.append(len(output)))
    classification.passes(model, images)()
    assert rows == [2, 2, 1]


def test_imports(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    imports, out = script("imports"), tmp_path / "found.json"
    monkeypatch.setattr(imports, "import_in_new_process", time.sleep)
    monkeypatch.setattr(imports, "MODULES", {"torch": 0.001, "forwardforward": 0.004})
    monkeypatch.setattr(imports, "slowest_modules", dict)
    imports.main(["--rounds", "3", "--out", str(out)])
    assert "import forwardforward adds 0.00" in capsys.readouterr().out
    content = json.loads(out.read_text(encoding="utf-8"))
    assert 0.002 < content["added_seconds"][1] < 0.02


@pytest.mark.parametrize("words", [["class"], ["pair", "--validation", "--negatives", "random", "--cooldown", "0.3"]])
def test_time_to_accuracy(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    pytest.importorskip("sklearn")
    out = tmp_path / "found.json"
    small = ["--data", "digits", "--widths", "8,8", "--epochs", "2", "--seeds", "1,2", "--no-compile"]
    script("time_to_accuracy").main([*words, *small, "--device", "cpu", "--threads", "1", "--out", str(out)])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == (7 if "--validation" in words else 3)
    [(key, entry)] = json.loads(out.read_text(encoding="utf-8")).items()
    assert key.startswith(f"digits, {words[0]}, ")
    assert [run["seed"] for run in entry["runs"]] == [1, 2]
    assert entry["mean_seconds"] == pytest.approx(sum(run["seconds"] for run in entry["runs"]) / 2, abs=0.06)
    assert entry["split"] == ("validation" if "--validation" in words else "test")
    assert all(("epoch_accuracies" in run) == ("--validation" in words) for run in entry["runs"])


@pytest.mark.parametrize(
    ("name", "words", "shown"),
    [
        ("classification", ["--rounds", "0"], "--rounds: must be an integer from 1"),
        ("classification", ["--images", "none"], "--images: must be an integer from 1"),
        ("classification", ["--images", "2000000000"], "out of memory; reduce --images"),
        ("speed.__main__", ["--rounds", "0"], "--rounds: must be an integer from 1"),
        ("speed.__main__", ["--threads", "0"], "--threads: must be an integer from 1"),
        ("speed.__main__", ["--stacks", "5,x"], "--stacks: must be stacks such as 784-4x2000@512, "),
        ("speed.__main__", ["--precision", "half"], "--precision: must be of float32, bf16, got 'half'"),
        ("speed.__main__", ["--kinds", "none"], "--kinds must be beginnings of backpropagation eager; "),
        ("speed.__main__", ["--stacks", "784-2000000000@1", "--kinds", "pair"], "must lead to tensors that fit into"),
        ("memory.__main__", ["--width", "5"], "--width: must be an integer from 10"),
        ("time_to_accuracy", ["pair", "--recipe", "none"], "must be the name of a recipe"),
        ("seven_percent", ["--epochs", "0"], "--epochs: must be an integer from 1"),
        ("seven_percent", ["--data-dir", "nowhere", "--out", "none.json"], "nowhere"),
        (
            "seven_percent",
            ["--epochs", "1"],
            "seven_percent.json contains cells of other settings, {'widths': [500, 500]",
        ),
    ],
)
def test_slips_give_one_line(name: str, words: list[str], shown: str, one_line: Callable[..., str]) -> None:
    if "--data-dir" in words:
        pytest.importorskip("torchvision")
    assert shown in one_line(script(name).main, words)


def test_words_that_another_tokenizer_found(tmp_path: Path) -> None:
    for place in ("train/neg", "train/pos", "test/neg", "test/pos"):
        (tmp_path / "aclImdb" / place).mkdir(parents=True)
        (tmp_path / "aclImdb" / place / "0_1.txt").write_text("It´s a film" if place == "test/pos" else "A film")
    out = tmp_path / "tokens.json"
    script("tokens").main(["--data-dir", str(tmp_path), "--out", str(out)])
    counts = json.loads(out.read_text())
    assert [counts[name] for name in ("reviews", "different_reviews", "words")] == [4, 1, 10]
    assert [counts[name] for name in ("different_words", "words_in_their_place")] == [2, 1]


def test_replicas(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)
    replicas, out = script("replicas"), tmp_path / "found.json"
    monkeypatch.setattr(replicas, "INPUTS", 12)
    words = ["--widths", "5", "--depths", "1,2", "--seeds", "3", "--batch-size", "4", "--rounds", "1", "--threads", "1"]
    replicas.main([*words, "--samples", "8", "--epochs", "3", "--out", str(out)])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["12-1x5", "12-2x5"]
    content = json.loads(out.read_text(encoding="utf-8"))
    cells = content["cells"]
    assert [cell["depth"] for cell in cells] == [1, 2]
    assert [line.split(" ")[1] for line in replicas.render(content).splitlines()[4:]] == ["12-1x5", "12-2x5"]
    for row in cells[0]["kinds"].values():  # 2 steps per epoch
        assert row["networks_per_minute"] == pytest.approx(60_000 / (6 * row["milliseconds_per_network"]))


@pytest.mark.slow
def test_from_module(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn")
    from_module, out = script("from_module"), tmp_path / "found.json"
    words = ["--epochs", "1", "--images", "60", "--precision", "float32", "--no-progress"]
    words += ["--work", str(tmp_path), "--out", str(out)]
    from_module.main(["mixer-digits", *words])
    from_module.main(["mixer-digits,transformer-digits-backprop", *words])
    assert capsys.readouterr().out.count("% test accuracy") == 2  # the first row is not run again
    rows = json.loads(out.read_text(encoding="utf-8"))
    assert list(rows) == ["mixer-digits", "transformer-digits-backprop"]
    assert len(rows["mixer-digits"]["layer_accuracies"]) == rows["mixer-digits"]["layers"] == 4
    assert all(row["peak_bytes"] > 0 and len(row["epoch_seconds"]) == 1 for row in rows.values())
    table = from_module.render(rows).splitlines()
    assert len(table) == 2 + len(from_module.ROWS)
    assert sum("not run" in line for line in table) == len(from_module.ROWS) - 2
