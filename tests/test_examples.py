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
FAST = {"convolutional", "imdb", "mnist", "multi_label", "regression", "saving"}  # the others train several networks
#: Runs examples one after the other in one process, which imports torch once, and prints the name of each.
RUN = """
import runpy, sys

def forbid_network(event, args):
    if event in ("socket.connect", "socket.getaddrinfo"):
        raise PermissionError("examples must run offline")

sys.addaudithook(forbid_network)
options = sys.argv[sys.argv.index("--epochs"):]
for example in sys.argv[1 : -len(options)]:
    print("example:", example)
    sys.argv = [example, *options]
    runpy.run_path(example, run_name="__main__")
"""

if not EXAMPLES:
    pytest.skip("this copy contains no examples", allow_module_level=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "examples",
    [
        pytest.param([path for path in EXAMPLES if path.stem in FAST], id="fast"),
        *(pytest.param([path], id=path.stem) for path in EXAMPLES if path.stem not in FAST),
    ],
)
def test_examples_run_from_the_root_and_save_their_figures(examples: list[Path], tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-W",
        "error",
        "-W",
        "ignore::DeprecationWarning",
        "-c",
        RUN,
        *(str(example.relative_to(ROOT)) for example in examples),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "FORWARDFORWARD_DATA": str(tmp_path / "empty")}
    process = subprocess.run(
        [*command, "--epochs", "2", "--out", str(tmp_path / "figures")],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    outputs = process.stdout.split("example: ")[1:]
    for example, output in zip(examples, outputs, strict=True):
        assert any(word in output for word in ("error", "accuracy", "RMSE")), output
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
