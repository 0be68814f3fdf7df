"""The speed benchmark: its arithmetic against counted operations, its ratios against a clock of its own."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import machine, timing
from benchmarks.speed import __main__ as command
from benchmarks.speed import fflib, measure, results, script, stacks, steps, tables
from benchmarks.speed.stacks import Convolutional, Dense, parse
from benchmarks.speed.workload import Workload


@pytest.fixture
def small_product(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (steps, measure):
        monkeypatch.setattr(module, "PRODUCT_SIZE", 32)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the benchmarks read, for functions to advance."""
    now = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])
    return now


@pytest.mark.parametrize(
    ("name", "pair", "per_class"),
    [("784-4x2000@512", 1.31, 0.70), ("784-500-500@128", 1.15, 0.85), ("784-4x100@128", 1.11, 0.92)],
)
def test_the_floors_of_the_design(name: str, pair: float, per_class: float) -> None:
    counts = parse(name).multiply_adds
    assert counts["pair"] / counts["backpropagation"] == pytest.approx(pair, abs=0.006)
    assert counts["class"] / counts["backpropagation"] == pytest.approx(per_class, abs=0.006)


# The Trifecta has learned scales before each convolution. They are applied to its weights, so that their gradient
# takes no product. The small excess is the response to the shifts, computed for one map.
@pytest.mark.parametrize(("name", "excess"), [("40-4x30@16", 1.1), ("mono-conv/10@8", 1.01), ("trifecta-s/16@8", 1.03)])
def test_no_step_computes_fewer_products_than_its_floor(name: str, excess: float) -> None:
    stack = parse(name)
    workload = Workload.random(stack, "cpu", "float32", "sgd")
    for kind in ("backpropagation eager", "pair layerwise", "class layerwise"):
        [step] = steps.make(stack, workload, [kind]).values()
        with FlopCounterMode(display=False) as counter:
            step()
        counted = counter.get_total_flops() / 2
        floor = stack.multiply_adds[steps.KINDS[kind].method]
        if kind == "backpropagation eager":
            assert counted == floor
        else:
            assert floor <= counted <= excess * floor, (kind, counted / floor)


def test_names_of_stacks() -> None:
    dense = parse("784-4x100-50@128")
    assert isinstance(dense, Dense)
    assert (dense.inputs, dense.widths, dense.batch_size) == (784, (100, 100, 100, 100, 50), 128)
    convolutions = parse("trifecta-s/4@64")
    assert isinstance(convolutions, Convolutional)
    assert (convolutions.widths, convolutions.batch_size) == ((32, 32, 64, 64, 64, 128), 64)
    assert all(parse(name).name == name for name in stacks.DEFAULT)


@pytest.mark.parametrize(
    "name",
    ["784@512", "784-500", "784-0@5", "784-5@0", "9-5@5", "mono@5", "nothing@5", "mono-conv/0@5", "mono-conv/99@5"],
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="must"):
        parse(name)


def test_ratios_are_those_of_the_same_round(clock: list[float]) -> None:
    load = iter([1.0, 1.0, 2.0, 5.0, 3.0])

    def slow() -> None:
        clock[0] += 3 * factor[0]

    def fast() -> None:
        clock[0] += 2 * factor[0]

    factor = [0.0]

    def wait() -> None:  # called before and after each turn; the load changes once per round
        waits[0] += 1
        if waits[0] % 4 == 1:
            factor[0] = next(load)

    waits = [0]
    seconds = timing.durations({"slow": slow, "fast": fast}, 3, synchronize=wait)
    assert seconds == {"slow": [6.0, 15.0, 9.0], "fast": [4.0, 10.0, 6.0]}
    assert timing.ratios(seconds["slow"], seconds["fast"]) == [1.5] * 3
    assert timing.median_and_quartiles([5.0, 1.0, 4.0, 2.0, 3.0]) == (3.0, (2.0, 4.0))


def test_short_functions_are_called_several_times_per_turn(clock: list[float]) -> None:
    calls = {"short": 0, "long": 0}

    def function(name: str, seconds: float) -> Callable[[], None]:
        def call() -> None:
            calls[name] += 1
            clock[0] += seconds

        return call

    seconds = timing.durations({"short": function("short", 0.25), "long": function("long", 2.0)}, 3, shortest=1.0)
    assert calls == {"short": timing.WARM_UP + 3 * 4, "long": timing.WARM_UP + 3}
    assert seconds == {"short": [0.25] * 3, "long": [2.0] * 3}


def test_the_script_updates_a_layer_as_written_out_and_relays_what_it_computes_afterwards() -> None:
    stack = parse("12-6@4")
    workload = Workload.random(stack, "cpu", "float32", "sgd")
    layer = script.ScriptLayer(12, 6, workload)
    positive, negative = torch.rand(4, 12), torch.rand(4, 12)
    weight, bias = (p.detach().clone().requires_grad_() for p in (layer.weight, layer.bias))

    def activations(x: torch.Tensor) -> torch.Tensor:
        return (x / (x.square().sum(1, keepdim=True).sqrt() + 1e-4) @ weight.T + bias).clamp(min=0)

    terms = [2 - row.square().mean() for row in activations(positive)]
    terms += [row.square().mean() - 2 for row in activations(negative)]
    sum(torch.log(1 + term.exp()) / 8 for term in terms).backward()  # type: ignore[union-attr]
    following = layer.step(positive, negative, workload)
    for parameter, reference in ((layer.weight, weight), (layer.bias, bias)):
        assert reference.grad is not None
        torch.testing.assert_close(parameter.detach(), reference.detach() - 1e-4 * reference.grad)
    with torch.no_grad():
        torch.testing.assert_close(following[1], layer(negative))


