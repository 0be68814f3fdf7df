"""The memory benchmark's meter, against bytes counted by hand."""

from __future__ import annotations

import gc

import torch

from benchmarks import memory


def test_what_was_freed_does_not_count_and_views_count_once() -> None:
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

    peak, storages = memory.activation_peak(model, step)
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

    peak, storages = memory.activation_peak(layer, step)
    assert peak < 100 * 4
    assert all(storage.shape != (1, 100) for storage in storages)


def test_layers_take_no_more_memory_the_more_there_are() -> None:
    torch.manual_seed(0)
    images, labels = torch.randn(2, 3, 32, 32), torch.randint(10, (2,))
    few, many = (memory.measure([10] * depth, (), images, labels) for depth in (3, 6))
    for name in ("class groups", "learned projection", "pair", "pair, overlapping"):
        assert many[name]["tensors"] < 1.001 * few[name]["tensors"], name
    assert many["backpropagation"]["tensors"] > 1.5 * few["backpropagation"]["tensors"]
