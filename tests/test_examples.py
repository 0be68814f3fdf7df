"""The examples run as written, without a network, stay short and are in the gallery."""

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
QUICK = {"convolutional", "imdb", "mnist", "saving"}  # the others train several networks
RUN = """
import runpy, sys

def refuse(event, args):
    if event in ("socket.connect", "socket.getaddrinfo"):
        raise PermissionError("an example must not ask the network")

sys.addaudithook(refuse)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""

if not EXAMPLES:
    pytest.skip("this copy holds no examples", allow_module_level=True)


@pytest.mark.parametrize(
    "example", [pytest.param(one, id=one.stem, marks=[pytest.mark.slow] * (one.stem not in QUICK)) for one in EXAMPLES]
)
def test_runs_from_the_root_and_draws_its_picture(example: Path, tmp_path: Path) -> None:
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
    done = subprocess.run(
        [*command, "--epochs", "1", "--out", str(tmp_path / "figures")],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "error" in done.stdout or "accuracy" in done.stdout
    picture = tmp_path / "figures" / f"{example.stem}.png"
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: one.stem)
def test_is_short_and_in_the_gallery(example: Path) -> None:
    code = example.read_text(encoding="utf-8")
    assert len(code.splitlines()) <= 80
    assert f"    python examples/{example.name}" in code.split('"""')[1]
    gallery = ROOT / "docs" / "gallery.md"
    assert f"```{{literalinclude}} ../examples/{example.name}\n" in gallery.read_text(encoding="utf-8")
    assert (ROOT / "docs" / "gallery" / f"{example.stem}.png").stat().st_size < 60_000
