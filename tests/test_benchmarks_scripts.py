"""The scripts that time things: what they print and write, and their one-line errors."""

from __future__ import annotations

import importlib
import json
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


def test_classification(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    classification, out = script("classification"), tmp_path / "found.json"
    words = ["--rounds", "1", "--threads", "1", "--out", str(out)]
    classification.main(["--images", "3", *words])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert all("  3 images with 10 labels: " in line for line in lines)
    content = json.loads(out.read_text(encoding="utf-8"))
    assert content["command"] == "python -m benchmarks.classification --images 3"
    assert list(content["networks"]) == list(classification.NETWORKS)
    assert {row["images"] for row in content["networks"].values()} == {3}
    assert [usual for _, _, usual in classification.NETWORKS.values()] == [200, 20, 20]


def test_the_arithmetic_is_that_of_classification() -> None:
    classification = script("classification")
    torch.manual_seed(0)
    model, images = classification.trifecta(), torch.rand(5, 3, 32, 32)
    rows: list[int] = []
    model.chunk_size = 2 * model.chunk_size // classification.rows_per_chunk(model, images)
    model[0].block.register_forward_hook(lambda block, inputs, output: rows.append(len(output)))
    classification.passes(model, images)()
    assert rows == [2, 2, 1]


def test_speed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "found.json"
    words = ["--widths", "6,5", "--inputs", "12", "--batch-size", "4", "--rounds", "1", "--threads", "1"]
    script("speed").main([*words, "--out", str(out)])
    assert capsys.readouterr().out.startswith("12-6,5, 4 samples per step, float32, 1 threads\n")
    content = json.loads(out.read_text(encoding="utf-8"))
    assert content["widths"] == [6, 5]
    assert content["command"] == "python -m benchmarks.speed --widths 6,5 --batch-size 4"


@pytest.mark.parametrize(
    ("name", "words", "shown"),
    [
        ("classification", ["--rounds", "0"], "--rounds: must be an integer from 1"),
        ("classification", ["--images", "none"], "--images: must be an integer from 1"),
        ("classification", ["--images", "2000000000"], "out of memory; reduce --images"),
        ("speed", ["--rounds", "0"], "--rounds: must be an integer from 1"),
        ("speed", ["--threads", "0"], "--threads: must be an integer from 1"),
        ("speed", ["--widths", "5,x"], "--widths: must be widths such as 1000,1000, got '5,x'"),
        ("speed", ["--widths", "2000000000"], "must lead to tensors that fit into the"),
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
    cells = json.loads(out.read_text(encoding="utf-8"))["cells"]
    assert [cell["depth"] for cell in cells] == [1, 2]
    for row in cells[0]["kinds"].values():  # 2 steps per epoch
        assert row["networks_per_minute"] == pytest.approx(60_000 / (6 * row["milliseconds_per_network"]))
