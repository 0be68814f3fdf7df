"""What all baselines share: the stack under one linear layer, the training step and classification."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from forwardforward._inputs import check_finite, check_images, check_labels_of
from forwardforward._updates import StepResult, gradient_norm
from forwardforward._utils.checks import check_num_classes
from forwardforward._utils.modes import autocast_to, eval_mode
from forwardforward._utils.numerics import accumulator
from forwardforward.layers import FFLayer, Skip
from forwardforward.objectives import LocalLoss
from forwardforward.optimizers import LocalOptimizer
from forwardforward.update_schedules import Groups

__all__ = ["Baseline"]

Product = nn.Linear | nn.Conv2d


class Baseline(nn.Module):
    """The stack's blocks and activations under one linear layer, whose outputs are the logits.

    Offers what :func:`~forwardforward.training.fit` and :func:`~forwardforward.training.evaluate` ask of a model, so
    that every kind of training runs through one loop. The gradients are autograd's of the cross-entropy; a baseline of
    another kind overrides :meth:`gradients`.

    Args:
        *layers: Layers as for :class:`~forwardforward.FFSequential`; their objectives, if any, are not used. A layer's
            normalization is used where it was given, its ``optimizer`` options are not, since the network has one
            optimizer. Gradients flow along their :class:`~forwardforward.layers.Skip`.
        num_classes: Number of classes.
        features: Number of features of the last layer, flattened; taken from a dense one.

    Raises:
        ValueError: If there are no layers, fewer than two classes, or the last layer's width is unknown.
    """

    def __init__(self, *layers: nn.Module, num_classes: int, features: int | None = None) -> None:
        super().__init__()
        if not layers:
            raise ValueError("layers must hold at least one layer, got none")
        self.num_classes = check_num_classes(num_classes)
        self.layers = nn.ModuleList(layers)
        for module in self.layers.modules():
            if isinstance(module, Skip):
                module.cut = False
        last = layers[-1]
        if features is None and isinstance(last, FFLayer) and not last.space:
            features = last.features
        if features is None:
            raise ValueError(
                "features must be given for a last layer of maps (channels * height * width), of sequences "
                "(channels * length) or of unknown width"
            )
        self.output = nn.Linear(features, num_classes)

    def __len__(self) -> int:
        """Return the number of layers, without the output layer."""
        return len(self.layers)

    def parameter_groups(self) -> Mapping[str, nn.Module]:
        """Return the whole network as the one unit that is updated."""
        return {"network": self}

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``(batch, classes)`` of images ``(batch, ...)``."""
        x = images
        for layer in self.layers:
            x = layer(x)
        return self.output(x.flatten(1))  # type: ignore[no-any-return]

    def gradients(self, images: Tensor, labels: Tensor, autocast: torch.dtype | None = None) -> Tensor:
        """Add to every parameter's ``grad`` what the optimizer is to follow, and return the logits, detached.

        Args:
            images: ``(batch, ...)``.
            labels: Class indices, ``(batch,)``.
            autocast: Precision of the products.
        """
        with autocast_to(autocast, images.device):
            logits = self(images)
        cross_entropy(logits, labels).backward()
        return logits.detach()  # type: ignore[no-any-return]

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
        check_images(images, getattr(self.layers[0], "reads_entries", False))
        if labels is None:
            raise ValueError("labels must be given for cross-entropy, got None")
        check_labels_of(images, labels, self.num_classes)
        labels = labels.long()
        optimizer.attach(self)
        optimizer.zero_grad()
        logits = self.gradients(images, labels, autocast)
        norms = {i: gradient_norm(layer) for i, layer in enumerate(self.layers)} if monitor else {}
        optimizer.step()
        accuracy = (logits.argmax(1) == labels).float().mean()
        return StepResult(head=LocalLoss(cross_entropy(logits, labels), accuracy=accuracy), gradient_norms=norms)

    @torch.no_grad()
    def scores(self, images: Tensor) -> Tensor:
        """Return the logits in evaluation mode, ``(batch, classes)``."""
        check_images(images, getattr(self.layers[0], "reads_entries", False))
        with eval_mode(self):
            return self(images)  # type: ignore[no-any-return]

    def predict(self, images: Tensor) -> Tensor:
        """Return the class of each image, ``(batch,)``."""
        return check_finite(self.scores(images)).argmax(1)

    def predict_proba(self, images: Tensor) -> Tensor:
        """Return the class probabilities, ``(batch, classes)``."""
        return check_finite(self.scores(images)).softmax(1)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy of logits ``(batch, classes)``."""
    return nn.functional.cross_entropy(logits.to(accumulator(logits)), labels)


def products(layer: nn.Module, index: int, rule: str) -> list[Product]:
    """Return the dense and convolutional maps among a layer's parts, in order.

    Args:
        layer: The layer; its objective and peer normalization are passed over, since a baseline has no use for them.
        index: Its place in the stack, for the error.
        rule: Who asks, likewise.

    Raises:
        ValueError: If the layer holds weights of another kind, for which the rule is not defined.
    """
    parts: list[nn.Module | None] = [layer]
    if isinstance(layer, FFLayer):
        parts = [layer.normalization, layer.block, layer.activation, layer.pool, layer.shortcut]
    found: list[Product] = []
    for module in (module for part in parts if part is not None for module in part.modules()):
        if type(module) in (nn.Linear, nn.Conv2d):
            found.append(module)  # type: ignore[arg-type]
        elif not isinstance(module, nn.LayerNorm) and any(p.dim() > 1 for p in module.parameters(recurse=False)):
            raise ValueError(
                f"layers must hold their weights in nn.Linear and nn.Conv2d for {rule}, "
                f"but layer {index} holds {type(module).__name__}"
            )
    return found
