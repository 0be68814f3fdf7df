"""Functions from prepared images to goodness or features, each with the layers that it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor

from forwardforward._utils.checks import check_finite
from forwardforward.batches import LabeledInput
from forwardforward.classifiers import Candidates
from forwardforward.heads import LinearHead
from forwardforward.label_encoders import LabelEncoder
from forwardforward.layers import FFLayer
from forwardforward.layers.chain import layer_outputs, skip_tensors
from forwardforward.scoring.compiled import CompiledFunctions

__all__ = ["CandidateGoodness", "ClassGoodness", "HeadFeatures", "LabelGoodness", "goodness_of"]


def goodness_of(layers: Sequence[FFLayer], x: Tensor | LabeledInput) -> Tensor:
    """Return the goodness of every row in every layer, ``(layers, rows)`` or per class ``(layers, rows, classes)``.

    Args:
        layers: The layers, in order.
        x: Input of the first layer.

    Raises:
        ValueError: If a layer's objective has no goodness.

    Example:
        >>> import torch, forwardforward as ff
        >>> layer = ff.FFLinear(3, 2, goodness=ff.goodness.SumOfSquares(), loss=ff.losses.SymBa())
        >>> goodness_of([layer], torch.zeros(4, 3)).shape
        torch.Size([1, 4])
    """
    return _run(layers, range(len(layers)), x, {})[1]


def _run(
    layers: Sequence[FFLayer], indices: range, x: Tensor | LabeledInput, skipped: dict[int, Tensor]
) -> tuple[Tensor, Tensor, dict[int, Tensor]]:
    """Run neighboring layers, and return the output, the goodness in each layer, and what later layers read."""
    skips = skip_tensors(layers)
    skips.outputs.update(skipped)
    values = []
    for index in indices:
        x, goodness = layers[index].output_and_goodness(x, skips.get(index))
        if goodness is None:
            raise ValueError(f"every layer must have a per-class goodness, got only a batch objective in layer {index}")
        skips.store(index, x)
        values.append(goodness)
    assert isinstance(x, Tensor)
    return x, torch.stack(values), skips.outputs


def _hash(function: Any) -> int:
    """Return the hash of a function's fields, also of an object without them: torch below 2.13 hashes what it traces.

    Args:
        function: One of the dataclasses below.
    """
    return hash(tuple(vars(function).get(field.name) for field in fields(function) if field.compare))


@dataclass(frozen=True)
class ClassGoodness:
    """Per-class goodness of images, ``(batch, layers, classes)``.

    Attributes:
        layers: The layers, in order.

    Example:
        >>> import torch, forwardforward as ff
        >>> goodness, loss = ff.goodness.LearnedProjection(3), ff.losses.CrossEntropy()
        >>> ClassGoodness((ff.FFLinear(8, 6, goodness=goodness, loss=loss),))(torch.rand(4, 8)).shape
        torch.Size([4, 1, 3])
    """

    layers: tuple[FFLayer, ...]

    __hash__ = _hash

    def __call__(self, images: Tensor) -> Tensor:
        """Return the goodness.

        Args:
            images: ``(batch, ...)``.
        """
        return goodness_of(self.layers, images).transpose(0, 1)


@dataclass(frozen=True)
class LabelGoodness:
    """Goodness of images under every label, ``(batch, layers, classes)``.

    Attributes:
        layers: The layers, in order.
        encoder: Joins the labels to the images.
        labels_per_chunk: Number of labels whose rows are computed together.
        responses: One dictionary per chunk of labels, in which the first layer stores its response to the labels for
            the next images; None to store nothing.

    Example:
        >>> import torch, forwardforward as ff
        >>> layer = ff.FFLinear(8, 6, goodness=ff.goodness.SumOfSquares(), loss=ff.losses.SymBa())
        >>> LabelGoodness((layer,), ff.label_encoders.Overlay(3), 3)(torch.rand(4, 8)).shape
        torch.Size([4, 1, 3])
    """

    layers: tuple[FFLayer, ...]
    encoder: LabelEncoder
    labels_per_chunk: int
    responses: Sequence[dict[str, Any]] | None = field(default=None, compare=False)

    __hash__ = _hash

    def __call__(self, images: Tensor) -> Tensor:
        """Return the goodness.

        Args:
            images: ``(batch, ...)``.
        """
        labels = torch.arange(self.encoder.num_classes, device=images.device).split(self.labels_per_chunk)
        columns = []
        for position, chunk in enumerate(labels):
            x = self.encoder.candidates(images, chunk)
            if self.responses is not None:
                x = replace(x, responses=self.responses[position])
            columns.append(goodness_of(self.layers, x).view(len(self.layers), len(chunk), len(images)))
        return torch.cat(columns, dim=1).permute(2, 0, 1)


@dataclass(frozen=True)
class _FirstLayers:
    """The first layers of a network, on images under every label."""

    layers: tuple[FFLayer, ...]
    stop: int
    encoder: LabelEncoder

    __hash__ = _hash

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor, dict[int, Tensor]]:
        """Return the output, the goodness and what later layers read; rows of all images under the first label first.

        Args:
            images: ``(batch, ...)``.
        """
        return _run(self.layers, range(self.stop), self.encoder.candidates(images), {})


@dataclass(frozen=True)
class _LaterLayers:
    """The later layers of a network."""

    layers: tuple[FFLayer, ...]
    start: int

    __hash__ = _hash

    def __call__(self, x: Tensor, skipped: dict[int, Tensor]) -> tuple[Tensor, Tensor, dict[int, Tensor]]:
        """Return the output, the goodness and what later layers read, which is nothing.

        Args:
            x: Output of the layer before.
            skipped: Outputs of earlier layers that skip connections read, by layer.
        """
        return _run(self.layers, range(self.start, len(self.layers)), x, skipped)


@dataclass(frozen=True)
class CandidateGoodness:
    """Goodness of images under every label in the first layers, and under the candidates alone in later ones.

    The result, ``(batch, layers, classes)``, is 0 where it is not computed.

    Attributes:
        layers: The layers, in order.
        encoder: Joins the labels to the images.
        candidates: Selects the labels.

    Raises:
        ValueError: If the candidates are selected after the last layer.

    Example:
        >>> import torch, forwardforward as ff
        >>> plugins = {"goodness": ff.goodness.SumOfSquares(), "loss": ff.losses.SymBa()}
        >>> layers = ff.FFLinear(8, 6, **plugins), ff.FFLinear(6, 5, **plugins)
        >>> function = CandidateGoodness(layers, ff.label_encoders.Overlay(3), ff.classifiers.Candidates(2))
        >>> function(torch.rand(4, 8)).shape
        torch.Size([4, 2, 3])
    """

    layers: tuple[FFLayer, ...]
    encoder: LabelEncoder
    candidates: Candidates

    def __post_init__(self) -> None:
        """Check that there are later layers."""
        self.candidates.check_depth(len(self.layers))

    __hash__ = _hash

    def __call__(self, images: Tensor, compiled: CompiledFunctions | None = None) -> Tensor:
        """Return the goodness.

        Args:
            images: ``(batch, ...)``.
            compiled: Runs compiled forms of the first and of the later layers; default: they run directly.
        """
        after, depth = self.candidates.after, len(self.layers)
        if compiled is None:  # torch 2.6 cannot compile what makes objects
            x, goodness, skipped = _run(self.layers, range(after), self.encoder.candidates(images), {})
        else:
            x, goodness, skipped = compiled(_FirstLayers(self.layers, after, self.encoder), images)
        early = goodness.view(after, -1, len(images)).permute(2, 0, 1)
        labels, remains = self.candidates.select(early)
        rows = (labels * len(images) + torch.arange(len(images), device=images.device)[:, None]).T
        if self.candidates.is_ragged:
            check_finite(early)  # NaN would select nothing
            rows = rows[(remains & (remains.sum(1, keepdim=True) > 1)).T]  # a label that remains alone needs no layer
        else:
            rows = rows.flatten()
        late = goodness.new_zeros(depth - after, goodness.shape[1])
        if len(rows):
            x, skipped = x[rows], {index: output[rows] for index, output in skipped.items()}
            if compiled is None:
                _, goodness, _ = _run(self.layers, range(after, depth), x, skipped)
            else:
                _, goodness, _ = compiled(_LaterLayers(self.layers, after), x, skipped, any_rows=True)
            late = late.index_copy(1, rows, goodness.to(late.dtype))
        return torch.cat([early, late.view(depth - after, -1, len(images)).permute(2, 0, 1)], dim=1)


@dataclass(frozen=True)
class HeadFeatures:
    """Features of the one-pass head, ``(batch, features)``.

    Attributes:
        layers: The layers, in order.
        head: The head.
        encoder: Joins labels to the images; None for a network without labels in its input.

    Example:
        >>> import torch, forwardforward as ff
        >>> plugins = {"goodness": ff.goodness.SumOfSquares(), "loss": ff.losses.SymBa()}
        >>> HeadFeatures((ff.FFLinear(8, 6, **plugins),), ff.heads.LinearHead(3))(torch.rand(4, 8)).shape
        torch.Size([4, 6])
    """

    layers: tuple[FFLayer, ...]
    head: LinearHead
    encoder: LabelEncoder | None = None

    __hash__ = _hash

    def __call__(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the features.

        Args:
            images: ``(batch, ...)``.
            labels: Class indices to join to the images; default: the neutral label.
        """
        x: Tensor | LabeledInput = images
        if self.encoder is not None:
            x = self.encoder.neutral(images) if labels is None else self.encoder.join(images, labels)
        indices = self.head.indices(len(self.layers))
        outputs = enumerate(layer_outputs(self.layers[: max(indices) + 1], x))
        return self.head.read({index: self.head.rows(output) for index, output in outputs if index in indices})
