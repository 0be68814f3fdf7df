"""What all kinds of steps of one stack share: the batch, precision and optimizer."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import forwardforward as ff
from benchmarks.speed.stacks import CLASSES, Stack

__all__ = ["OPTIMIZERS", "PRECISIONS", "Workload"]

#: Compute precisions: the dtype of autocast, None for that of the weights.
PRECISIONS = {"float32": None, "bf16": torch.bfloat16}

#: Optimizers and their options. The rates are small, since the same batch is learned again and again.
OPTIMIZERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "sgd": (torch.optim.SGD, {"lr": 1e-4, "momentum": 0.9}),
    "adam": (torch.optim.Adam, {"lr": 1e-5}),
}


@dataclass(frozen=True)
class Workload:
    """A batch, a precision and an optimizer.

    Args:
        images: The batch.
        labels: Its labels.
        precision: Name of the compute precision.
        optimizer: Name of the optimizer.
    """

    images: Tensor
    labels: Tensor
    precision: str
    optimizer: str

    @classmethod
    def random(cls, stack: Stack, device: str, precision: str, optimizer: str) -> Workload:
        """Return a workload of random images and labels for a stack."""
        images = torch.rand(stack.batch_size, *stack.input_shape, device=device)
        labels = torch.randint(CLASSES, (stack.batch_size,), device=device)
        return cls(images, labels, precision, optimizer)

    @property
    def dtype(self) -> torch.dtype | None:
        """The dtype of autocast."""
        return PRECISIONS[self.precision]

    @contextlib.contextmanager
    def autocast(self) -> Iterator[None]:
        """Context manager for the compute precision."""
        with torch.autocast(self.images.device.type, dtype=self.dtype, enabled=self.dtype is not None):
            yield

    def local_optimizer(self) -> ff.LocalOptimizer:
        """Return torch's fused optimizer for each layer."""
        factory, options = OPTIMIZERS[self.optimizer]
        return ff.LocalOptimizer(factory, fused=True, **options)

    def optimizer_of(self, model: torch.nn.Module, fused: bool) -> torch.optim.Optimizer:
        """Return one optimizer of all parameters.

        Args:
            model: The model.
            fused: Whether it is torch's fused one; otherwise, torch's default.
        """
        factory, options = OPTIMIZERS[self.optimizer]
        optimizer: torch.optim.Optimizer = factory(model.parameters(), **options, **({"fused": True} if fused else {}))
        return optimizer
