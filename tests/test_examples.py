"""The examples run unchanged and offline, are short and are part of the gallery."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

for package in ("matplotlib", "sklearn"):
    pytest.importorskip(package)

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
FAST = {"convolutional", "imdb", "mnist", "saving"}  # the others train several networks
RUN = """
import runpy, sys

def forbid_network(event, args):
    if event in ("socket.connect", "socket.getaddrinfo"):
        raise PermissionError("examples must run offline")

sys.addaudithook(forbid_network)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""

if not EXAMPLES:
    pytest.skip("this copy contains no examples", allow_module_level=True)


@pytest.mark.parametrize(
    "example",
    [pytest.param(path, id=path.stem, marks=() if path.stem in FAST else pytest.mark.slow) for path in EXAMPLES],
)
def test_runs_from_the_root_and_saves_its_figure(example: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-W",
        "error",
        "-W",
        "ignore::DeprecationWarning",
        "-c",
        RUN,
        str(example.relative_to(ROOT)),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "FORWARDFORWARD_DATA": str(tmp_path / "empty")}
    process = subprocess.run(
        [*command, "--epochs", "2", "--out", str(tmp_path / "figures")],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    assert "error" in process.stdout or "accuracy" in process.stdout
    figure = tmp_path / "figures" / f"{example.stem}.png"
    assert figure.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_is_short_and_in_the_gallery(example: Path) -> None:
    code = example.read_text(encoding="utf-8")
    assert len(code.splitlines()) <= 80
    assert f"    python examples/{example.name}" in code.split('"""')[1]
    gallery = ROOT / "docs" / "gallery.md"
    assert f"```{{literalinclude}} ../examples/{example.name}\n" in gallery.read_text(encoding="utf-8")
    assert (ROOT / "docs" / "gallery" / f"{example.stem}.png").stat().st_size < 60_000
