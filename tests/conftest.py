"""Fixtures of all tests: fixed seeds and threads, hypothesis profiles, real data if available."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
import torch

DATA_VARIABLE = "FORWARDFORWARD_TEST_DATA"

torch.set_num_threads(1)


class _TorchRandom:
    """Torch's CPU generator with the interface of `random.Random`, for hypothesis to seed before each example."""

    def seed(self, value: int) -> None:
        torch.default_generator.manual_seed(value)

    def getstate(self) -> torch.Tensor:
        return torch.default_generator.get_state()

    def setstate(self, state: torch.Tensor) -> None:
        torch.default_generator.set_state(state)


_torch_random = _TorchRandom()  # hypothesis keeps only a weak reference
hypothesis.register_random(_torch_random)
hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, database=None, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture(autouse=True)
def seed() -> int:
    """Seed python, numpy and torch before every test, and return the seed."""
    value = 0
    random.seed(value)
    np.random.seed(value)
    torch.manual_seed(value)
    return value


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("shared_data") and not os.environ.get(DATA_VARIABLE):
        pytest.skip(f"{DATA_VARIABLE} is not set to a folder of data sets")


@pytest.fixture
def blank_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make figures, but save a blank image of them: rendering takes longer than the training of a small network."""
    figure = pytest.importorskip("matplotlib.figure").Figure
    save = figure.savefig

    def save_blank(self: Any, file: Any, **options: Any) -> None:
        save(figure(figsize=(1, 1)), file, **options)

    monkeypatch.setattr(figure, "savefig", save_blank)


@pytest.fixture
def shared_data_dir() -> Path:
    """The folder of real data sets; for tests marked `shared_data`."""
    return Path(os.environ[DATA_VARIABLE])


@pytest.fixture
def one_line(capsys: pytest.CaptureFixture[str]) -> Callable[[Callable[[list[str]], int], list[str]], str]:
    """A function that runs a command line with an error of the user, and returns the one line that it prints."""

    def run(main: Callable[[list[str]], int], words: list[str]) -> str:
        capsys.readouterr()
        try:
            status = main(words)
        except SystemExit as end:
            status = int(str(end.code))
        out, error = capsys.readouterr()
        assert status == 2
        assert out == ""
        assert error.count("\n") == 1, error
        assert "Traceback" not in error
        return error

    return run
