"""Baselines: the same stack trained otherwise.

Backpropagation of the summed goodness losses needs no class of its own: it is
:class:`~forwardforward.schedules.EndToEnd`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from forwardforward.layers import FFLayer
from forwardforward.objectives import LocalLoss
from forwardforward.optimizers import LocalOptimizer
from forwardforward.schedules import Groups
from forwardforward.sequential import StepResult

__all__ = ["Backpropagation"]


class Backpropagation(nn.Module):
    """The stack's blocks and activations under one linear layer, trained end to end by cross-entropy.

    Offers what :func:`~forwardforward.training.fit` and :func:`~forwardforward.training.evaluate` ask of a model, so
    that both kinds of training run through one loop.

    Args:
        *layers: Layers as for :class:`~forwardforward.FFSequential`; their objectives, if any, are not used. A layer's
            normalization is used where it was given.
        num_classes: Number of classes.
        features: Number of features of the last layer; taken from it where it knows.

    Raises:
        ValueError: If there are no layers or the last layer's width is unknown.
    """

    def __init__(self, *layers: nn.Module, num_classes: int, features: int | None = None) -> None:
        super().__init__()
        if not layers:
            raise ValueError("layers must hold at least one layer, got none")
        self.layers = nn.ModuleList(layers)
        last = layers[-1]
        features = last.features if features is None and isinstance(last, FFLayer) else features
        if features is None:
            raise ValueError("features must be given for a last layer of unknown width")
        self.output = nn.Linear(features, num_classes)
        self.num_classes = num_classes

    def __len__(self) -> int:
        """Return the number of layers, without the output layer."""
        return len(self.layers)

    def units(self) -> Mapping[str, nn.Module]:
        """Return the whole network as the one unit that is updated."""
        return {"network": self}

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``(batch, classes)`` of images ``(batch, ...)``."""
        x = images
        for layer in self.layers:
            x = layer(x)
        return self.output(x.flatten(1))  # type: ignore[no-any-return]

    def step(
        self,
        batch: tuple[Tensor, Tensor | None],
        optimizer: LocalOptimizer,
        *,
        groups: Groups | None = None,
        generator: torch.Generator | None = None,
        autocast: torch.dtype | None = None,
        monitor: bool = False,
    ) -> StepResult:
        """Update the network once; arguments as for :meth:`~forwardforward.FFSequential.step`, groups are not used."""
        images, labels = batch
        if labels is None:
            raise ValueError("labels must be given for cross-entropy, got None")
        optimizer.attach(self)
        optimizer.zero_grad()
        with torch.autocast(images.device.type, dtype=autocast, enabled=autocast is not None):
            logits = self(images)
            loss = nn.functional.cross_entropy(logits.float() if autocast else logits, labels)
        loss.backward()
        optimizer.step()
        accuracy = (logits.detach().argmax(1) == labels).float().mean()
        return StepResult(head=LocalLoss(loss.detach(), accuracy=accuracy))

    @torch.no_grad()
    def scores(self, images: Tensor) -> Tensor:
        """Return the logits in evaluation mode, ``(batch, classes)``."""
        training = self.training
        self.eval()
        try:
            return self(images)  # type: ignore[no-any-return]
        finally:
            self.train(training)

    def predict(self, images: Tensor) -> Tensor:
        """Return the class of each image, ``(batch,)``."""
        return self.scores(images).argmax(1)

    def predict_proba(self, images: Tensor) -> Tensor:
        """Return the class probabilities, ``(batch, classes)``."""
        return self.scores(images).softmax(1)
