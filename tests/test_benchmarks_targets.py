"""The comparison of targets: choices on validation data, the test set read once, the table of the kept results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sklearn")

import forwardforward as ff
from benchmarks import targets


def test_settings_are_chosen_by_validation_and_the_test_set_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluated: list[int] = []
    evaluate = ff.evaluate

    def counted(model: Any, data: ff.TensorData) -> Any:
        evaluated.append(id(data))
        return evaluate(model, data)

    monkeypatch.setattr(ff, "evaluate", counted)
    data = targets.load("diabetes")
    monkeypatch.setitem(
        targets.TASKS,
        "diabetes",
        targets.Task("regression", "ordinal", lambda: data, targets.REGRESSION, {"widths": (4,)}),
    )
    out = tmp_path / "targets.json"
    words = ["--tasks", "diabetes", "--epochs", "1", "--seeds", "0", "--rates", "0.01,0.1", "--out", str(out)]
    targets.main(words)
    [figures] = json.loads(out.read_text())["tasks"].values()
    assert [len(figures[m]["validation_errors"]) for m in ("local", "backpropagation")] == [2, 4]
    for method in ("local", "backpropagation"):
        errors = figures[method]["validation_errors"]
        assert errors[figures[method]["chosen"]] == min(errors.values())
        assert figures[method]["test_error"] == pytest.approx(sum(figures[method]["test_errors"]))
    assert evaluated.count(id(data.validation)) == 6
    assert evaluated.count(id(data.test)) == 2
    assert figures["ratio"] == figures["local"]["test_error"] / figures["backpropagation"]["test_error"]
    assert "| regression | `ordinal` | RMSE |" in capsys.readouterr().out


def test_the_page_shows_the_kept_results() -> None:
    if not targets.PAGE.exists():
        pytest.skip("this copy contains no documentation")
    kept = json.loads(targets.RESULTS.read_text(encoding="utf-8"))["tasks"]
    assert list(kept) == list(targets.TASKS)
    assert "| 354,202 / 109,012 |" in targets.table(kept)
    assert targets.table(kept) in targets.PAGE.read_text(encoding="utf-8")
