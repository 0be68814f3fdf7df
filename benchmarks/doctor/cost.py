"""What the figures of the diagnosis cost: CPU time of the probe of dead units and weights against that of a step.

    python -m benchmarks.doctor.cost     writes benchmarks/results/doctor_cost.json, a minute on one core

The figures are computed once per epoch. Their share of an epoch is that of their time in the time of all steps of the
epoch and their own, for the number of training samples in the last column. CPU time of one thread, since it depends
little on what else the machine does; the median of several runs.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable

import torch

from benchmarks.machine import describe_machine
from benchmarks.pages import ROOT, write
from forwardforward.data import TensorData
from forwardforward.data.batching import source
from forwardforward.recipes import get
from forwardforward.training.activity import dead_units, weight_changes, weight_samples

#: Recipe, data set whose settings it takes, shape of an input, and number of training samples of the data set.
CASES = (
    ("mono", "digits", (1, 8, 8), 1_077),
    ("hinton", "digits", (1, 8, 8), 1_077),
    ("mono", "mnist", (1, 28, 28), 50_000),
    ("mono-conv", "cifar10", (3, 32, 32), 45_000),
)


def seconds(function: Callable[[], object], repetitions: int) -> float:
    """Return the median CPU time of a call."""
    times = []
    for _ in range(repetitions):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return statistics.median(times[1:])  # the first is a warm-up


def measure(name: str, data: str, shape: tuple[int, ...], samples: int) -> dict[str, object]:
    """Return the times of one recipe."""
    torch.manual_seed(0)
    recipe = get(name).for_dataset(data)
    model = recipe.model(shape, 10)
    images, labels = torch.rand(512, *shape), torch.arange(512) % 10
    model.preprocessing.fit([images])
    optimizer = recipe.local_optimizer().attach(model)
    batch = images[: recipe.batch_size], labels[: recipe.batch_size]
    tensors = source(TensorData(images, labels), recipe.batch_size, torch.device("cpu"))
    before = weight_samples(model)

    def figures() -> None:
        dead_units(model, tensors)
        weight_changes(before, weight_samples(model))

    step = seconds(lambda: model.step(batch, optimizer, validate=False), 12)
    probe = seconds(figures, 12)
    steps = -(-samples // recipe.batch_size)
    share = probe / (probe + steps * step)
    return {"recipe": name, "data": data, "samples": samples, "steps": steps, "step_ms": round(1000 * step, 3),
            "figures_ms": round(1000 * probe, 3), "share_percent": round(100 * share, 2)}  # fmt: skip


def main() -> None:
    """Measure every case, and write the results."""
    torch.set_num_threads(1)
    rows = [measure(*case) for case in CASES]
    for row in rows:
        print(row)
    content = {"command": "python -m benchmarks.doctor.cost", "machine": describe_machine("cpu"), "rows": rows}
    write(ROOT / "benchmarks" / "results" / "doctor_cost.json", json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
