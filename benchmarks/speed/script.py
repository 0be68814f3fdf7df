"""The plain Forward-Forward script: what most implementations on the web do, written anew.

Each layer divides its input by its length, has its own optimizer, computes the goodness of positive and negative
samples one after the other, and runs forward again after its update to compute the inputs of the next layer.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from benchmarks.speed.stacks import CLASSES
from benchmarks.speed.workload import Workload

__all__ = ["Script"]


class ScriptLayer(nn.Linear):
    """A dense layer that trains itself.

    Args:
        inputs: Number of inputs.
        outputs: Number of units.
        workload: Optimizer and precision.
    """

    def __init__(self, inputs: int, outputs: int, workload: Workload) -> None:
        super().__init__(inputs, outputs)
        self.to(workload.images.device)
        self.relu = nn.ReLU()
        self.threshold = 2.0
        self.optimizer = workload.optimizer_of(self, fused=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the activations."""
        direction = x / (x.norm(2, 1, keepdim=True) + 1e-4)
        activations: Tensor = self.relu(super().forward(direction))
        return activations

    def step(self, positive: Tensor, negative: Tensor, workload: Workload) -> tuple[Tensor, Tensor]:
        """Update the layer, and return its activations after the update."""
        with workload.autocast():
            positive_goodness = self.forward(positive).pow(2).mean(1)
            negative_goodness = self.forward(negative).pow(2).mean(1)
            margins = torch.cat([self.threshold - positive_goodness, negative_goodness - self.threshold])
            loss = nn.functional.softplus(margins).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        with workload.autocast():
            return self.forward(positive).detach(), self.forward(negative).detach()


class Script:
    """A network of such layers.

    Args:
        sizes: Number of inputs, then of each layer's units.
        workload: Optimizer and precision.
    """

    def __init__(self, sizes: Sequence[int], workload: Workload) -> None:
        self.workload = workload
        self.layers = [ScriptLayer(*pair, workload) for pair in itertools.pairwise(sizes)]

    def step(self, images: Tensor, labels: Tensor) -> None:
        """Train every layer once on a batch with true and random wrong labels."""
        wrong = (labels + torch.randint(1, CLASSES, labels.shape, device=labels.device)) % CLASSES
        positive, negative = overlay(images, labels), overlay(images, wrong)
        for layer in self.layers:
            positive, negative = layer.step(positive, negative, self.workload)


def overlay(images: Tensor, labels: Tensor) -> Tensor:
    """Return images whose first pixels are the one-hot label."""
    labeled = images.clone()
    labeled[:, :CLASSES] = 0
    labeled[torch.arange(len(labels)), labels] = images.max()
    return labeled
