"""The command line and the trained networks of the package on real images."""

import json
from pathlib import Path

import pytest

import forwardforward as ff
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


def test_the_trained_network_of_the_package(shared_data_dir: Path) -> None:
    recorded = json.loads((Path(__file__).parents[1] / "benchmarks" / "results" / "pretrained.json").read_text())
    model = ff.pretrained("mnist-small")
    test = ff.data.load("mnist", shared_data_dir).test
    assert ff.evaluate(model, test).error == pytest.approx(recorded["mnist-small"]["test_errors"]["float16"], abs=0.03)
