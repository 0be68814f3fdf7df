"""Measurement of all kinds of steps of one stack at one precision."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.machine import empty_compiler_cache, start_compiler
from benchmarks.speed import fflib
from benchmarks.speed.operations import shares
from benchmarks.speed.stacks import Stack
from benchmarks.speed.steps import KINDS, PRODUCT, PRODUCT_SIZE, make
from benchmarks.speed.workload import Workload
from benchmarks.timing import durations, median_and_quartiles, ratios

__all__ = ["FASTEST", "FLOOR", "measure"]

#: Name of the faster one of backpropagation's steps, the reference of ratios.
FASTEST = "fastest backpropagation"

#: Name of the arithmetic floor, the reference of ratios: a method's multiply-adds at the rate of a large product.
FLOOR = "floor"

#: Shortest duration of a kind's turn, in seconds.
SHORTEST_TURN = 0.02

#: Kinds to which the others are compared, beside FASTEST and FLOOR.
REFERENCES = ("backpropagation eager", "plain script", "fflib")

#: Steps in a profile.
PROFILED_STEPS = 5


def measure(
    stack: Stack,
    device: str,
    precision: str,
    optimizer: str,
    kinds: Iterable[str],
    rounds: int,
    images: int,
    profile: bool = False,
) -> dict[str, Any]:
    """Return the durations of a stack's steps, and their ratios to the references.

    Args:
        stack: The stack.
        device: Device.
        precision: Compute precision.
        optimizer: Optimizer of all steps.
        kinds: Names of the kinds of steps.
        rounds: Number of rounds.
        images: Number of images to classify, on fflib's stack.
        profile: Whether to measure which share of each step's time its operations take.
    """
    torch.manual_seed(0)
    workload = Workload.random(stack, device, precision, optimizer)
    synchronize = torch.cuda.synchronize if workload.images.is_cuda else None
    steps = make(stack, workload, kinds)
    compiles = any(KINDS[name].compiled for name in steps)
    with empty_compiler_cache() if compiles else contextlib.nullcontext():
        start = start_compiler(device) if compiles else None
        first_calls = {name: _first_call(steps[name], synchronize) for name in steps if KINDS[name].compiled}
        seconds = durations(steps, rounds, SHORTEST_TURN, synchronize)
        operations = {name: shares(step, PROFILED_STEPS) for name, step in steps.items()} if profile else None
    result: dict[str, Any] = {
        "multiply_adds": stack.multiply_adds,
        "multiply_adds_per_second": _rounded(_rate(seconds)) if PRODUCT in seconds else None,
        "compiler_start_seconds": _rounded(start),
        "steps": {name: _figures(name, stack, seconds, first_calls.get(name)) for name in seconds},
    }
    if operations is not None:
        result["operations"] = operations
    if fflib.available(stack) and "fflib" in steps:
        result["fflib"] = fflib.version()
        result["classification"] = _classification(stack, workload, images, rounds, synchronize)
    return result


def _first_call(step: Callable[[], Any], synchronize: Callable[[], Any] | None) -> float:
    """Return the seconds of a step's first call, nearly all of which is compilation."""
    start = time.perf_counter()
    step()
    if synchronize is not None:
        synchronize()
    return time.perf_counter() - start


def _rate(seconds: Mapping[str, Sequence[float]]) -> float:
    """Return the multiply-adds per second of the large product."""
    return float(PRODUCT_SIZE**3 / median_and_quartiles(seconds[PRODUCT])[0])


def _figures(
    name: str, stack: Stack, seconds: Mapping[str, Sequence[float]], first_call: float | None
) -> dict[str, Any]:
    """Return the median and quartiles of a kind's durations, and of their ratios to the references."""
    median, quartiles = median_and_quartiles(seconds[name])
    figures: dict[str, Any] = {
        "milliseconds": _rounded(1000 * median),
        "quartiles": [_rounded(1000 * value) for value in quartiles],
    }
    if first_call is not None:
        figures["compilation_seconds"] = _rounded(first_call - median)
    references = {reference: seconds[reference] for reference in REFERENCES if reference in seconds}
    baselines = [values for other, values in seconds.items() if KINDS[other].method == "backpropagation"]
    if baselines:
        references[FASTEST] = min(baselines, key=lambda values: median_and_quartiles(values)[0])
    if PRODUCT in seconds and name != PRODUCT:
        products = stack.multiply_adds[KINDS[name].method] / PRODUCT_SIZE**3
        references[FLOOR] = [products * duration for duration in seconds[PRODUCT]]
    figures["ratios"] = {
        reference: [_rounded(value) for value in _quartiles_and_median(ratios(seconds[name], values))]
        for reference, values in references.items()
        if name != PRODUCT
    }
    return figures


def _quartiles_and_median(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the first quartile, the median and the third quartile."""
    median, (low, high) = median_and_quartiles(values)
    return low, median, high


def _classification(
    stack: Stack, workload: Workload, images: int, rounds: int, synchronize: Callable[[], Any] | None
) -> dict[str, Any]:
    """Return the durations of classification by fflib and by this library, and their ratio."""
    device = workload.images.device
    data, model = torch.rand(images, *stack.input_shape, device=device), stack.pair().to(device)
    model.compile_scoring()

    def predict() -> Tensor:
        with workload.autocast():
            return model.predict(data)

    functions = {"fflib": fflib.classification(stack, data), "pair": predict}
    seconds = durations(functions, rounds, synchronize=synchronize)
    return {
        "images": images,
        "milliseconds": {name: _rounded(1000 * median_and_quartiles(values)[0]) for name, values in seconds.items()},
        "ratio": [_rounded(value) for value in _quartiles_and_median(ratios(seconds["fflib"], seconds["pair"]))],
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
