"""The tables of docs/speed.md, and the lines that the command prints."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.machine import machine_words
from benchmarks.markdown import table
from benchmarks.pages import ROOT, filled, write
from benchmarks.speed.measure import FASTEST, FLOOR
from benchmarks.speed.results import Entry
from benchmarks.speed.steps import KINDS, PRODUCT

__all__ = ["PAGE", "TABLES", "summary", "write_page"]

PAGE = ROOT / "docs" / "speed.md"

EAGER, SCRIPT, FFLIB = "backpropagation eager", "plain script", "fflib"
LOCAL = tuple(name for name, kind in KINDS.items() if name.startswith(("pair ", "class ")))
COMPILED = tuple(name for name, kind in KINDS.items() if kind.compiled)


def summary(entry: Entry) -> str:
    """Return the lines that are printed after a measurement."""
    machine = entry["machine"]
    lines = [f"{entry['stack']}, {entry['precision']}, {entry['optimizer']}, {machine_words(machine)}"]
    for name, figures in entry["steps"].items():
        low, high = figures["quartiles"]
        references = "".join(f"   {_triple(figures, other)} {other}" for other in figures["ratios"] if other != name)
        lines.append(f"  {name:<41}{figures['milliseconds']:9.4g} ms ({low:.4g} to {high:.4g}){references}")
    if "classification" in entry:
        classification = entry["classification"]
        milliseconds = classification["milliseconds"]
        lines.append(
            f"  classification of {classification['images']} images: fflib {milliseconds['fflib']:.0f} ms, "
            f"pair {milliseconds['pair']:.0f} ms, {_spread(classification['ratio'])} times faster"
        )
    for name, shares in entry.get("operations", {}).items():
        lines.append(f"  {name:<41}" + ", ".join(f"{kind} {100 * share:.0f} %" for kind, share in shares.items()))
    return "\n".join(lines)


def write_page(entries: list[Entry], page: Path = PAGE) -> None:
    """Write all tables of the page.

    Args:
        entries: The measurements.
        page: The page.
    """
    for name, render in TABLES.items():
        write(page, filled(page, name, render(entries)))


def _steps(reference: str, entries: list[Entry]) -> str:
    """Return the tables of the local steps' ratios to a reference, beside the floor."""
    columns = ["stack@batch", "precision", "backpropagation, ms: eager", "compiled",
               *(f"{name}" for name in LOCAL if name.startswith("pair")), "pair, floor",
               *(f"{name}" for name in LOCAL if name.startswith("class")), "class, floor"]  # fmt: skip

    def row(entry: Entry) -> list[str]:
        cells = [entry["stack"], entry["precision"], _milliseconds(entry, EAGER), _milliseconds(entry, COMPILED[0])]
        for method in ("pair", "class"):
            cells += [_ratio(entry, name, reference) for name in LOCAL if name.startswith(method)]
            cells.append(f"{entry['multiply_adds'][method] / entry['multiply_adds']['backpropagation']:.2f}")
        return cells

    return _by_machine(entries, columns, row, lambda entry: any(_ratio(entry, name, reference) for name in LOCAL))


def _floors(entries: list[Entry]) -> str:
    """Return the tables of steps' durations over the arithmetic floor."""
    names = [name for name in KINDS if name not in (PRODUCT, FFLIB)]
    columns = ["stack@batch", "precision", "rate, 10⁹ multiply-adds/s", *names]

    def row(entry: Entry) -> list[str]:
        rate = f"{entry['multiply_adds_per_second'] / 1e9:.0f}"
        return [entry["stack"], entry["precision"], rate, *(_ratio(entry, name, FLOOR) for name in names)]

    return _by_machine(entries, columns, row, lambda entry: entry["multiply_adds_per_second"] is not None)


def _script(entries: list[Entry]) -> str:
    """Return the tables of the plain script's time over the time of the steps of a pair objective."""
    names = [name for name in LOCAL if name.startswith("pair")]
    columns = ["stack@batch", "precision", "plain script, ms", *names]

    def row(entry: Entry) -> list[str]:
        speedups = [_speedup(entry, name, SCRIPT) for name in names]
        return [entry["stack"], entry["precision"], _milliseconds(entry, SCRIPT), *speedups]

    return _by_machine(entries, columns, row, lambda entry: SCRIPT in entry["steps"])


def _fflib(entries: list[Entry]) -> str:
    """Return the tables of fflib's time over this library's."""
    names = [name for name in LOCAL if name.startswith("pair")]
    columns = ["precision", "fflib, ms per step", *names, "fflib, seconds to classify", "classification"]

    def row(entry: Entry) -> list[str]:
        classification = entry["classification"]
        return [
            entry["precision"],
            _milliseconds(entry, FFLIB),
            *(_speedup(entry, name, FFLIB) for name in names),
            f"{classification['milliseconds'][FFLIB] / 1000:.2f} ({classification['images']} images)",
            _spread(classification["ratio"]),
        ]

    return _by_machine(entries, columns, row, lambda entry: "classification" in entry)


