"""Tables of finished cells in Markdown: first the study's own setting, then each other setting."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.cells import Cell, Content, Row, Setting, count

__all__ = ["DATA", "Cells", "Draw", "Study", "by_setting", "render"]

#: Names of the data sets in tables.
DATA = {
    "mnist": "MNIST",
    "fashion-mnist": "F-MNIST",
    "svhn": "SVHN",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "digits": "digits",
    "imdb": "IMDb",
}


#: Finished cells, one per seed, by a row's name and a data set.
Cells = dict[tuple[str, str], list[Content]]

#: Draws figures of finished cells, by setting, into a folder, and returns their paths.
Draw = Callable[[Path, Mapping[Setting, Cells]], list[Path]]


@dataclass(frozen=True)
class Study:
    """A table.

    Args:
        name: Name on the command line.
        title: Heading of the table.
        rows: The rows, in order.
        data: The data sets, in order.
        seeds: The seeds.
        draw: Draws figures of finished cells.
        quick: The setting of ``--quick``, which takes minutes on two cores; it is run for the first seed.
        reduced: The setting of ``--reduced``, which takes hours on two cores; it is run for every seed.
        unavailable: Data sets whose files the kept results were made without; they are trained if ``--data`` names
            them.
        columns: Further columns after each data set's accuracy: a heading and a function from a cell to a number, or to
            None for cells without it.
        remark: A sentence below a table, from its cells.
    """

    name: str
    title: str
    rows: tuple[Row, ...]
    data: tuple[str, ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    draw: Draw | None = None
    quick: Setting | None = None
    reduced: Setting | None = None
    unavailable: tuple[str, ...] = ()
    columns: Mapping[str, Callable[[Content], float | None]] = field(default_factory=dict)
    remark: Callable[[Cells], str] | None = None

    def named_settings(self) -> dict[str, Setting | None]:
        """Return the settings that have an option of the command line, by its name."""
        return {"quick": self.quick, "reduced": self.reduced}


def render(study: Study, contents: Iterable[Content], source: str = "") -> str:
    """Return the study's tables in Markdown: one of its own setting, then one per other setting.

    Args:
        study: The study.
        contents: Finished cells, of other studies too.
        source: Command that writes the table, for a comment above it.
    """
    settings = by_setting(study, contents)
    parts = [f"<!-- made by {source} -->"] if source else []
    full = settings.get(Setting(), {})
    parts.append(f"### {study.title}\n\n{_table(study, study.rows, _data(study.data, full), full, settings)}")
    for setting in sorted(set(settings) - {Setting()}):
        cells = settings[setting]
        rows = [row for row in study.rows if row.recipe is None or any(row.name == name for name, _ in cells)]
        data = _data((name for name in study.data if any(name == other for _, other in cells)), cells)
        missing = [row.title for row in study.rows if row not in rows]
        kind = "quick" if setting == study.quick else "reduced"
        text = f"### {study.title}, {kind}: {setting.description()}\n\n{_table(study, rows, data, cells, None)}"
        parts.append(text + (f"\n\nNot run in this setting: {'; '.join(dict.fromkeys(missing))}." if missing else ""))
    return "\n\n".join(parts) + "\n"


def by_setting(study: Study, contents: Iterable[Content]) -> dict[Setting, Cells]:
    """Return the study's cells by setting, row and data set."""
    rows = {row.name: row for row in study.rows if row.recipe is not None}
    settings: dict[Setting, Cells] = {}
    for content in contents:
        for row in rows.values():
            is_full_length = content["epochs"] == row.epochs_on(content["data"])
            values = {**content["setting"], "epochs": 0 if is_full_length else content["epochs"]}
            cell = Cell(row, content["data"], content["seed"], Setting(**values))
            if cell.name == content["name"]:
                settings.setdefault(cell.setting, {}).setdefault((row.name, cell.data), []).append(content)
    return settings


