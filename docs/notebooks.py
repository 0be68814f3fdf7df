"""Sphinx extension: executes the notebooks that sphinx-gallery writes, which are without outputs."""

import logging
import os
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nbformat
import torch
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.display import status_iterator

#: Environment of the notebooks' kernels.
KERNEL = {
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",  # whatever the build's is
    "OMP_NUM_THREADS": "1",  # two kernels run at a time
    "PYTHONWARNINGS": "ignore:IProgress",  # tqdm asks for ipywidgets
}


def cells_without_output(notebook: nbformat.NotebookNode) -> list[str]:
    """Return the code cells that print or draw and have no output."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code" and not cell.outputs]
    return [cell.source for cell in cells if "print(" in cell.source or "plt.show(" in cell.source]


def execute(path: Path) -> str:
    """Write a notebook's outputs into its file, unless it has some, pack it with its script, and return its name."""
    notebook = nbformat.read(path, as_version=4)
    if any(cell.cell_type == "code" and cell.execution_count for cell in notebook.cells):
        return path.name  # sphinx-gallery writes a notebook again, without outputs, if its script has changed
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            timeout=600,
            record_timing=False,
            coalesce_streams=True,
            extra_arguments=["--log-level=ERROR"],
            resources={"metadata": {"path": folder}},  # the working directory
        )
        try:
            client.execute(env={**os.environ, **KERNEL})
        except CellExecutionError as error:
            raise ExtensionError(f"{path.name} failed: {error}") from None
    for source in cells_without_output(notebook):
        raise ExtensionError(f"{path.name}: no output of the cell\n{source}")
    nbformat.write(notebook, path)
    with zipfile.ZipFile(path.with_suffix(".zip"), "w", zipfile.ZIP_DEFLATED) as archive:
        for file in (path.with_suffix(".py"), path):
            archive.write(file, file.name)
    return path.name


def execute_notebooks(app: Sphinx) -> None:
    """Execute the notebooks that sphinx-gallery has written from the scripts, two at a time."""
    if not app.config.sphinx_gallery_conf["plot_gallery"]:
        return
    # a11y_pygments, which the theme imports, prints the information of all loggers.
    logging.getLogger("traitlets").setLevel(logging.WARNING)
    scripts = sorted(Path(app.srcdir, "../examples").glob("*.py"))
    notebooks = [Path(app.srcdir, "gallery", f"{script.stem}.ipynb") for script in scripts]
    with ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        for _ in status_iterator(pool.map(execute, notebooks), "executing notebooks... ", length=len(notebooks)):
            pass


def setup(app: Sphinx) -> dict[str, Any]:
    """Execute the notebooks after sphinx-gallery has written them."""
    # Numbers depend on the number of threads: one, as in the notebooks, so that the pages show the same.
    torch.set_num_threads(1)
    app.connect("builder-inited", execute_notebooks, priority=900)
    return {"parallel_read_safe": True}
