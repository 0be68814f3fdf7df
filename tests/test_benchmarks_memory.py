"""The memory benchmark's meter, against bytes counted by hand."""

from __future__ import annotations

import gc
import json
from pathlib import Path

import pytest
import torch

from benchmarks.memory import __main__ as command
from benchmarks.memory import measure, meters, steps, tables


def test_what_was_freed_does_not_count_and_views_count_once() -> None:
    x = torch.ones(10)
    with meters.Meter() as meter:
        a = x * 2  # 40 bytes
        b = a.view(2, 5)  # none
        del a, b
        c = torch.cat([x, x, x])  # 120
        d = c + 1  # 120
        c.add_(d)  # none
        x.add_(1)
        del c
        e = d[:10].clone()  # 40
    peak, storages = meter.peak()
    assert peak == 240
    assert [storage.bytes for storage in storages] == [120, 120]
    assert {storage.operation for storage in storages} == {"aten.cat.default", "aten.add.Tensor"}
    assert [meter.storages[abs(event)].bytes * (1 if event > 0 else -1) for event in meter.events] == [
        40, -40, 120, 120, -120, 40,
    ]  # fmt: skip
    del d, e
    gc.collect()


def test_a_step_by_hand() -> None:
    """Two dense layers: the input (not made in the step), z, h, the output; their gradients on the way back."""
    first = torch.nn.Linear(4, 8, bias=False)
    second = torch.nn.Linear(8, 2, bias=False)
    model = torch.nn.Sequential(first, torch.nn.ReLU(), second)
    x = torch.randn(16, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step() -> None:
        optimizer.zero_grad()
        z = first(x)
        h = z.relu()
        out = second(h)
        out.backward(torch.ones_like(out))
        optimizer.step()

    peak, storages = meters.activation_peak(model, step)
    # z, h and the output live throughout step(), the ones and then two gradients of h's size with them
    z = h = 16 * 8 * 4
    out = ones = 16 * 2 * 4
    assert peak == z + h + out + ones + 2 * h
    assert sum(storage.bytes for storage in storages) == peak


def test_gradients_of_parameters_are_apart() -> None:
    layer = torch.nn.Linear(100, 1, bias=False)
    x = torch.randn(2, 100)

    def step() -> None:
        layer.zero_grad()
        layer(x).sum().backward()

    peak, storages = meters.activation_peak(layer, step)
    assert peak < 100 * 4
    assert all(storage.shape != (1, 100) for storage in storages)


def test_the_allocator_sees_what_the_meter_sees() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(40, 80), torch.nn.ReLU(), torch.nn.Linear(80, 20))
    x, optimizer = torch.randn(64, 40), torch.optim.SGD(model.parameters(), lr=0.1)

    def step() -> None:
        optimizer.zero_grad()
        model(x).square().sum().backward()
        optimizer.step()

    recorded, _ = meters.activation_peak(model, step)
    assert meters.allocator_peak(model, step) == pytest.approx(recorded, rel=0.05)


def test_a_peak_of_the_allocator_by_hand() -> None:
    events = [(1, 100), (2, 40), (9, -70), (1, -100), (3, 60), (1, 30), (2, -40), (4, 5)]  # 9 existed before
    as_written = [{"Addr": address, "Bytes": number} for address, number in events]
    assert meters.peak_of_events(as_written, []) == 140
    assert meters.peak_of_events(as_written, [3]) == 140
    assert meters.peak_of_events(as_written, [2]) == 140  # it is freed before the end
    assert meters.peak_of_events(as_written[4:], [3]) == 35


@pytest.mark.slow
def test_layers_take_no_more_memory_the_more_there_are() -> None:
    torch.manual_seed(0)
    batch = torch.randn(4, 3, 32, 32), torch.randint(10, (4,))
    few, many = (measure.measure([10] * depth, (), batch, micro_batches=[2]) for depth in (3, 6))
    for name in ("class groups", "learned projection", "pair", "pair, overlapping"):
        assert many[name]["tensors"] < 1.001 * few[name]["tensors"], name
    for name in ("backpropagation", "deep supervision"):
        assert many[name]["tensors"] > 1.5 * few[name]["tensors"]
    assert many["backpropagation, 2 micro-batches"]["tensors"] < 0.75 * many["backpropagation"]["tensors"]
    assert many["backpropagation, checkpointed"]["tensors"] < 0.8 * many["backpropagation"]["tensors"]
    assert 1 < many["backpropagation, checkpointed"]["segments"] <= 7


def test_checkpointing_gives_the_gradients_of_backpropagation() -> None:
    batch = torch.randn(4, 3, 32, 32), torch.randint(10, (4,))
    [plain] = steps.make_steps([10, 10, 10], (1,), batch)["backpropagation"]
    checkpointed = steps.checkpointed([10, 10, 10], (1,), 2, batch)
    checkpointed.model.load_state_dict(plain.model.state_dict())
    gradients = []
    for step in (plain, checkpointed):
        step.run()
        gradients.append([p.grad for p in step.model.parameters()])
    torch.testing.assert_close(*gradients)


@pytest.mark.slow
def test_the_command_and_its_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "DEEP", command.DEEP.replace(widths=(10, 10)))
    out = tmp_path / "memory.json"
    words = ["--images", "2", "--width", "10", "--depths", "2", "--trifecta-width", "0.01", "--micro-batches", "2"]
    command.main(
        [*words, "--rounds", "1", "--compile-depth", "0", "--device", "cpu", "--threads", "1", "--out", str(out)]
    )
    content = json.loads(out.read_text(encoding="utf-8"))
    assert content["trifecta_deep"]["pair"]["bound"] == 0.9
    page = tmp_path / "memory.md"
    page.write_text(tables.PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    tables.write_page(out, page)
    peak = content["equal_width"]["depths"]["2"]["pair"]["tensors"] / 2**20
    assert f"| pair | {peak:.1f} |" in page.read_text(encoding="utf-8")


def test_the_page_shows_the_results(tmp_path: Path) -> None:
    page = tmp_path / "memory.md"
    page.write_text(tables.PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    tables.write_page(command.RESULTS, page)
    assert page.read_text(encoding="utf-8") == tables.PAGE.read_text(encoding="utf-8")
