"""The file of results: one entry per device, stack, precision and optimizer."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.pages import write

__all__ = ["Entry", "add", "read"]

Entry = dict[str, Any]


def read(path: Path) -> list[Entry]:
    """Return the entries of a file, none if it does not exist."""
    if not path.exists():
        return []
    entries: list[Entry] = json.loads(path.read_text(encoding="utf-8"))["measurements"]
    return entries


def add(path: Path, entries: Iterable[Entry]) -> None:
    """Add entries to a file, in place of those of the same device, stack, precision and optimizer.

    Args:
        path: The file.
        entries: The new entries.
    """
    merged = {_key(entry): entry for entry in read(path)}
    merged |= {_key(entry): entry for entry in entries}
    write(path, json.dumps({"measurements": list(merged.values())}, indent=1) + "\n")


def _key(entry: Entry) -> tuple[str, ...]:
    machine = entry["machine"]
    place = machine["cpu"] if machine["device"] == "cpu" else machine["device"]
    return place, entry["stack"], entry["precision"], entry["optimizer"]
