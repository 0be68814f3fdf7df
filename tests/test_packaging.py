"""Tests of the package: metadata, imports, public names and built files."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

import forwardforward
from tests import scripts

ROOT = Path(__file__).parents[1]
OPTIONAL = {"torchvision", "sklearn", "scipy", "matplotlib", "gensim", "lightning", "tensorboard", "wandb"}


@pytest.fixture(scope="module")
def check_api() -> ModuleType:
    """The documentation's check of the public interface."""
    return scripts.load("check_api")


def test_version_is_the_same_everywhere() -> None:
    assert importlib.metadata.version("forwardforward") == forwardforward.__version__
    cited = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    assert cited is not None
    assert cited[1] == forwardforward.__version__
    assert f"## [{forwardforward.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_import_loads_nothing_optional_and_a_figure_leaves_the_global_state_of_matplotlib_alone() -> None:
    pytest.importorskip("matplotlib")
    program = """if True:
        import sys
        import forwardforward as ff
        import forwardforward.data
        print(*{name.partition(".")[0] for name in sys.modules})
        errors = {"error": 3.0, "layer_errors": [4.0], "layer_accuracies": None, "head_error": None, "samples": 9}
        record = {"epoch": 1, "seconds": 0.1, "layers": [None], "head": None, "validation": errors}
        ff.diagnostics.curves(ff.training.History([record]))
        print(*sys.modules)
    """
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    imported, drawn = (set(line.split()) for line in run.stdout.splitlines())
    assert "torch" in imported
    assert not imported & OPTIONAL
    assert "matplotlib.figure" in drawn
    assert "matplotlib.pyplot" not in drawn


def test_public_names_resolve_and_have_docstrings(check_api: ModuleType) -> None:
    for package in ("sklearn", "lightning"):  # the bases of the classes for them
        pytest.importorskip(package)
    assert list(check_api.problems()) == []


def test_no_name_is_listed_twice(check_api: ModuleType) -> None:
    for module in check_api.public_modules():
        assert len(module.__all__) == len(set(module.__all__)), module.__name__


def test_types_are_shipped() -> None:
    assert (Path(forwardforward.__file__).parent / "py.typed").is_file()


@pytest.mark.slow
def test_built_files_contain_code_and_no_data(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    from hatchling.builders.sdist import SdistBuilder
    from hatchling.builders.wheel import WheelBuilder

    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        files = {info.filename: info.file_size for info in archive.infolist()}
    assert {"forwardforward/__init__.py", "forwardforward/py.typed"} <= files.keys()
    assert {name.partition("/")[0].partition("-")[0] for name in files} == {"forwardforward"}

    (sdist,) = SdistBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with tarfile.open(sdist) as archive:
        packed = {member.name.partition("/")[2]: member.size for member in archive.getmembers()}
    assert {"pyproject.toml", "README.md", "LICENSE", "src/forwardforward/__init__.py"} <= packed.keys()

    for name, size in (*files.items(), *packed.items()):
        assert size < 1_000_000, name
        assert not name.endswith(("ubyte", ".gz", ".npz", ".npy", ".pt", ".bin", ".xz")), name
