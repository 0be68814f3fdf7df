"""Accuracies of all members, of every layer by its threshold and of the model, in one pass over the test images.

One forward pass per image and label serves both: the goodness under the true label is that of the positive sample,
the goodness under each other label that of a negative sample, and the label with the largest goodness is the
prediction. The first layer multiplies its weights with an image once for all ten labels. The images come in chunks
whose activations fit into the processor's cache, and the pass of a chunk, with the counts, is one compiled function.
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
    """Measures replicas on labeled images.

    Args:
        replicas: The networks.
        data: The images.
        autocast: Compute precision; None for float32.
        compile: Whether to compile.
        joined: Number of one-layer members whose layers together are one model.
    """

    def __init__(
        self,
        replicas: ff.Replicas,
        data: TensorData,
        autocast: torch.dtype | None = None,
        compile: bool = False,
        joined: int = 1,
    ) -> None:
        template = copy.deepcopy(replicas.members[0]).eval()
        template.preprocessing = nn.Identity()  # type: ignore[assignment]  # images are prepared before
        self.replicas = replicas
        self.autocast = autocast
        self.joined = joined
        self.first = 0 if joined > 1 else template.classifying_layers().start or 0
        self.classes = int(replicas.num_classes or 0)
        self.network = Call(template)
        thresholds = [[float(layer.objective.loss.threshold) for layer in member] for member in replicas.members]
        self.thresholds = self._by_model(torch.tensor(thresholds, device=replicas.device)[:, None, :, None])
        with torch.no_grad():
            self.images = replicas.prepare(data.inputs.to(replicas.device))
        assert data.targets is not None
        self.labels = data.targets.to(replicas.device)
        width = max(layer.largest_size for layer in template)
        limit = CHUNK if replicas.device.type == "cpu" else DEVICE_CHUNK
        most = max(1, limit // (width * self.classes * len(replicas.seeds)))
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

    def _counts(self, images: Tensor, labels: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, ...]:
        """Return the numbers of correct positive and negative samples by model and layer, and of predictions."""
        with autocast_to(self.autocast, images.device):
            values = self.goodness(state, images).float()
        values = self._by_model(values)
        is_true = (labels[:, None] == torch.arange(self.classes, device=labels.device))[:, None]
        above = values > self.thresholds
        positive, negative = (above & is_true).sum((1, 3)), (~above & ~is_true).sum((1, 3))
        correct = [(values[:, :, first:].sum(2).argmax(2) == labels).sum(1) for first in (self.first, 0)]
        return positive, negative, *correct

    @torch.no_grad()
    def __call__(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return shares of all images.

        Returns:
            Layer accuracies ``(models, layers)``: the mean of the share of positive samples above the threshold, and of
            negative samples, each image with each of its wrong labels, that are not; and model accuracies ``(models,)``
            by the summed goodness of the classifying layers, and of all layers.
        """
        parameters, buffers = torch.func.stack_module_state(self.replicas.members)  # type: ignore[arg-type]
        parts = ("layers.", "label_encoder.")
        state = {name: v.detach() for name, v in {**parameters, **buffers}.items() if name.startswith(parts)}
        if self.autocast is not None:  # once, and not in each chunk
            state = {name: v.to(self.autocast) if name.endswith(".weight") else v for name, v in state.items()}
        totals: list[Tensor] = []
        for images, labels in zip(self.images.split(self.rows), self.labels.split(self.rows), strict=True):
            if self.compiled is None:
                counts = self._counts(images, labels, state)
            else:
                counts = self.compiled(self._counts, images, labels, state)
            totals = [a + b for a, b in zip(totals, counts, strict=True)] if totals else list(counts)
        positive, negative, model, model_all = (total.double().cpu() / len(self.images) for total in totals)
        return (positive + negative / (self.classes - 1)) / 2, model, model_all
