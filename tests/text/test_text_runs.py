"""Runs on texts: prediction without the data set."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pytest

from forwardforward.__main__ import main


@pytest.fixture(autouse=True)
def _in_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blank_figures: None) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def fails(one_line: Callable[..., str]) -> Callable[..., str]:
    """Run a command that must fail with status 2, and return its one-line error."""
    return lambda *arguments: one_line(main, list(arguments))


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_run_on_texts(
    tmp_path: Path, write_reviews: Callable[[Path], Path], fails: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    reviews = write_reviews(tmp_path / "data")
    command = ["train", "imdb", "--data-dir", "data", "--epochs", "10", "--batch-size", "10", "--no-progress"]
    assert main([*command, "--widths", "20,20", "--out", "run"]) == 0
    assert Path("run/text_encoder.pt").is_file()
    reviews.rename(tmp_path / "elsewhere")  # neither the data set nor its encoder's training is needed any more
    capsys.readouterr()
    texts = ["A wonderful film, truly moving.", "A dreadful plot, truly boring."]
    Path("good.txt").write_text(texts[0])
    assert main(["predict", "run", *texts, "good.txt"]) == 0
    rows = table(capsys.readouterr().out)
    assert [row["input"] for row in rows] == [*texts, "good.txt"]
    assert rows[0]["label"] == rows[2]["label"] != rows[1]["label"]
    assert main(["predict", "run", str(tmp_path / "elsewhere" / "test")]) == 0
    assert len(table(capsys.readouterr().out)) == 16
    assert "there is no file 'gone.txt'" in fails("predict", "run", "gone.txt")
    Path("bytes.txt").write_bytes(b"\xff\xfe")
    assert "bytes.txt must be text in UTF-8, got the byte 0xff" in fails("predict", "run", "bytes.txt")
    Path("run/text_encoder.pt").write_bytes(b"damaged")
    assert "cannot read the text encoder run/text_encoder.pt" in fails("predict", "run", *texts)
