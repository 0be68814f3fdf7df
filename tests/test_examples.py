"""The examples run offline, begin with the library, and are short; their notebooks contain outputs.

The documentation build runs them in full; here they run with two epochs.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from tests import scripts

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
#: Draws an empty figure.
DRAW = "plt.subplots()\nplt.show()"

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


@pytest.fixture
def notebooks() -> ModuleType:
    """The extension of the documentation build that executes the notebooks."""
    for package in ("sphinx", "nbclient", "ipykernel"):
        pytest.importorskip(package)
    return scripts.load("notebooks")


def write_notebook(path: Path, *sources: str) -> None:
    """Write a notebook without outputs and its script, as sphinx-gallery does."""
    v4 = pytest.importorskip("nbformat.v4")
    nbformat = pytest.importorskip("nbformat")
    nbformat.write(v4.new_notebook(cells=[v4.new_code_cell(source) for source in sources]), path)
    path.with_suffix(".py").write_text("\n".join(sources), encoding="utf-8")


@pytest.mark.slow
def test_documentation_build_writes_outputs_into_notebooks(
    notebooks: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MPLBACKEND", "Agg")
    path = tmp_path / "small.ipynb"
    write_notebook(path, "import forwardforward as ff", "print(6 * 7)", "import matplotlib.pyplot as plt", DRAW)
    notebooks.execute(path)
    notebook = notebooks.nbformat.read(path, as_version=4)
    assert [[output.output_type for output in cell.outputs] for cell in notebook.cells] == [
        [], ["stream"], [], ["display_data"]
    ]  # fmt: skip
    assert notebook.cells[1].outputs[0].text == "42\n"
    assert "image/png" in notebook.cells[3].outputs[0].data
    with zipfile.ZipFile(tmp_path / "small.zip") as archive:
        assert archive.read("small.ipynb") == path.read_bytes()
        assert set(archive.namelist()) == {"small.ipynb", "small.py"}

    executed = path.read_bytes()
    notebooks.execute(path)  # not again
    assert path.read_bytes() == executed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "fault"), [("1 / 0", "ZeroDivisionError"), ("if False:\n    print(1)", "no output of the cell")]
)
def test_documentation_build_fails_if_a_notebook_does(
    notebooks: ModuleType, tmp_path: Path, source: str, fault: str
) -> None:
    path = tmp_path / "small.ipynb"
    write_notebook(path, source)
    with pytest.raises(notebooks.ExtensionError, match=fault):
        notebooks.execute(path)


def test_cells_that_print_or_draw_need_output(notebooks: ModuleType) -> None:
    v4 = notebooks.nbformat.v4
    output = v4.new_output("stream", text="1")
    cells = [
        v4.new_markdown_cell("print(0)"),
        v4.new_code_cell("print(1)", outputs=[output]),
        v4.new_code_cell("print(2)"),
        v4.new_code_cell("plt.show()"),
        v4.new_code_cell("x = 3"),
    ]
    assert notebooks.cells_without_output(v4.new_notebook(cells=cells)) == ["print(2)", "plt.show()"]
