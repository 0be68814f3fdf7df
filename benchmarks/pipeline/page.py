"""The tables of docs/several_devices.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.machine import machine_words
from benchmarks.markdown import table
from benchmarks.pages import ROOT, filled, write

__all__ = ["PAGE", "render_memory", "render_simulation", "render_throughput", "write_page"]

PAGE = ROOT / "docs" / "several_devices.md"


def render_throughput(content: Mapping[str, Any]) -> str:
    """Return the table of speedups and message sizes, with the machine and the command."""
    rows = []
    for row in content["throughput"]:
        sent = row["bytes_per_step"]
        measured = sent.get("activations" if row["kind"] == "pipeline" else "gradients", 0.0)
        rows.append(
            [
                f"{row['stack']}, {row['objective']}",
                row["kind"] + (f" ({' + '.join(map(str, row['layers']))} layers)" if row["layers"] else ""),
                f"{row['samples_per_second_of_one']:.0f}",
                f"{row['samples_per_second']:.0f}",
                f"{row['speedup']:.2f}",
                f"{row['speedup_of_separate_trainings']:.2f}",
                f"{measured / 2**20:.2f}",
                f"{row['calculated_bytes'] / 2**20:.2f}",
            ]
        )
    columns = ["network@batch", "kind", "samples/s, one process", "samples/s", "speedup", "separate trainings",
               "MiB per step", "calculated"]  # fmt: skip
    machine = content["machine"]
    setting = f"{machine_words(machine)}, torch {machine['torch']}; `{content['command']}`"
    return f"{setting}\n\n{table(columns, rows)}"


def render_simulation(content: Mapping[str, Any]) -> str:
    """Return the table of simulated and estimated speedups."""
    rows = [
        [
            row["objective"],
            str(row["processes"]),
            *(
                f"{row[name]:.2f}"
                for name in ("pipeline", "pipeline_estimate", "data_parallel", "data_parallel_estimate")
            ),
        ]
        for row in content["simulation"]["rows"]
    ]
    columns = ["objective", "processes", "pipeline", "estimate", "data parallel", "estimate"]
    return table(columns, rows)


def render_memory(content: Mapping[str, Any]) -> str:
    """Return the table of memory per process."""
    rows = content["memory"]["rows"]
    single = rows[0]
    sizes = ("bytes", "peak_bytes")
    return table(
        ["kind", "MiB at the end of a step", "of one process", "MiB at the peak", "of one process"],
        [
            [
                row["kind"],
                *(text for size in sizes for text in (f"{row[size] / 2**20:.0f}", f"{row[size] / single[size]:.2f}")),
            ]
            for row in rows
        ],
    )


def write_page(content: Mapping[str, Any]) -> None:
    """Write the tables into the page."""
    memory = render_memory(content) if "memory" in content else "Not run.\n"
    blocks = {"throughput": render_throughput(content), "memory": memory, "simulation": render_simulation(content)}
    for name, block in blocks.items():
        write(PAGE, filled(PAGE, name, block))
