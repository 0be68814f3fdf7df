"""Steps and classification of fflib (https://github.com/mitkonikov/ff), where it is installed, as in its example.

Its layers compute in float32, each with its own Adam; the label is appended to the image. Classification runs the
network once per label, in batches of the training's size.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.speed.stacks import CLASSES, FFLIB, Stack
from benchmarks.speed.workload import Workload

__all__ = ["available", "classification", "training_step", "version"]

#: Settings of its example.
THRESHOLD, RATE = 20, 0.02


def version() -> str | None:
    """Return the installed version of fflib, None if it is not installed."""
    return importlib.metadata.version(FFLIB) if importlib.util.find_spec(FFLIB) is not None else None


def available(stack: Stack) -> bool:
    """Return whether fflib is installed and the stack is its own."""
    return stack.name == FFLIB and version() is not None


def _network(stack: Stack, device: torch.device) -> Any:
    layers, network = importlib.import_module("fflib.nn.ff_linear"), importlib.import_module("fflib.nn.ff_net")
    sizes = [stack.input_shape[0] + CLASSES, *stack.widths]
    return network.FFNet(
        [layers.FFLinear(*pair, THRESHOLD, RATE, device=device) for pair in itertools.pairwise(sizes)],
        device,
    )


def training_step(stack: Stack, workload: Workload) -> Callable[[], Any]:
    """Return its training step: labels, random wrong labels, and the update of every layer.

    Args:
        stack: Its stack.
        workload: The batch; precision and optimizer are its own.
    """
    network = _network(stack, workload.images.device)
    images, labels = workload.images, workload.labels

    def step() -> None:
        random = torch.rand(len(labels), CLASSES, device=labels.device)
        random[torch.arange(len(labels)), labels] = 0
        codes = (torch.nn.functional.one_hot(y, CLASSES).float() for y in (labels, random.argmax(1)))
        network.run_train_combined(*(torch.cat((images, code), 1) for code in codes))

    return step


def classification(stack: Stack, images: Tensor) -> Callable[[], Tensor]:
    """Return a function that classifies images by fflib, which evaluates every label.

    Args:
        stack: Its stack.
        images: The images.
    """
    network = _network(stack, images.device)
    probes = importlib.import_module("fflib.probes.one_hot")
    probe = probes.TryAllClasses(lambda x, y: network(torch.cat((x, y), 1)), CLASSES)

    @torch.no_grad()
    def classify() -> Tensor:
        return torch.cat([probe.predict(batch) for batch in images.split(stack.batch_size)])

    return classify
