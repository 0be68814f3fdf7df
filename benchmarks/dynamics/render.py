"""Tables, figures and the page of the documentation, from the finished cells, without training."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.dynamics.cells import FOLDER, Curves, read_all
from benchmarks.dynamics.choose import choice_table
from benchmarks.dynamics.figures import FIGURES, draw
from benchmarks.dynamics.tables import claims_table, correlation_table, delay_table, growth_table, variants_table
from benchmarks.pages import ROOT, filled, write

__all__ = ["PAGE", "render"]

PAGE = ROOT / "docs" / "papers" / "dynamics.md"

TABLES: dict[str, Callable[[Sequence[Curves]], str]] = {
    "claims": claims_table,
    "delay": delay_table,
    "correlation": correlation_table,
    "variants": variants_table,
    "growth": growth_table,
}


def render(folder: Path = FOLDER, page: Path | None = PAGE) -> str:
    """Write tables and figures beside the cells and to the page, and return the tables.

    Args:
        folder: Folder of the finished cells.
        page: The page, with markers for each table and, with ``-figures`` after the name, each figure; None to leave
            it alone.
    """
    everything = read_all(folder)
    curves = [c for c in everything if not c.cell.reduction]
    text = "\n\n".join(f"### {name}\n\n{make(curves)}" for name, make in TABLES.items())
    for reduction in sorted({c.cell.reduction for c in everything} - {""}):
        reduced = [c for c in everything if c.cell.reduction == reduction]
        parts = [delay_table(reduced, grid=False), correlation_table(reduced), growth_table(reduced)]
        text += f"\n\n### Reduced: {reduction}\n\n" + "\n\n".join(parts)
        for name in FIGURES:
            draw(name, reduced, folder / "figures" / reduction.replace(",", "").replace(" ", "-"))
    paths = {name: draw(name, curves, folder / "figures") for name in FIGURES}
    write(folder / "tables.md", f"{text}\n")
    if page is not None:
        blocks = {name: make(curves) for name, make in TABLES.items()}
        _fill(page, {**blocks, "runs": _note(curves), "choice": choice_table(folder)}, paths)
    return text


def _fill(page: Path, blocks: dict[str, str], figures: dict[str, Path | None]) -> None:
    """Write the tables and figures between the page's markers."""
    blocks = dict(blocks)
    for name, path in figures.items():
        link = "" if path is None else f"![{FIGURES[name][0]}]({_relative(path, page)})"
        blocks[f"{name}-figures"] = link or "Not run."
    for name, block in blocks.items():
        write(page, filled(page, name, block))


def _relative(path: Path, page: Path) -> str:
    return Path(os.path.relpath(path, page.parent)).as_posix()


def _note(curves: Sequence[Curves]) -> str:
    """Return where the cells were trained, and for how long."""
    contents = [content for c in curves for content in c.contents]
    if not contents:
        return "Nothing here has been run."
    lines = []
    for cpu in sorted({_machine(content) for content in contents}):
        of_machine = [content for content in contents if _machine(content) == cpu]
        minutes, measuring = (
            sum(content[name] for content in of_machine) / 60 for name in ("seconds", "measuring_seconds")
        )
        lines.append(
            f"{len(of_machine)} cells on {cpu}: {minutes:.0f} minutes of training, {measuring:.0f} of measurement."
        )
    return " ".join(lines)


def _machine(content: dict[str, object]) -> str:
    machine = content["machine"]
    assert isinstance(machine, dict)
    device = machine["cpu"] if machine["device"] == "cpu" else machine["device"]
    threads = f", {machine['threads']} threads" if machine["device"] == "cpu" else ""
    return f"{device}{threads}, {content['precision']}, torch {machine['torch']}"
