"""Shares of a step's time by kind of operation, from torch's profiler."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

__all__ = ["CATEGORIES", "shares"]

#: Kinds of operations, by patterns of their names; the first match counts.
CATEGORIES = {
    "products": r"(add|b)?mm\b|matmul|linear|gemm",
    "convolutions": r"conv",
    "updates": r"_fused_(sgd|adam)|Optimizer",
    "pooling": r"pool",
    "batch normalization": r"batch_norm",
    "copies and fills": r"copy|clone|contiguous|fill|zero|\bcat\b|index|_to_copy|\bto\b|empty",
    "compiled code between": r"Compiled|inductor|triton|AOTAutograd|graph_",
}


def shares(step: Callable[[], Any], calls: int) -> dict[str, float]:
    """Return the share of each kind of operation in a step's time, the largest first.

    Args:
        step: The step.
        calls: Number of its calls in the profile.
    """
    activities = [ProfilerActivity.CPU]
    on_device = torch.cuda.is_available()
    if on_device:
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities) as profiler:
        for _ in range(calls):
            step()
        if on_device:
            torch.cuda.synchronize()
    totals: dict[str, float] = defaultdict(float)
    device_time = sum(event.self_device_time_total for event in profiler.key_averages())
    for event in profiler.key_averages():
        totals[_category(event.key)] += event.self_device_time_total if device_time else event.self_cpu_time_total
    total = sum(totals.values())
    ordered = sorted(totals.items(), key=lambda entry: -entry[1])
    return {name: round(value / total, 3) for name, value in ordered if value}


def _category(operation: str) -> str:
    """Return the kind of an operation."""
    for name, pattern in CATEGORIES.items():
        if re.search(pattern, operation):
            return name
    return "others"
