"""Means over the steps of an epoch, computed on the device."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from forwardforward.objectives import LocalLoss
from forwardforward.step import StepResult

FLUSH = 256  # steps between reductions: rare enough to cost nothing, often enough to need little memory


class EpochMeter:
    """Collects step results and averages them.

    Args:
        sums: Sum and number of the steps before, by figure.
    """

    def __init__(self, sums: dict[str, tuple[Any, int]] | None = None) -> None:
        self._pending: dict[str, list[Tensor]] = {}
        self._sums: dict[str, tuple[Any, int]] = {} if sums is None else sums
        self._steps = 0

    def update(self, result: StepResult) -> None:
        """Add one step."""
        for layer, local in result.layers.items():
            self._add_local(f"{layer}", local)
        if result.head is not None:
            self._add_local("head", result.head)
        for layer, norm in result.gradient_norms.items():
            self._add(f"{layer}/gradient_norm", norm)
        self._steps += 1
        if self._steps % FLUSH == 0:
            self._flush()

    def means(self) -> dict[str, float]:
        """Return the means of all figures, without a change of the state."""
        return {key: total / count for key, (total, count) in self._totals().items()}

    def state_dict(self) -> dict[str, Any]:
        """Return the sums and the figures that are not added yet.

        They are stored apart, so that a resumed epoch adds the same numbers in the same order.
        """
        pending = {key: torch.stack(values) for key, values in self._pending.items()}
        return {"steps": self._steps, "sums": dict(self._sums), "pending": pending}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state of :meth:`state_dict`."""
        self._steps = int(state["steps"])
        self._sums = {key: (float(total), int(count)) for key, (total, count) in state["sums"].items()}
        self._pending = {key: list(values.unbind()) for key, values in state["pending"].items()}

    def mean(self, key: str) -> float | None:
        """Return the mean of one figure, None if there is none."""
        self._flush()
        if key not in self._sums:
            return None
        total, count = self._sums[key]
        return float(total / count)

    def layer(self, index: int) -> dict[str, Any] | None:
        """Return a layer's means, None if it was not updated."""
        if self.mean(f"{index}/loss") is None:
            return None
        names = ("loss", "positive", "negative", "accuracy", "gradient_norm")
        record: dict[str, Any] = {name: self.mean(f"{index}/{name}") for name in names}
        positive, negative = record["positive"], record["negative"]
        record["separation"] = None if positive is None else positive - negative
        prefix = f"{index}/parts/"
        record["parts"] = {key.removeprefix(prefix): self.mean(key) for key in self._sums if key.startswith(prefix)}
        return record

    def head(self) -> dict[str, Any] | None:
        """Return the head's means, None if there is none."""
        if self.mean("head/loss") is None:
            return None
        return {"loss": self.mean("head/loss"), "accuracy": self.mean("head/accuracy")}

    def _add_local(self, name: str, local: LocalLoss) -> None:
        for key in ("loss", "positive", "negative", "accuracy"):
            value: Tensor | None = getattr(local, key)
            if value is not None:
                self._add(f"{name}/{key}", value)
        for part, value in local.parts.items():
            self._add(f"{name}/parts/{part}", value)

    def _add(self, key: str, value: Tensor) -> None:
        self._pending.setdefault(key, []).append(value.detach())

    def _totals(self) -> dict[str, tuple[float, int]]:
        totals = dict(self._sums)
        for key, values in self._pending.items():
            total, count = totals.get(key, (0.0, 0))
            totals[key] = (total + float(torch.stack(values).double().sum()), count + len(values))
        return totals

    def _flush(self) -> None:
        self._sums = self._totals()
        self._pending.clear()
