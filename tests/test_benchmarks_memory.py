"""The memory benchmark's meter, against bytes counted by hand."""

from __future__ import annotations

import gc
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch


@pytest.fixture(scope="module")
def memory() -> ModuleType:
    path = Path(__file__).parents[1] / "benchmarks" / "memory.py"
    if not path.exists():
        pytest.skip("benchmarks are not here")
    spec = importlib.util.spec_from_file_location("memory", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_was_freed_does_not_count_and_views_count_once(memory: ModuleType) -> None:
    x = torch.ones(10)
    with memory.Meter() as meter:
        a = x * 2  # 40 bytes
        b = a.view(2, 5)  # none
        del a, b
        c = torch.cat([x, x, x])  # 120
        d = c + 1  # 120
        c.add_(d)  # none
        x.add_(1)
        del c
        e = d[:10].clone()  # 40
    peak, alive = meter.peak()
    assert peak == 240
    assert [made.bytes for made in alive] == [120, 120]
    assert {made.by for made in alive} == {"aten.cat.default", "aten.add.Tensor"}
    assert [meter.made[abs(event)].bytes * (1 if event > 0 else -1) for event in meter.events] == [
        40, -40, 120, 120, -120, 40,
    ]  # fmt: skip
    del d, e
    gc.collect()


def test_a_step_by_hand(memory: ModuleType) -> None:
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

    peak, alive = memory.activation_peak(model, step)
    # z, h and the output live throughout step(), the ones and then two gradients of h's size with them
    z = h = 16 * 8 * 4
    out = ones = 16 * 2 * 4
    assert peak == z + h + out + ones + 2 * h
    assert sum(made.bytes for made in alive) == peak


def test_gradients_of_parameters_are_apart(memory: ModuleType) -> None:
    layer = torch.nn.Linear(100, 1, bias=False)
    x = torch.randn(2, 100)

    def step() -> None:
        layer.zero_grad()
        layer(x).sum().backward()

    peak, alive = memory.activation_peak(layer, step)
    assert peak < 100 * 4
    assert all(made.shape != (1, 100) for made in alive)


def test_layers_take_no_more_memory_the_more_there_are(memory: ModuleType) -> None:
    torch.manual_seed(0)
    images, labels = torch.randn(2, 3, 32, 32), torch.randint(10, (2,))
    few, many = (memory.measure([10] * depth, (), images, labels) for depth in (3, 6))
    for name in ("class groups", "learned projection", "pair", "pair, overlapping"):
        assert many[name]["tensors"] < 1.001 * few[name]["tensors"], name
    assert many["backpropagation"]["tensors"] > 1.5 * few["backpropagation"]["tensors"]
