"""Throughput of trainings by one and by several processes, and the bytes that they send."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any

import torch
import torch.multiprocessing as mp

import forwardforward as ff
from benchmarks.speed.stacks import CLASSES, parse
from forwardforward.data.batching import source
from forwardforward.distributed import DataParallel, Pipeline, layer_seconds, process_group
from forwardforward.distributed.data_parallel import FLAGS

__all__ = [
    "KINDS", "STACKS", "calculated_bytes", "join", "layer_times", "measure", "network", "run_processes", "samples",
    "sizes",
]  # fmt: skip

KINDS = ("one process", "separate trainings", "pipeline", "data parallel")

#: Stack, objective and the kinds that are measured; the goals are those of the issue.
STACKS = (
    ("784-8x1000@512", "class", ("pipeline", "data parallel")),
    ("784-8x1000@512", "pair", ("pipeline", "data parallel")),
    ("mono-conv@128", "class", ("pipeline",)),
    ("mono-conv@512", "class", ("data parallel",)),
)


def network(stack: str, objective: str) -> ff.FFSequential:
    """Return a new network."""
    torch.manual_seed(0)
    parsed = parse(stack)
    return parsed.pair() if objective == "pair" else parsed.per_class()


def samples(stack: str, steps: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return random images and labels of a number of batches."""
    parsed = parse(stack)
    count = steps * parsed.batch_size
    return torch.rand(count, *parsed.input_shape), torch.arange(count) % CLASSES


def train(stack: str, objective: str, steps: int, parallel: Any = None) -> float:
    """Return the seconds of an epoch after a first one."""
    history = ff.fit(
        network(stack, objective),
        samples(stack, steps),
        epochs=2,
        batch_size=parse(stack).batch_size,
        optimizer=ff.LocalOptimizer(torch.optim.SGD, lr=1e-3, momentum=0.9, fused=True),
        progress=False,
        parallel=parallel,
    )
    return float(history[-1]["seconds"])


def measure(stack: str, objective: str, kind: str, ranks: int, steps: int) -> dict[str, Any]:
    """Return samples per second, the layers of each process, and the bytes that a step sends.

    Of separate trainings, which send nothing, the samples of all processes count: what the cores and the memory of the
    machine allow.

    Args:
        stack: Name of the stack, see ``benchmarks.speed``.
        objective: ``"class"`` or ``"pair"``.
        kind: One of :data:`KINDS`.
        ranks: Number of processes, each with one thread.
        steps: Steps of an epoch.
    """
    count = 1 if kind == "one process" else ranks
    reports = ranks if kind == "separate trainings" else 1
    results = run_processes(_rank, count, (stack, objective, kind, count, steps), reports)
    return {**results[0], "samples_per_second": sum(result["samples_per_second"] for result in results)}


def run_processes(
    target: Callable[..., None], count: int, arguments: tuple[Any, ...], reports: int
) -> list[dict[str, Any]]:
    """Run a function in new processes, and return what it puts into the queue.

    Args:
        target: ``(rank, *arguments, port, queue)``.
        count: Number of processes.
        arguments: Its other arguments.
        reports: Number of results in the queue.
    """
    context = mp.get_context("spawn")
    queue = context.Queue()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    processes = [context.Process(target=target, args=(rank, *arguments, port, queue)) for rank in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise RuntimeError(f"a process of the measurement failed: {[process.exitcode for process in processes]}")
    return [queue.get() for _ in range(reports)]


def join(rank: int, count: int, port: int) -> None:
    """Set the variables that torchrun sets."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(count), "LOCAL_RANK": str(rank)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "LOCAL_WORLD_SIZE": str(count)}


def _rank(rank: int, stack: str, objective: str, kind: str, count: int, steps: int, port: int, queue: Any) -> None:
    torch.set_num_threads(1)
    result: dict[str, Any] = {}
    if kind in ("one process", "separate trainings"):
        result["seconds"] = train(stack, objective, steps)
    else:
        join(rank, count, port)
        with process_group(start_timeout=60) as ranks:
            parallel = Pipeline(ranks) if kind == "pipeline" else DataParallel(ranks)
            result["seconds"] = train(stack, objective, steps, parallel)
            result["runs"] = [len(run) for run in parallel.runs] if isinstance(parallel, Pipeline) else None
            result["bytes_per_step"] = {name: size / (2 * steps) for name, size in ranks.bytes_sent.items()}
    if rank == 0 or kind == "separate trainings":
        result["samples_per_second"] = steps * parse(stack).batch_size / result["seconds"]
        queue.put(result)


def layer_times(stack: str, objective: str) -> list[float]:
    """Return the seconds of each layer's forward, backward and update in this process."""
    model = network(stack, objective)
    optimizer = ff.LocalOptimizer(torch.optim.SGD, lr=1e-3, momentum=0.9, fused=True).attach(model)
    images, labels = samples(stack, 1)
    model.prepare(images[:2], validate=False)
    if model.preprocessing.needs_fit:
        model.preprocessing.fit([images])
    data = source((images, labels), len(images), model.device, model.dtype)
    return layer_seconds(model, optimizer, data)


def sizes(stack: str, objective: str) -> list[dict[str, int]]:
    """Return the bytes of each layer's parameters and output, as calculated from their shapes."""
    model, parsed = network(stack, objective), parse(stack)
    rows = parsed.batch_size * (2 if objective == "pair" else 1)
    outputs = model.activations(torch.rand(2, *parsed.input_shape))
    return [
        {
            "parameters": sum(4 * p.numel() for p in layer.parameters()),
            "activations": 4 * rows * outputs[index][0].numel(),
        }
        for index, layer in enumerate(model.stack)
    ]


def calculated_bytes(stack: str, objective: str, result: dict[str, Any], kind: str) -> int:
    """Return the bytes that rank 0 sends per step, without statistics, as calculated from shapes."""
    layers = sizes(stack, objective)
    if kind == "pipeline":
        return layers[result["runs"][0] - 1]["activations"]
    figures = 4 * (4 + len(FLAGS))  # loss, mean goodness of the true and of the other class, accuracy
    return sum(layer["parameters"] + figures for layer in layers)
