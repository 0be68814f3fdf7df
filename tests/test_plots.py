"""Tests of the curves of a history."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from forwardforward.diagnostics import curves
from forwardforward.training import History

pytest.importorskip("matplotlib")


def record(epoch: int, validation: bool = True, layers: int = 2) -> dict[str, Any]:
    layer = dict.fromkeys(
        ("loss", "positive", "negative", "separation", "accuracy", "gradient_norm", "largest_weight", "learning_rate"),
        0.5 * epoch,
    )
    errors = {
        **{"error": 3.0, "layer_errors": [4.0] * layers, "layer_accuracies": None, "head_error": 2.0, "samples": 9},
        **{"largest_goodness": [2.0 * epoch] * layers},
    }
    return {
        "epoch": epoch,
        "seconds": 0.1,
        "layers": [dict(layer) for _ in range(layers)],
        "head": {"loss": 0.1, "accuracy": 0.9},
        "validation": errors if validation else None,
    }


def test_there_is_one_panel_per_figure_and_one_line_per_layer(tmp_path: Path) -> None:
    history = History([record(epoch) for epoch in (1, 2, 3)])
    figure, axes = curves(history, tmp_path / "curves.png")
    assert axes.shape == (2, 4)
    for axis in axes.flat[:7]:
        assert [line.get_label() for line in axis.lines][:2] == ["layer 0", "layer 1"]
    assert list(axes.flat[0].lines[0].get_ydata()) == [0.5, 1.0, 1.5]
    assert list(axes.flat[3].lines[0].get_ydata()) == [2.0, 4.0, 6.0]
    assert any("validation" in str(line.get_label()) for line in axes.flat[7].lines)
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert figure.axes


def test_there_are_only_panels_with_data() -> None:
    figure, axes = curves(History([{**record(1, validation=False), "head": None}]))
    assert len(figure.axes) == 6
    assert "largest goodness, validation" not in [axis.get_title() for axis in figure.axes]
    assert "error, %" not in [axis.get_title() for axis in figure.axes]
    assert axes.shape == (2, 4)


def test_one_epoch_is_drawn_as_points() -> None:
    figure, _ = curves(History([record(1)]))
    lines = [line for axis in figure.axes for line in axis.lines]
    assert len(lines) == 7 * 2 + 3
    assert all(line.get_marker() == "." for line in lines)


def test_epochs_without_validation_leave_gaps() -> None:
    figure, _ = curves(History([record(1, validation=False), record(2)]))
    labels = [line.get_label() for line in figure.axes[-1].lines]
    assert labels == ["model, validation", "head, validation", "one-pass head, training"]


def test_test_errors_are_drawn_at_the_last_epoch() -> None:
    history = History([{**record(epoch, validation=False), "head": None} for epoch in (1, 2)])
    figure, _ = curves(history, test_errors={"model": 8.0, "one-pass head": 9.0})
    (model, head) = figure.axes[-1].lines
    assert figure.axes[-1].get_title() == "error, %"
    assert (model.get_label(), list(model.get_xdata()), list(model.get_ydata())) == ("model, test", [2], [8.0])
    assert (head.get_label(), list(head.get_ydata())) == ("one-pass head, test", [9.0])


@pytest.mark.usefixtures("blank_figures")
def test_a_figure_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "curves.png"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        curves(History([record(1)]), path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["curves.png"]


@pytest.mark.slow
def test_the_format_of_a_figure_follows_from_its_name(tmp_path: Path) -> None:
    curves(History([record(1)]), tmp_path / "curves.svg")
    assert "<svg" in (tmp_path / "curves.svg").read_text()
    curves(History([record(1)]), tmp_path / "curves")
    assert (tmp_path / "curves").read_bytes().startswith(b"\x89PNG")


def test_layers_that_were_not_updated_leave_gaps() -> None:
    records = [record(1), record(2)]
    records[0]["layers"][1] = None
    records[1]["layers"][0] = None
    _, axes = curves(History(records))
    assert len(axes.flat[0].lines) == 2


def test_a_model_without_local_objectives() -> None:
    records = [record(epoch) for epoch in (1, 2)]
    for entry in records:
        entry["layers"] = [None, None]
    figure, _ = curves(History(records))
    assert [axis.get_title() for axis in figure.axes] == ["largest goodness, validation", "error, %"]


def test_an_empty_history_is_refused() -> None:
    with pytest.raises(ValueError, match="history"):
        curves(History())


def test_a_missing_matplotlib_is_reported_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install matplotlib"):
        curves(History([record(1)]))
