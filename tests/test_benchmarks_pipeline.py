"""The simulation of several processes, against schedules by hand."""

from __future__ import annotations

import itertools
import json

import pytest

from benchmarks.pages import ROOT
from benchmarks.pipeline import page
from benchmarks.pipeline.measure import calculated_bytes
from benchmarks.pipeline.simulation import (
    Layer,
    Network,
    data_parallel_estimate,
    pipeline_estimate,
    simulate_data_parallel,
    simulate_pipeline,
)

#: One second forward, two backward, one second per message.
LAYER = Layer(1.0, 2.0, 1, 1)
FAST = Network(bandwidth=1e12, latency=0.0)
SLOW = Network(bandwidth=1.0, latency=0.0)


def test_one_process_needs_the_sum_of_all_times() -> None:
    for simulate in (simulate_pipeline, simulate_data_parallel, pipeline_estimate, data_parallel_estimate):
        assert simulate([LAYER] * 4, 1, 5, SLOW) == pytest.approx(60.0)


def test_a_pipeline_of_two_by_hand() -> None:
    """The second process begins when the first one's output arrives: after one second forward and one on the way."""
    assert simulate_pipeline([LAYER] * 2, 2, 1, SLOW) == pytest.approx(5.0)
    # then both take three seconds per batch, without gaps
    assert simulate_pipeline([LAYER] * 2, 2, 4, SLOW) == pytest.approx(5.0 + 3 * 3.0)


def test_a_slow_process_stops_those_before() -> None:
    """The first process may be two packets ahead, so that its time is that of the second one."""
    layers = [LAYER, Layer(10.0, 0.0, 1, 1)]
    assert simulate_pipeline(layers, 2, 10, FAST) == pytest.approx(1.0 + 10 * 10.0)


def test_a_sum_is_hidden_behind_the_next_layer() -> None:
    """Two processes take half of the time; only the sum of the last layer is waited for."""
    assert Network(1.0, 0.0).sum_seconds(1, 2) == pytest.approx(1.0)
    assert simulate_data_parallel([LAYER] * 2, 2, 1, SLOW) == pytest.approx(1.5 + 1.5 + 1.0)


@pytest.mark.parametrize(("count", "batches"), [*itertools.product((1, 2, 4, 8), (1, 7, 50))])
def test_the_closed_forms_agree_with_the_simulation_of_equal_layers(count: int, batches: int) -> None:
    layers = [LAYER] * 8
    for simulate, estimate in (
        (simulate_pipeline, pipeline_estimate),
        (simulate_data_parallel, data_parallel_estimate),
    ):
        assert simulate(layers, count, batches, FAST) == pytest.approx(estimate(layers, count, batches, FAST), rel=0.3)


def test_the_tables() -> None:
    row = {
        "stack": "784-8x1000@512", "objective": "class", "kind": "pipeline", "layers": [4, 4],
        "samples_per_second": 190.0, "samples_per_second_of_one": 100.0, "speedup": 1.9,
        "speedup_of_separate_trainings": 1.95,
        "bytes_per_step": {"activations": 2.0**20}, "calculated_bytes": 2**20,
    }  # fmt: skip
    machine = {"device": "cpu", "cpu": "CPU X", "bf16_units": [], "threads": 1, "torch": "2.13.0"}
    lines = page.render_throughput({"machine": machine, "command": "command", "throughput": [row]}).splitlines()
    assert lines[0] == "CPU X, 1 thread, no units for bfloat16, torch 2.13.0; `command`"
    assert "| 784-8x1000@512, class | pipeline (4 + 4 layers) | 100 | 190 | 1.90 | 1.95 | 1.00 | 1.00 |" in lines
    memory = {
        "rows": [
            {"kind": "one process", "bytes": 2**22, "peak_bytes": 2**22},
            {"kind": "data parallel, sharded", "bytes": 2**21, "peak_bytes": 3 * 2**20},
        ]
    }
    assert "| data parallel, sharded | 2 | 0.50 | 3 | 0.75 |" in page.render_memory({"memory": memory})


def test_the_bytes_that_were_sent_are_those_calculated() -> None:
    content = json.loads((ROOT / "benchmarks" / "results" / "distributed.json").read_text(encoding="utf-8"))
    for row in content["throughput"]:
        kind = "activations" if row["kind"] == "pipeline" else "gradients"
        calculated = calculated_bytes(row["stack"], row["objective"], {"runs": row["layers"]}, row["kind"])
        assert row["bytes_per_step"][kind] == calculated == row["calculated_bytes"], row