def _compilation(entries: list[Entry]) -> str:
    """Return the tables of the seconds that compilation takes."""
    columns = ["stack@batch", "precision", *COMPILED]

    def row(entry: Entry) -> list[str]:
        seconds = (entry["steps"].get(name, {}).get("compilation_seconds") for name in COMPILED)
        return [entry["stack"], entry["precision"], *("" if s is None else f"{s:.1f}" for s in seconds)]

    return _by_machine(entries, columns, row, lambda entry: entry["compiler_start_seconds"] is not None)


def _operations(entries: list[Entry]) -> str:
    """Return the tables of the shares of operations in each step's time, in percent."""
    kinds = list(dict.fromkeys(k for e in entries for shares in e.get("operations", {}).values() for k in shares))
    columns = ["stack@batch", "precision", "step", *kinds]

    def rows(entry: Entry) -> Iterator[list[str]]:
        for name, shares in entry["operations"].items():
            if name != PRODUCT:
                cells = (f"{100 * shares[kind]:.0f}" if kind in shares else "" for kind in kinds)
                yield [entry["stack"], entry["precision"], name, *cells]

    return _by_machine(entries, columns, rows, lambda entry: "operations" in entry)


#: The tables of the page, by the names of their markers.
TABLES: dict[str, Callable[[list[Entry]], str]] = {
    "speed-fastest": partial(_steps, FASTEST),
    "speed-eager": partial(_steps, EAGER),
    "speed-script": _script,
    "speed-fflib": _fflib,
    "speed-floors": _floors,
    "speed-compilation": _compilation,
    "speed-operations": _operations,
}


def _by_machine(
    entries: list[Entry],
    columns: list[str],
    row: Callable[[Entry], Any],
    selects: Callable[[Entry], Any],
) -> str:
    """Return one table per machine, without the columns that are empty in it.

    Args:
        entries: The measurements.
        columns: The headings.
        row: Returns an entry's cells, or yields several rows.
        selects: Whether an entry is part of the table.
    """
    selected = sorted(filter(selects, entries), key=_machine_key)
    parts = []
    for _, group in groupby(selected, _machine_key):
        of_machine = list(group)
        rows = [cells for entry in of_machine for cells in _as_rows(row(entry))]
        filled_columns = [index for index in range(len(columns)) if any(cells[index] for cells in rows)]
        cells = [[cells[index] for index in filled_columns] for cells in rows]
        parts.append(_machine_line(of_machine) + "\n\n" + table([columns[index] for index in filled_columns], cells))
    return "\n\n".join(parts) or "Not measured yet."


def _as_rows(rows: Any) -> Iterable[list[str]]:
    return [rows] if isinstance(rows, list) else rows


def _machine_key(entry: Entry) -> tuple[str, str, int, bool]:
    machine = entry["machine"]
    return machine["device"], machine["cpu"], machine["threads"], entry["reuses_freed_memory"]


def _machine_line(entries: list[Entry]) -> str:
    """Return the description of the machine, versions, rounds and commands."""
    versions = sorted({entry["machine"]["torch"] for entry in entries})
    rounds = sorted({entry["rounds"] for entry in entries})
    commands = dict.fromkeys(entry["command"] for entry in entries)
    memory = ", freed memory reused" if entries[0]["reuses_freed_memory"] else ""
    return (
        f"{machine_words(entries[0]['machine'])}{memory}, torch {', '.join(versions)}, "
        f"{', '.join(map(str, rounds))} rounds; " + ", ".join(f"`{command}`" for command in commands)
    )


def _milliseconds(entry: Entry, name: str) -> str:
    figures = entry["steps"].get(name)
    return "" if figures is None else f"{figures['milliseconds']:.4g}"


def _triple(figures: dict[str, Any], reference: str) -> str:
    return _spread(figures["ratios"][reference])


def _ratio(entry: Entry, name: str, reference: str) -> str:
    """Return a kind's ratio to a reference with its quartiles, "" if it was not measured."""
    ratio = entry["steps"].get(name, {}).get("ratios", {}).get(reference)
    return "" if ratio is None else _spread(ratio)


def _speedup(entry: Entry, name: str, reference: str) -> str:
    """Return a reference's time over a kind's, "" if it was not measured."""
    ratio = entry["steps"].get(name, {}).get("ratios", {}).get(reference)
    return "" if ratio is None else _spread([1 / value for value in reversed(ratio)])


def _spread(values: list[float]) -> str:
    """Return a median with its quartiles."""
    low, median, high = values
    return f"{median:.2f} ({low:.2f}–{high:.2f})"
