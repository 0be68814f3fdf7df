"""Fixtures of all tests: reproducible random numbers, blank figures, real data if available."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

DATA_VARIABLE = "FORWARDFORWARD_TEST_DATA"


def pytest_configure(config: pytest.Config) -> None:
    """Prepare a process that runs tests; the one that only distributes them starts seconds sooner without torch."""
    if not config.getoption("numprocesses", None):
        config.pluginmanager.register(importlib.import_module("tests.reproducibility"))


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