def test_the_label_is_laid_over_the_first_pixels() -> None:
    images = torch.full((2, 12), 0.5)
    expected = images.clone()
    expected[:, :10] = 0
    expected[0, 3] = expected[1, 0] = 0.5
    assert torch.equal(script.overlay(images, torch.tensor([3, 0])), expected)


@pytest.mark.slow
def test_the_command_measures_and_replaces_what_it_measures_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], small_product: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "SHORTEST_TURN", 0.0)
    out = tmp_path / "speed.json"
    kinds = "backpropagation eager,backpropagation channels-last eager,pair layerwise,class layerwise,plain,product"
    words = ["--kinds", kinds, "--rounds", "2", "--threads", "1", "--device", "cpu", "--out", str(out)]
    command.main(["--stacks", "20-3x8@4,mono-conv/20@4", *words])
    printed = capsys.readouterr().out
    command.main(["--stacks", "20-3x8@4", "--precision", "bf16", *words, "--profile"])
    entries = results.read(out)
    assert [(entry["stack"], entry["precision"]) for entry in entries] == [
        ("20-3x8@4", "float32"), ("20-3x8@4", "bf16"), ("mono-conv/20@4", "float32"), ("mono-conv/20@4", "bf16"),
    ]  # fmt: skip
    dense, again, convolutional, _ = entries
    assert printed.startswith("20-3x8@4, float32, sgd, ")
    assert list(dense["steps"]) == [
        "backpropagation eager", "pair layerwise", "class layerwise", "plain script", "product",
    ]  # fmt: skip
    assert "backpropagation channels-last eager" in convolutional["steps"]
    assert "plain script" not in convolutional["steps"]
    assert set(dense["steps"]["pair layerwise"]["ratios"]) == {
        "backpropagation eager", "plain script", "fastest backpropagation", "floor",
    }  # fmt: skip
    assert "operations" not in dense
    assert sum(again["operations"]["pair layerwise"].values()) == pytest.approx(1, abs=0.01)
    assert again["operations"]["product"]["products"] > 0
    assert again["command"].startswith("python -m benchmarks.speed --stacks 20-3x8@4 --precision bf16 --kinds ")
    rendered = {name: render(entries) for name, render in tables.TABLES.items()}
    assert all("20-3x8@4" in rendered[f"speed-{name}"] for name in ("fastest", "eager", "script", "floors"))
    assert "| pair, floor |" in rendered["speed-fastest"]
    assert "pair whole" not in rendered["speed-fastest"]  # it was not measured
    assert rendered["speed-fflib"] == rendered["speed-compilation"] == "Not measured yet."
    other = tmp_path / "other.json"
    command.main(["--merge", str(out), "--out", str(other)])
    assert json.loads(other.read_text()) == json.loads(out.read_text())


def entry(ratio: float) -> dict[str, Any]:
    """Return an entry of which the tables show the time of the script over that of the step."""
    figures = {"milliseconds": 2.0, "quartiles": [1.0, 3.0], "ratios": {"plain script": [ratio / 2, ratio, 2 * ratio]}}
    return {
        "stack": "20-8@4",
        "precision": "bf16",
        "rounds": 3,
        "reuses_freed_memory": True,
        "command": "python -m benchmarks.speed",
        "machine": {"device": "cpu", "cpu": "A CPU", "bf16_units": [], "threads": 2, "cores": 2, "torch": "2.9"},
        "steps": {"plain script": figures, "pair whole": figures},
    }


def test_a_speedup_is_the_inverse_of_a_ratio_with_its_quartiles() -> None:
    lines = tables.TABLES["speed-script"]([entry(0.5)]).splitlines()
    machine = "A CPU, 2 threads, no units for bfloat16, freed memory reused, torch 2.9"
    assert lines[0] == f"{machine}, 3 rounds; `python -m benchmarks.speed`"
    assert lines[-1] == "| 20-8@4 | bf16 | 2 | 2.00 (1.00–4.00) |"


def test_units_for_bfloat16_are_read_from_the_flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text("model name\t: A CPU\nflags\t\t: avx512f amx_bf16 amx_tile\n")
    monkeypatch.setattr(machine, "CPU_INFORMATION", path)
    assert machine.describe_machine("cpu")["cpu"] == "A CPU"
    assert machine.describe_machine("cpu")["bf16_units"] == ["amx_bf16"]
    path.unlink()
    assert machine.describe_machine("cpu")["bf16_units"] is None


def test_the_page_shows_the_results(tmp_path: Path) -> None:
    page = tmp_path / "speed.md"
    page.write_text(tables.PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    tables.write_page(results.read(command.RESULTS), page)
    assert page.read_text(encoding="utf-8") == tables.PAGE.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's compiler
def test_compiled_steps(tmp_path: Path, small_product: None) -> None:
    out = tmp_path / "speed.json"
    words = ["--stacks", "20-8@4", "--precision", "float32", "--rounds", "1", "--device", "cpu", "--out", str(out)]
    command.main(words)
    [measured] = results.read(out)
    compiled = {name for name, figures in measured["steps"].items() if "compilation_seconds" in figures}
    assert compiled == {"backpropagation compiled", "pair whole", "class whole"}
    assert "pair whole" in tables.TABLES["speed-compilation"]([measured])


def test_fflib(small_product: None, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fflib")
    stack = Dense("fflib", (8, 8), 4, 20, appended=True)
    measured = measure.measure(stack, "cpu", "float32", "adam", ["pair layerwise", "fflib", "product"], 1, images=6)
    assert measured["fflib"] == fflib.version()
    assert set(measured["steps"]["pair layerwise"]["ratios"]) == {"fflib", "floor"}
    assert measured["classification"]["images"] == 6
