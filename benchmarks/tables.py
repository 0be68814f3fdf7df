"""Tables: finished cells in Markdown, those of the study's own setting first, then those of each other setting."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.cells import Cell, Content, Row, Setting, count

__all__ = ["DATA", "Found", "Study", "by_setting", "render"]

#: What the tables call the data sets.
DATA = {
    "mnist": "MNIST",
    "fashion-mnist": "F-MNIST",
    "svhn": "SVHN",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "digits": "digits",
    "imdb": "IMDb",
}


#: Finished cells by a row's name and a data set.
Found = dict[tuple[str, str], list[Content]]

#: Draws pictures of finished cells, by setting, into a folder.
Draw = Callable[[Path, Mapping[Setting, Found]], list[Path]]


@dataclass(frozen=True)
class Study:
    """A table.

    Args:
        name: What the command line calls it.
        title: What the table is headed with.
        rows: The rows, in order.
        data: The data sets, in order.
        seeds: The seeds.
        draw: Draws pictures of finished cells, ``(folder, cells by setting) -> paths``.
        quick: The setting that ``--quick`` stands for, of minutes on two cores; run for the first seed.
        columns: Further columns behind each data set's accuracy: a heading and what reads it from a cell, None where
            the cell does not hold it.
        remark: A sentence under a table, of its cells.
    """

    name: str
    title: str
    rows: tuple[Row, ...]
    data: tuple[str, ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    draw: Draw | None = None
    quick: Setting | None = None
    columns: Mapping[str, Callable[[Content], float | None]] = field(default_factory=dict)
    remark: Callable[[Found], str] | None = None


def render(study: Study, cells: Iterable[Content], source: str = "") -> str:
    """The study's tables in Markdown: one of whole cells, then one for each way in which cells were reduced.

    Args:
        study: What to show.
        cells: Finished cells, of other studies too.
        source: What makes the table, to be named in it.
    """
    found = by_setting(study, cells)
    parts = [f"<!-- made by {source} -->"] if source else []
    whole = found.get(Setting(), {})
    parts.append(f"### {study.title}\n\n{_table(study, study.rows, _columns(study.data, whole), whole, found)}")
    for setting in sorted(set(found) - {Setting()}):
        some = found[setting]
        rows = [row for row in study.rows if row.recipe is None or any(row.name == name for name, _ in some)]
        data = _columns((one for one in study.data if any(one == name for _, name in some)), some)
        missing = [row.titled for row in study.rows if row not in rows]
        how = "quick" if setting == study.quick else "reduced"
        text = f"### {study.title}, {how}: {setting.words()}\n\n{_table(study, rows, data, some, None)}"
        parts.append(text + (f"\n\nNot run in this setting: {'; '.join(dict.fromkeys(missing))}." if missing else ""))
    return "\n\n".join(parts) + "\n"


def by_setting(study: Study, cells: Iterable[Content]) -> dict[Setting, Found]:
    """The study's cells by setting, row and data set."""
    rows = {row.name: row for row in study.rows if row.recipe is not None}
    found: dict[Setting, Found] = {}
    for content in cells:
        for row in rows.values():
            own = content["epochs"] == row.length(content["data"])
            given = {**content["setting"], "epochs": 0 if own else content["epochs"]}
            cell = Cell(row, content["data"], content["seed"], Setting(**given))
            if cell.name == content["name"]:
                found.setdefault(cell.setting, {}).setdefault((row.name, cell.data), []).append(content)
    return found


def _columns(first: Iterable[str], cells: Found) -> tuple[str, ...]:
    """The data sets of ``first``, then others that cells were run on."""
    return tuple(dict.fromkeys([*first, *sorted(data for _, data in cells)]))


def _table(
    study: Study, rows: Sequence[Row], data: Sequence[str], cells: Found, others: Mapping[Setting, Found] | None
) -> str:
    """One table; ``others`` are the cells of all settings where this is the table of whole ones."""
    paper = "paper" if others is not None else "paper, its own setting"
    published = {one for one in data for row in rows if row.paper.get(one)}
    head = ["model", "epochs"]
    for one in data:
        head += [f"{DATA.get(one, one)}, {who}" for who in ((paper, "here") if one in published else ("here",))]
        head += [title if len(data) == 1 else f"{DATA.get(one, one)}, {title}" for title in study.columns]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        line = [row.label, _epochs(row, data, cells, others is not None)]
        for one in data:
            some = cells.get((row.name, one), [])
            line += [row.paper.get(one, "")] if one in published else []
            line.append(_figure(row, one, some, others))
            line += [_mean(read, some) for read in study.columns.values()]
        lines.append("| " + " | ".join(line) + " |")
    shown = [content for row in rows for one in data for content in cells.get((row.name, one), [])]
    remark = "" if study.remark is None or not shown else study.remark(cells)
    return "\n".join(lines) + "\n\n" + _notes(shown) + (f"\n\n{remark}" if remark else "")


def _epochs(row: Row, data: Sequence[str], cells: Found, whole: bool) -> str:
    """The row's epochs, and those of its cells where they differ."""
    differ = [f"{DATA.get(one, one)}: {row.length(one)}" for one in data if row.length(one) != row.epochs]
    own = (str(row.epochs) if row.epochs else "") + (f" ({', '.join(differ)})" if differ else "")
    shown = [one for (name, _), some in cells.items() if name == row.name for one in some]
    if whole or all(one["epochs"] == row.length(one["data"]) for one in shown):
        return own
    return f"{', '.join(map(str, sorted({one['epochs'] for one in shown})))} in place of {own}"


def _mean(read: Callable[[Content], float | None], cells: list[Content]) -> str:
    values = [value for value in map(read, cells) if value is not None]
    return f"{statistics.mean(values):.3g}" if values else ""


def _figure(row: Row, data: str, cells: list[Content], others: Mapping[Setting, Found] | None) -> str:
    """Mean and standard deviation over the seeds, or why there is none."""
    if row.recipe is None:
        return "reported only"
    if not cells:
        reduced = others is not None and any((row.name, data) in some for some in others.values())
        return "not run; reduced below" if reduced else "not run"
    diverged = [one for one in cells if "diverged" in one["result"]]
    values = [one["result"][row.shows] for one in cells if row.shows in one["result"]]
    words = f"{statistics.mean(values):.2f}" if values else "diverged"
    words += f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    words += f" ({count(len(cells), 'seed')}" + (f", {len(diverged)} diverged" if diverged and values else "") + ")"
    return words


def _notes(cells: list[Content]) -> str:
    text = "Test accuracy in percent, mean ± standard deviation over the seeds."
    if not cells:
        return text + " Nothing here has been run."
    devices = ", ".join(sorted({one["device"] for one in cells}))
    versions = ", ".join(sorted({one["torch"] for one in cells}))
    minutes = sum({one["name"]: one["seconds"] for one in cells}.values()) / 60
    taken = f"{minutes:.0f} minutes" if minutes < 100 else f"{minutes / 60:.1f} hours"
    return f"{text} Trained on {devices} with torch {versions}, {taken} in all."
