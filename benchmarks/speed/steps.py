"""The kinds of steps that are compared on a stack."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import forwardforward as ff
from benchmarks.speed.fflib import available, training_step
from benchmarks.speed.script import Script
from benchmarks.speed.stacks import Dense, Stack
from benchmarks.speed.workload import Workload

__all__ = ["KINDS", "PRODUCT", "Kind", "make"]

#: The large product whose rate is that of the arithmetic.
PRODUCT = "product"

#: Steps before a CUDA graph is replayed, in which memory is allocated and algorithms are chosen.
CALLS_TO_RECORD = 3

#: Rows and columns of the large product.
PRODUCT_SIZE = 2048


@dataclass(frozen=True)
class Kind:
    """A kind of step.

    Args:
        method: ``"backpropagation"``, ``"pair"`` or ``"class"``, whose multiply-adds the step computes at least.
        make: Makes the step of a stack with a workload; None if the stack has no such step.
        compiled: Whether the first call compiles.
    """

    method: str
    make: Callable[[Stack, Workload], Callable[[], Any] | None]
    compiled: bool = False


def _local(
    method: str, whole: bool = False, recorded: bool = False
) -> Callable[[Stack, Workload], Callable[[], Any] | None]:
    """Return a function that makes steps of this library: layer by layer, as one compiled function, or in a CUDA graph.

    Args:
        method: ``"pair"`` or ``"class"``.
        whole: Whether to compile the whole step.
        recorded: Whether to record the whole step.
    """

    def make_step(stack: Stack, workload: Workload) -> Callable[[], Any] | None:
        if recorded and not workload.images.is_cuda:
            return None
        model = (stack.pair() if method == "pair" else stack.per_class()).to(workload.images.device)
        optimizer = workload.local_optimizer()
        whole_step = ff.step.WholeStep(compile=whole, cuda_graph=recorded) if whole or recorded else None
        batch = workload.images, workload.labels

        def step() -> None:
            model.step(batch, optimizer, autocast=workload.dtype, whole_step=whole_step, validate=False)

        for _ in range(CALLS_TO_RECORD if recorded else 0):
            step()
        return step

    return make_step


class _CrossEntropy(nn.Module):
    """A network with its loss, so that both are compiled as one function."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the loss."""
        return nn.functional.cross_entropy(self.network(images).float(), labels)


def _backpropagation(compiled: bool, channels_last: bool) -> Callable[[Stack, Workload], Callable[[], Any] | None]:
    """Return a function that makes steps of backpropagation without this library."""

    def make_step(stack: Stack, workload: Workload) -> Callable[[], Any] | None:
        model, images = _CrossEntropy(stack.plain()).to(workload.images.device), workload.images
        if channels_last:
            if images.dim() != 4:
                return None
            model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            images = images.contiguous(memory_format=torch.channels_last)
        optimizer = workload.optimizer_of(model, fused=True)
        loss_of: Callable[..., Tensor] = torch.compile(model, dynamic=False) if compiled else model

        def step() -> None:
            optimizer.zero_grad()
            with workload.autocast():
                loss = loss_of(images, workload.labels)
            loss.backward()
            optimizer.step()

        return step

    return make_step


def _recorded_backpropagation(stack: Stack, workload: Workload) -> Callable[[], Any] | None:
    """Return a step of backpropagation in a CUDA graph, with its update."""
    if not workload.images.is_cuda:
        return None
    step = _backpropagation(compiled=False, channels_last=workload.images.dim() == 4)(stack, workload)
    assert step is not None
    for _ in range(CALLS_TO_RECORD):
        step()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return partial(_replay, graph, step)


def _replay(graph: torch.cuda.CUDAGraph, step: Callable[[], Any]) -> None:
    """Replay a step that was recorded; the graph reads the memory of the step's weights, which must exist."""
    graph.replay()


def _script(stack: Stack, workload: Workload) -> Callable[[], Any] | None:
    """Return a step of the plain script, which has dense layers only."""
    if not isinstance(stack, Dense):
        return None
    script = Script([stack.inputs, *stack.widths], workload)
    return lambda: script.step(workload.images, workload.labels)


def _fflib(stack: Stack, workload: Workload) -> Callable[[], Any] | None:
    """Return a step of fflib, on its own stack and where it is installed; it computes in float32 with Adam."""
    return training_step(stack, workload) if available(stack) else None


def _product(stack: Stack, workload: Workload) -> Callable[[], Any]:
    """Return a large product at the workload's precision."""
    dtype = workload.dtype or torch.float32
    matrices = torch.rand(2, PRODUCT_SIZE, PRODUCT_SIZE, device=workload.images.device).to(dtype)
    result = torch.empty_like(matrices[0])
    return lambda: torch.mm(matrices[0], matrices[1], out=result)


#: The kinds of steps by name, which starts with what the step trains.
KINDS = {
    "backpropagation eager": Kind("backpropagation", _backpropagation(compiled=False, channels_last=False)),
    "backpropagation compiled": Kind("backpropagation", _backpropagation(compiled=True, channels_last=False), True),
    "backpropagation channels-last eager": Kind(
        "backpropagation", _backpropagation(compiled=False, channels_last=True)
    ),
    "backpropagation channels-last compiled": Kind(
        "backpropagation", _backpropagation(compiled=True, channels_last=True), True
    ),
    "backpropagation recorded": Kind("backpropagation", _recorded_backpropagation),
    "pair layerwise": Kind("pair", _local("pair")),
    "pair whole": Kind("pair", _local("pair", whole=True), True),
    "pair recorded": Kind("pair", _local("pair", recorded=True)),
    "class layerwise": Kind("class", _local("class")),
    "class whole": Kind("class", _local("class", whole=True), True),
    "class recorded": Kind("class", _local("class", recorded=True)),
    "plain script": Kind("pair", _script),
    "fflib": Kind("pair", _fflib),
    PRODUCT: Kind(PRODUCT, _product),
}


def make(stack: Stack, workload: Workload, names: Iterable[str]) -> dict[str, Callable[[], Any]]:
    """Return the steps of a stack by kind, without those that it does not have.

    Args:
        stack: The stack.
        workload: Batch, precision and optimizer.
        names: Names of the kinds.
    """
    steps = {}
    for name in names:
        torch.manual_seed(0)
        step = KINDS[name].make(stack, workload)
        if step is not None:
            steps[name] = step
    return steps
