"""Columns of the Trifecta's studies: figures of a cell beside its accuracy."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.cells import Content
from benchmarks.trifecta.parts import SHALLOW

Column = Callable[[Content], float | None]


def seconds_per_epoch(content: Content) -> float | None:
    """Return the median time of an epoch."""
    seconds = content.get("history", {}).get("seconds")
    return statistics.median(seconds) if seconds else None


def entry(name: str, layer: int | None = None) -> Column:
    """Return a function from a cell to an entry of its result, or to one layer's value of it."""

    def value(content: Content) -> float | None:
        values: Any = content["result"].get(name)
        return values if values is None or layer is None else values[layer]

    return value


def layer_accuracy(layer: int) -> Column:
    """Return a function from a cell to the test accuracy by one layer's goodness."""

    def value(content: Content) -> float | None:
        errors = content["result"].get("layer_errors")
        return None if errors is None else 100 - errors[layer]

    return value


def last_separation(layer: int) -> Column:
    """Return a function from a cell to a layer's separation in the last epoch in which it was updated."""

    def value(content: Content) -> float | None:
        values = [layers[layer] for layers in content["history"].get("separation", [])]
        known = [value for value in values if value is not None]
        return known[-1] if known else None

    return value


def head_accuracy(content: Content) -> float | None:
    """Return the accuracy of the head that was trained along."""
    error = content["result"].get("head_error")
    return None if error is None else 100 - float(error)


def layer_lead(layer: int, other: int) -> Column:
    """Return a function from a cell to the test accuracy by one layer's goodness minus that by another layer's."""

    def value(content: Content) -> float | None:
        errors = content["result"].get("layer_errors")
        return None if errors is None else errors[other] - errors[layer]

    return value


def excess(name: str, other: str) -> Column:
    """Return a function from a cell to an entry of its result minus another one."""

    def value(content: Content) -> float | None:
        first, second = (content["result"].get(entry) for entry in (name, other))
        return None if first is None or second is None else first - second

    return value


def gradient_norms(content: Content, layer: int) -> list[float]:
    """Return the norms of a layer's gradient in single steps."""
    records = content.get("records", {}).get("step_norms", [])
    return [record[1 + layer] for record in records if record[1 + layer] is not None]


def gradient_variation(layer: int) -> Column:
    """Return a function from a cell to the standard deviation of a layer's gradient norms, over their mean."""

    def value(content: Content) -> float | None:
        norms = gradient_norms(content, layer)
        return statistics.stdev(norms) / statistics.mean(norms) if len(norms) > 1 and any(norms) else None

    return value


def gradient_size(layer: int) -> Column:
    """Return a function from a cell to the logarithm to base 10 of the mean of a layer's gradient norms."""

    def value(content: Content) -> float | None:
        norms = gradient_norms(content, layer)
        return math.log10(statistics.mean(norms)) if any(norms) else None

    return value


def loss_of_features(content: Content) -> float | None:
    """Return the accuracy of a classifier on the first layer's frozen features minus that on the last layer's."""
    accuracies = content["result"].get("probe_accuracy")
    return None if accuracies is None else accuracies[0] - accuracies[-1]


def largest_weight(content: Content) -> float | None:
    """Return the largest weight of all layers."""
    weights = content["result"].get("largest_weight")
    return None if weights is None else max(weights)


DEPTH = len(SHALLOW.widths)
TIME: Mapping[str, Column] = {"seconds per epoch": seconds_per_epoch}
SEPARATION: Mapping[str, Column] = {
    f"separation, layer {layer}": last_separation(layer) for layer in (0, DEPTH // 2, DEPTH - 1)
}
BY_LAYER: Mapping[str, Column] = {f"layer {layer}": layer_accuracy(layer) for layer in range(DEPTH)}
LARGEST_WEIGHT: Mapping[str, Column] = {
    f"largest weight, layer {layer}": entry("largest_weight", layer) for layer in (0, DEPTH - 1)
}
WAYS_TO_CLASSIFY: Mapping[str, Column] = {
    "goodness, three last layers": entry("last_three_accuracy"),
    "goodness, all layers but the first": entry("but_first_accuracy"),
    "goodness, all layers": entry("all_accuracy"),
    "linear head, trained along": head_accuracy,
    **{
        f"{kind} head, frozen network, {label} label": entry(f"frozen_{label}_{key}")
        for label in ("neutral", "random")
        for kind, key in (("linear", "linear"), ("two-layer", "hidden"))
    },
}
