"""Accuracies of all members, of every layer and of the model, in one pass over the test images.

With labels in the input, one forward pass per image and label serves both: the goodness under the true label is that of
the positive sample, the goodness under each other label that of a negative sample, and the label with the largest
goodness is the prediction. The first layer multiplies its weights with an image once for all ten labels. The images
come in chunks whose activations fit into the processor's cache, and the pass of a chunk, with the sums over its images,
is one compiled function.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

import forwardforward as ff
from forwardforward._utils.modes import autocast_to
from forwardforward.data import TensorData
from forwardforward.replicas.functions import Call, goodness
from forwardforward.scoring import CompiledFunctions

__all__ = ["Measurement"]

#: Largest number of activations of one layer of all members per chunk, on a CPU and on other devices.
CHUNK, DEVICE_CHUNK = 2**20, 2**27


class Measurement:
    """Measures networks on images with targets.

    With labels in the input, a layer is measured by its threshold: the mean of the share of positive samples above it
    and that of negative samples, each image with each of its wrong labels, that are not. Without, it is right about an
    image if its goodness is largest for the true class, as the model is by the goodness summed over layers. For real
    values, :math:`R^2` takes the place of accuracies; the model predicts the mean of its layers.

    Args:
        model: The replicas, or one network.
        data: The images.
        autocast: Compute precision; None for float32.
        compile: Whether to compile.
        joined: Number of one-layer members whose layers together are one model.
    """

    def __init__(
        self,
        model: ff.Replicas | ff.FFSequential,
        data: TensorData,
        autocast: torch.dtype | None = None,
        compile: bool = False,
        joined: int = 1,
    ) -> None:
        self.members = model.members if isinstance(model, ff.Replicas) else [model]
        template = copy.deepcopy(self.members[0]).eval()
        template.preprocessing = nn.Identity()  # type: ignore[assignment]  # images are prepared before
        self.autocast = autocast
        self.joined = joined
        self.first = 0 if joined > 1 else template.classifying_layers().start or 0
        self.classes = int(model.num_classes or 0)
        self.network = Call(template)
        self.thresholds: Tensor | None = None
        if model.uses_negatives:
            thresholds = [[float(layer.objective.loss.threshold) for layer in member] for member in self.members]
            self.thresholds = self._by_model(torch.tensor(thresholds, device=model.device)[:, None, :, None])
        with torch.no_grad():
            self.images = model.prepare(data.inputs.to(model.device))
        assert data.targets is not None
        self.targets = data.targets.to(model.device)
        self.variance: Tensor | None = None
        if model.target_scaling is not None:
            self.targets = model.target_scaling(self.targets)
            self.variance = self.targets.var(correction=0)
        width = max(layer.largest_size for layer in template)
        labels = self.classes if model.uses_negatives else 1
        limit = CHUNK if model.device.type == "cpu" else DEVICE_CHUNK
        most = max(1, limit // (width * labels * len(self.members)))
        # equal chunks, so that one form is compiled
        self.rows = max(rows for rows in range(1, len(self.images) + 1) if not len(self.images) % rows and rows <= most)
        self.goodness = torch.vmap(self._goodness, (0, None))
        self.compiled = CompiledFunctions() if compile else None

    def _by_model(self, values: Tensor) -> Tensor:
        """Return ``(models, batch, layers, classes)``, with layers that are members of their own as layers."""
        if self.joined == 1:
            return values
        return values.squeeze(2).unflatten(0, (-1, self.joined)).transpose(1, 2)

    def _goodness(self, state: dict[str, Tensor], images: Tensor) -> Tensor:
        """Return one member's goodness under every label, ``(batch, layers, classes)``."""
        result: Tensor = self.network.with_state(state, goodness, images)
        return result

    def _sums(self, images: Tensor, targets: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, ...]:
        """Return the sums over images of what is right, by model and layer, and by model without and with layer 0."""
        with autocast_to(self.autocast, images.device):
            values = self.goodness(state, images).float()
        values = self._by_model(values)
        parts = (
            self._right_layers(values, targets),
            *(self._right(values[:, :, i:], targets) for i in (self.first, 0)),
        )
        return tuple(part.sum(1, dtype=torch.float64) for part in parts)

    def _right_layers(self, values: Tensor, targets: Tensor) -> Tensor:
        """Return how right each layer is about each image, ``(models, batch, layers)``."""
        if self.variance is not None:
            return 1 - (values[..., 0] - targets[:, None]).square() / self.variance
        if self.thresholds is None:
            return values.argmax(3) == targets[:, None]
        is_true = (targets[:, None] == torch.arange(self.classes, device=targets.device))[:, None]
        above = values > self.thresholds
        positive, negative = (above & is_true).sum(3), (~above & ~is_true).sum(3)
        return (positive + negative.double() / (self.classes - 1)) / 2

    def _right(self, values: Tensor, targets: Tensor) -> Tensor:
        """Return how right the layers together are about each image, ``(models, batch)``."""
        if self.variance is not None:
            return 1 - (values[..., 0].mean(2) - targets).square() / self.variance
        return values.sum(2).argmax(2) == targets

    @torch.no_grad()
    def __call__(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the means over all images.

        Returns:
            Layer accuracies ``(models, layers)``, and model accuracies ``(models,)`` by the classifying layers, and by
            all layers.
        """
        parameters, buffers = torch.func.stack_module_state(self.members)
        parts = ("layers.", "label_encoder.")
        state = {name: v.detach() for name, v in {**parameters, **buffers}.items() if name.startswith(parts)}
        if self.autocast is not None:  # once, and not in each chunk
            state = {name: v.to(self.autocast) if name.endswith(".weight") else v for name, v in state.items()}
        totals: list[Tensor] = []
        for images, targets in zip(self.images.split(self.rows), self.targets.split(self.rows), strict=True):
            if self.compiled is None:
                sums = self._sums(images, targets, state)
            else:
                sums = self.compiled(self._sums, images, targets, state)
            totals = [a + b for a, b in zip(totals, sums, strict=True)] if totals else list(sums)
        layers, model, model_all = (total.cpu() / len(self.images) for total in totals)
        return layers, model, model_all
