"""Throughput of several processes over that of one, message sizes, memory, and a simulation of more processes.

    python -m benchmarks.pipeline                  measure with 2 processes of 1 thread on the CPU, then simulate
    python -m benchmarks.pipeline --simulate       only simulate, from the times of an earlier measurement
    python -m benchmarks.pipeline --memory         only measure the memory, and keep the other results
    python -m benchmarks.pipeline --stacks 784-8x1000@512 --steps 20 --rounds 1

Each round trains with one process and with several in turn, an epoch of --steps steps after a first one that is not
timed. As many separate trainings at once, without messages, show what the machine allows. The bytes that rank 0 sends
per step are compared with those calculated from the shapes. The simulation follows the order of events with the
measured time of each layer, a third of it forward, and a connection of --gigabits and --microseconds; it is compared
with a closed form. Results are written to benchmarks/results/distributed.json, and the tables to
docs/several_devices.md. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.command_line import Parser, bounded, one_line_errors, several
from benchmarks.machine import describe_machine
from benchmarks.pages import ROOT, write
from benchmarks.pipeline import measure, memory, page
from benchmarks.pipeline.simulation import (
    Layer,
    Network,
    data_parallel_estimate,
    pipeline_estimate,
    simulate_data_parallel,
    simulate_pipeline,
)

#: Numbers of processes that are simulated, and batches of an epoch of 60,000 samples.
PROCESSES = (2, 8, 64)
BATCHES = 118

#: Layers of the simulated network, each as the last layer of the measured one.
DEPTH = 64


def measured(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the throughput of each stack and kind."""
    rows = []
    for stack, objective, kinds in measure.STACKS:
        if options.stacks and stack not in options.stacks:
            continue
        kinds_and_limit = ("one process", "separate trainings", *kinds)
        results: dict[str, list[dict[str, Any]]] = {kind: [] for kind in kinds_and_limit}
        for _ in range(options.rounds):
            for kind, rounds in results.items():
                rounds.append(measure.measure(stack, objective, kind, options.ranks, options.steps))
        single = [result["samples_per_second"] for result in results["one process"]]
        separate = [result["samples_per_second"] for result in results["separate trainings"]]
        limit = statistics.median(several / one for several, one in zip(separate, single, strict=True))
        for kind in kinds:
            throughput = [result["samples_per_second"] for result in results[kind]]
            ratios = [several / one for several, one in zip(throughput, single, strict=True)]
            row = {
                "stack": stack,
                "objective": objective,
                "kind": kind,
                "processes": options.ranks,
                "layers": results[kind][0]["runs"],
                "samples_per_second": statistics.median(throughput),
                "samples_per_second_of_one": statistics.median(single),
                "speedup": statistics.median(ratios),
                "speedups": ratios,
                "speedup_of_separate_trainings": limit,
                "bytes_per_step": results[kind][0]["bytes_per_step"],
                "calculated_bytes": measure.calculated_bytes(stack, objective, results[kind][0], kind),
            }
            rows.append(row)
            print(
                f"{stack} {objective}, {kind}: {row['speedup']:.2f} times one process, separate trainings {limit:.2f}",
                flush=True,
            )
    return rows


def memory_rows(options: argparse.Namespace) -> dict[str, Any]:
    """Return the memory that a training takes in one process, by kind."""
    rows = [{"kind": kind, **memory.measure_memory(kind, options.ranks)} for kind in memory.KINDS]
    for row in rows:
        print(f"{memory.STACK}, {row['kind']}: {row['bytes'] / 2**20:.0f} MiB per process", flush=True)
    return {
        "command": f"python -m benchmarks.pipeline --memory --ranks {options.ranks}",
        "machine": describe_machine("cpu"),
        "stack": memory.STACK,
        "rows": rows,
    }


def layer_rows(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the measured time and the sizes of each layer."""
    rows = []
    for stack, objective, _ in measure.STACKS:
        if options.stacks and stack not in options.stacks:
            continue
        seconds = measure.layer_times(stack, objective)
        layers = [
            {"seconds": value, **size} for value, size in zip(seconds, measure.sizes(stack, objective), strict=True)
        ]
        rows.append({"stack": stack, "objective": objective, "layers": layers})
    return rows


def simulated(content: dict[str, Any], options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the simulated and estimated speedups of a deep network of equal layers."""
    rows = []
    network = Network(options.gigabits * 1e9 / 8, options.microseconds * 1e-6)
    for entry in content["layers"]:
        if not entry["stack"].startswith("784"):
            continue
        last = entry["layers"][-1]
        layer = Layer(last["seconds"] / 3, last["seconds"] * 2 / 3, last["activations"], last["parameters"])
        layers = [layer] * DEPTH
        one = BATCHES * sum(each.forward + each.rest for each in layers)
        for count in PROCESSES:
            rows.append(
                {
                    "objective": entry["objective"],
                    "processes": count,
                    "pipeline": one / simulate_pipeline(layers, count, BATCHES, network),
                    "pipeline_estimate": one / pipeline_estimate(layers, count, BATCHES, network),
                    "data_parallel": one / simulate_data_parallel(layers, count, BATCHES, network),
                    "data_parallel_estimate": one / data_parallel_estimate(layers, count, BATCHES, network),
                }
            )
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, simulate, and write results and page."""
    parser = Parser(prog="python -m benchmarks.pipeline", description=__doc__)
    parser.add_argument("--ranks", type=bounded(int, 2, 64), default=2, help="processes, each with one thread")
    parser.add_argument("--steps", type=bounded(int, 2), default=60, help="steps of the timed epoch")
    parser.add_argument("--rounds", type=bounded(int, 1), default=5)
    parser.add_argument("--stacks", type=several(str), default=(), metavar="STACK,...", help="default: all")
    parser.add_argument("--gigabits", type=bounded(float, 0.001), default=100.0, help="bandwidth of the simulation")
    parser.add_argument("--microseconds", type=bounded(float, 0.0), default=20.0, help="latency of the simulation")
    parser.add_argument("--memory", action="store_true", help="measure only the memory")
    parser.add_argument("--simulate", action="store_true", help="use the times of an earlier measurement")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "distributed.json")
    options = parser.parse_args(arguments)
    with one_line_errors(parser.prog, "--steps"):
        torch.set_num_threads(1)
        if options.simulate or options.memory:
            content = json.loads(options.out.read_text(encoding="utf-8"))
        else:
            content = {
                "command": f"python -m benchmarks.pipeline --ranks {options.ranks} --steps {options.steps} "
                f"--rounds {options.rounds}",
                "machine": describe_machine("cpu"),
                "layers": layer_rows(options),
                "throughput": measured(options),
            }
        if not options.simulate:
            content["memory"] = memory_rows(options)
        content["simulation"] = {
            "gigabits_per_second": options.gigabits,
            "latency_microseconds": options.microseconds,
            "layers": DEPTH,
            "batches": BATCHES,
            "rows": simulated(content, options),
        }
        write(options.out, json.dumps(content, indent=2) + "\n")
        if options.out.parent == ROOT / "benchmarks" / "results":
            page.write_page(content)


if __name__ == "__main__":
    main()
