"""The one-pass linear head: a linear classifier on the layers' normalized activations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from forwardforward._utils.arguments import NumClasses, checked
from forwardforward._utils.memory import check_memory
from forwardforward.normalization import Identity, RMSNorm
from forwardforward.objectives import LocalLoss
from forwardforward.optimizers import LocalOptimizer
from forwardforward.pooling import SequencePool, SpatialPool
from forwardforward.targets import ClassIndices, TargetKind

__all__ = ["LinearHead"]

#: The default pools; torch.compile cannot trace their construction.
SPATIAL, SEQUENTIAL = SpatialPool(2), SequencePool(2)


CLASSES = ClassIndices()


@checked
class LinearHead(nn.Module):
    """A linear classifier on the layers' normalized activations, trained together with them.

    No gradient flows from the head into the layers. In a network with labels in its input, features are read under a
    label without class information.

    Args:
        num_classes: Number of classes.
        layers: The layers that it reads; default: all but the first (of a single layer, that layer).
        label: ``"neutral"`` or ``"random"``, the label under which features are read.
        pool: Module from maps or sequences to rows; default: means over 2x2 patches of maps and 2 segments of
            sequences. ``nn.Flatten()`` keeps all activations.
        normalize: Whether each layer's features are divided by their root mean square.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If ``label`` is another string, or there are fewer than two classes.

    Source: Hinton (2022), arXiv 2212.13345.

    Example:
        >>> head = LinearHead(3)
        >>> head.setup([(8,), (6,)])
        >>> head(head.read({1: head.rows(torch.rand(5, 6))})).shape
        torch.Size([5, 3])
    """

    linear: nn.Linear | None

    def __init__(
        self,
        num_classes: NumClasses,
        layers: slice = slice(1, None),
        label: Literal["neutral", "random"] = "neutral",
        pool: Callable[[Tensor], Tensor] | None = None,
        normalize: bool = True,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.layers = layers
        self.label = label
        self.pool = pool
        self.normalize = normalize
        self.normalization = RMSNorm() if normalize else Identity()
        self.linear = None
        self._sizes: dict[int, int] = {}  # number of features of each layer that is read

    def indices(self, depth: int) -> list[int]:
        """Return the layers that the head reads in a network of ``depth`` layers.

        Raises:
            ValueError: If there is none.
        """
        indices = list(range(depth))[self.layers]
        if not indices and depth > 1:
            raise ValueError(f"layers must select at least one of {depth} layers, got {self.layers}")
        return indices or [0]

    @torch.no_grad()
    def setup(
        self,
        shapes: Sequence[tuple[int, ...]],
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Create the weights; in a network that has grown, those of layers that are still read are kept.

        Args:
            shapes: Shape of one output sample of every layer.
            device: Device of the network.
            dtype: Dtype of the network.
        """
        sizes = {
            index: self.rows(torch.zeros(1, *shapes[index], device=device, dtype=dtype)).shape[1]
            for index in self.indices(len(shapes))
        }
        if self.linear is not None and sizes == self._sizes:
            return
        check_memory("num_classes", self.num_classes, sum(sizes.values()))
        linear = nn.Linear(sum(sizes.values()), self.num_classes, device=device, dtype=dtype)
        nn.init.zeros_(linear.weight)
        nn.init.zeros_(linear.bias)
        if self.linear is not None:
            linear.bias.copy_(self.linear.bias)
            before = dict(zip(self._sizes, self.linear.weight.split(list(self._sizes.values()), dim=1), strict=True))
            for index, columns in zip(sizes, linear.weight.split(list(sizes.values()), dim=1), strict=True):
                if index in before and before[index].shape == columns.shape:
                    columns.copy_(before[index])
        self.linear, self._sizes = linear, sizes

    def rows(self, activations: Tensor) -> Tensor:
        """Return the features of one layer, ``(batch, features of the layer)``."""
        if activations.dim() > 2:
            pool = self.pool or (SPATIAL if activations.dim() == 4 else SEQUENTIAL)
            activations = pool(activations)
        rows: Tensor = self.normalization(activations)
        return rows

    def read(self, rows: Mapping[int, Tensor]) -> Tensor:
        """Return the features of all layers, ``(batch, features)``.

        Args:
            rows: Features by layer.
        """
        return torch.cat([rows[i] for i in sorted(rows)], dim=1)

    def forward(self, features: Tensor) -> Tensor:
        """Return logits ``(batch, classes)`` of features ``(batch, features)``."""
        if self.linear is None:
            raise ValueError("the head must be part of a network, got one without weights")
        if features.shape[1] != self.linear.in_features:
            raise ValueError(
                f"features must be {self.linear.in_features} per sample for the head, got {features.shape[1]}"
            )
        logits: Tensor = self.linear(features.to(self.linear.weight.dtype))
        return logits

    def step(
        self,
        features: Tensor,
        labels: Tensor,
        optimizer: LocalOptimizer,
        target_kind: TargetKind = CLASSES,
    ) -> LocalLoss:
        """Update the head once by cross-entropy, for several labels of each label, and return its loss and accuracy.

        Args:
            features: Features of the batch, ``(batch, features)``.
            labels: Class indices, ``(batch,)``, or targets of another kind.
            optimizer: Local optimizers, with a parameter group ``"head"``.
            target_kind: The kind of the targets.
        """
        optimizer.zero_grad("head")
        local = self.local_loss(features, labels, target_kind)
        if local.loss.requires_grad:  # the head may be frozen
            local.loss.backward()
            optimizer.step("head")
        return local.detach()

    def local_loss(self, features: Tensor, labels: Tensor, target_kind: TargetKind = CLASSES) -> LocalLoss:
        """Return the loss of :meth:`step`, with its graph, and the accuracy.

        Args:
            features: Features of the batch, ``(batch, features)``.
            labels: Class indices, ``(batch,)``, or targets of another kind.
            target_kind: The kind of the targets.
        """
        logits = self(features)
        scores = logits.detach()
        accuracy = target_kind.figures(scores, scores, labels).accuracy
        return LocalLoss(target_kind.loss(logits, labels), accuracy=accuracy)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        text = f"num_classes={self.num_classes}, layers={self.layers}, label={self.label!r}"
        return text if self.normalize else f"{text}, normalize=False"
