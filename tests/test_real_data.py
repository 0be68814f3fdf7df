"""The command line on real images."""

import json
from pathlib import Path

import pytest

from forwardforward.__main__ import main

pytestmark = pytest.mark.shared_data


@pytest.mark.parametrize(
    ("data", "recipe", "widths", "limit"),
    [
        ("mnist", "hinton", "300,300", 15.0),
        ("mnist", "mono", "200,200", 6.0),
        ("fashion-mnist", "mono", "200,200", 20.0),
    ],
)
def test_one_epoch_of_a_small_stack(
    data: str, recipe: str, widths: str, limit: float, shared_data_dir: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    words = ["train", data, "--recipe", recipe, "--widths", widths, "--epochs", "1", "--no-progress"]
    assert main([*words, "--data-dir", str(shared_data_dir), "--out", str(out)]) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert summary["test_error"] < limit
    assert len(summary["layer_errors"]) == 2
