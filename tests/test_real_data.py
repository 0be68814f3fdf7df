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


@pytest.mark.parametrize(("name", "data"), [("mnist-small", "mnist"), ("cifar10-small", "cifar10")])
def test_the_trained_networks_of_the_package(name: str, data: str, shared_data_dir: Path) -> None:
    recorded = json.loads((Path(__file__).parents[1] / "benchmarks" / "results" / "pretrained.json").read_text())
    test = ff.data.load(data, shared_data_dir).test
    error = ff.evaluate(ff.pretrained(name), test).error
    assert error == pytest.approx(recorded[name]["test_errors"]["float16"], abs=0.03)
