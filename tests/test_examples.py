"""The examples run offline, begin with the library, and are short.

The documentation build runs them in full; here they run with two epochs.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

for package in ("matplotlib", "sklearn"):
    pytest.importorskip(package)

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
#: Runs examples one after the other in one process, with two epochs, and prints the name and the figures of each.
RUN = """
import functools, runpy, sys
import matplotlib
matplotlib.use("agg")
import matplotlib.pyplot as plt
import forwardforward as ff

def forbid_network(event, args):
    if event in ("socket.connect", "socket.getaddrinfo"):
        raise PermissionError("examples must run offline")

def shortened(fit):
    return functools.wraps(fit)(lambda *args, **options: fit(*args, **{**options, "epochs": 2}))

sys.addaudithook(forbid_network)
ff.fit, ff.recipes.Recipe.fit = shortened(ff.fit), shortened(ff.recipes.Recipe.fit)
plt.show = lambda: print("figures:", len(plt.get_fignums())) or plt.close("all")
for example in sys.argv[1:]:
    print("example:", example)
    runpy.run_path(example, run_name="__main__")
"""

if not EXAMPLES:
    pytest.skip("this copy contains no examples", allow_module_level=True)


@pytest.mark.slow
def test_examples_run_offline_and_show_a_figure(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", RUN, *map(str, EXAMPLES)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "FORWARDFORWARD_DATA": str(tmp_path / "empty")}
    process = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout + process.stderr
    outputs = process.stdout.split("example: ")[1:]
    assert len(outputs) == len(EXAMPLES)
    for output in outputs:
        assert any(word in output for word in ("error", "accuracy", "RMSE")), output
        assert "figures: 1\n" in output, output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_begins_with_the_library_and_is_short(example: Path) -> None:
    code = example.read_text(encoding="utf-8")
    library, _, _ = code.partition("\n# %%\n")
    assert len(code.splitlines()) <= 80
    assert len(library.splitlines()) <= 60
    assert "plt." not in library
    statements = [node for node in ast.parse(library).body[1:] if not isinstance(node, ast.Import | ast.ImportFrom)]
    names = {node.id for statement in statements for node in ast.walk(statement) if isinstance(node, ast.Name)}
    assert "ff" in names
    assert not {"argparse", "open", "savefig"} & names