def _data(first: Iterable[str], cells: Cells) -> tuple[str, ...]:
    """Return the data sets of ``first``, then others with cells."""
    return tuple(dict.fromkeys([*first, *sorted(data for _, data in cells)]))


def _table(
    study: Study, rows: Sequence[Row], data: Sequence[str], cells: Cells, settings: Mapping[Setting, Cells] | None
) -> str:
    """Return one table; ``settings`` contains the cells of all settings in the table of the study's own setting."""
    paper = "paper" if settings is not None else "paper, its own setting"
    published = {name for name in data for row in rows if row.paper.get(name)}
    head = ["model", "epochs"]
    for name in data:
        title = DATA.get(name, name)
        head += [f"{title}, {source}" for source in ((paper, "here") if name in published else ("here",))]
        head += [column if len(data) == 1 else f"{title}, {column}" for column in study.columns]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        line = [row.label, _epochs(row, data, cells, settings is not None)]
        for name in data:
            contents = cells.get((row.name, name), [])
            line += [row.paper.get(name, "")] if name in published else []
            is_missing = not contents and row.recipe is not None and name in study.unavailable
            line.append("data not available" if is_missing else _accuracy(row, name, contents, settings))
            line += [_mean(column, contents) for column in study.columns.values()]
        lines.append("| " + " | ".join(line) + " |")
    shown = [content for row in rows for name in data for content in cells.get((row.name, name), [])]
    remark = "" if study.remark is None or not shown else study.remark(cells)
    return "\n".join(lines) + "\n\n" + _notes(shown) + (f"\n\n{remark}" if remark else "")


def _epochs(row: Row, data: Sequence[str], cells: Cells, is_full: bool) -> str:
    """Return the row's epochs, and those of its cells if they differ."""
    exceptions = [
        f"{DATA.get(name, name)}: {row.epochs_on(name)}" for name in data if row.epochs_on(name) != row.epochs
    ]
    epochs = (str(row.epochs) if row.epochs else "") + (f" ({', '.join(exceptions)})" if exceptions else "")
    contents = [content for (name, _), of_row in cells.items() if name == row.name for content in of_row]
    if is_full or all(content["epochs"] == row.epochs_on(content["data"]) for content in contents):
        return epochs
    return f"{', '.join(map(str, sorted({content['epochs'] for content in contents})))} in place of {epochs}"


def _mean(column: Callable[[Content], float | None], contents: list[Content]) -> str:
    values = [value for value in map(column, contents) if value is not None]
    return f"{statistics.mean(values):.3g}" if values else ""


def _accuracy(row: Row, data: str, contents: list[Content], settings: Mapping[Setting, Cells] | None) -> str:
    """Return mean and standard deviation over the seeds, or why there is none."""
    if row.recipe is None:
        return "reported only"
    if not contents:
        is_reduced = settings is not None and any((row.name, data) in cells for cells in settings.values())
        return "not run; reduced below" if is_reduced else "not run"
    diverged = [content for content in contents if "diverged" in content["result"]]
    values = [content["result"][row.metric] for content in contents if row.metric in content["result"]]
    text = f"{statistics.mean(values):.2f}" if values else "diverged"
    text += f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    more = f", {len(diverged)} diverged" if diverged and values else ""
    return f"{text} ({count(len(contents), 'seed')}{more})"


def _notes(contents: list[Content]) -> str:
    text = "Test accuracy in percent, mean ± standard deviation over the seeds."
    if not contents:
        return text + " Nothing here has been run."
    devices = ", ".join(sorted({content["device"] for content in contents}))
    versions = ", ".join(sorted({content["torch"] for content in contents}))
    minutes = sum({content["name"]: content["seconds"] for content in contents}.values()) / 60
    duration = f"{minutes:.0f} minutes" if minutes < 100 else f"{minutes / 60:.1f} hours"
    return f"{text} Trained on {devices} with torch {versions}, {duration} in total."
