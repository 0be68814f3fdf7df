"""Classification of prepared images in chunks that fit into memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from forwardforward.classifiers import Candidates, SumOverLayers
from forwardforward.heads import LinearHead
from forwardforward.label_encoders import LabelEncoder
from forwardforward.layers import FFLayer
from forwardforward.scoring.compiled import CompiledFunctions
from forwardforward.scoring.functions import CandidateGoodness, ClassGoodness, HeadFeatures, LabelGoodness, goodness_of

__all__ = ["Scorer"]


@dataclass(frozen=True)
class Scorer:
    """The layers, label encoder and head of a network in evaluation mode, applied to prepared images.

    Attributes:
        layers: The layers, in order.
        encoder: Joins labels to the images; None for a network without labels in its input.
        head: The one-pass head, or None.
        chunk_size: Largest number of activations of one layer per chunk.
        compiled: Compiled functions, or None to compile nothing.

    Example:
        >>> import forwardforward as ff
        >>> layer = ff.FFLinear(8, 6, goodness=ff.goodness.SumOfSquares(), loss=ff.losses.SymBa())
        >>> Scorer((layer,), ff.label_encoders.Overlay(3)).layer_goodness(torch.rand(4, 8)).shape
        torch.Size([4, 1, 3])
    """

    layers: tuple[FFLayer, ...]
    encoder: LabelEncoder | None = None
    head: LinearHead | None = None
    chunk_size: int = 2**22
    compiled: CompiledFunctions | None = None

    def goodness(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return each layer's goodness of images with given labels, ``(batch, layers)``.

        Args:
            images: ``(batch, ...)``.
            labels: Class indices in range, ``(batch,)``.
        """
        encoder = self.encoder
        if encoder is None:
            index = labels.view(-1, 1, 1).expand(-1, len(self.layers), 1)
            return self.layer_goodness(images).gather(2, index).squeeze(2)

        def function(images: Tensor, labels: Tensor) -> Tensor:
            return goodness_of(self.layers, encoder.join(images, labels)).T

        return _in_chunks(function, self._rows(images), images, labels)

    def layer_goodness(self, images: Tensor) -> Tensor:
        """Return each layer's goodness of each image under every label, ``(batch, layers, classes)``.

        Args:
            images: ``(batch, ...)``.
        """
        rows = self._rows(images)
        if self.encoder is None:
            return self._run(ClassGoodness(self.layers), rows, images)
        labels = min(self.encoder.num_classes, rows)
        function = LabelGoodness(self.layers, self.encoder, labels)
        if self.compiled is None:  # a compiled function would keep the responses to labels of earlier weights
            function = replace(function, responses=[{} for _ in range(0, self.encoder.num_classes, labels)])
        return self._run(function, max(1, rows // labels), images)

    def candidate_goodness(self, images: Tensor, candidates: Candidates) -> Tensor:
        """Return the goodness that a candidate list needs, ``(batch, layers, classes)``, and 0 elsewhere.

        Args:
            images: ``(batch, ...)``.
            candidates: Selects the labels that the later layers compute.
        """
        if self.encoder is None:  # all labels are computed at once
            return self.layer_goodness(images)
        function = CandidateGoodness(self.layers, self.encoder, candidates)
        rows = max(1, self._rows(images) // self.encoder.num_classes)
        if candidates.is_ragged and self.compiled is not None:
            compiled = self.compiled
            return _in_chunks(lambda chunk: function(chunk, compiled), rows, images)
        return self._run(function, rows, images)

    def head_labels(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor | None:
        """Return random labels under which the head reads features, ``(batch,)``; None for the neutral label.

        Args:
            images: ``(batch, ...)``.
            generator: Source of randomness.
        """
        if self.encoder is None or self.head is None or self.head.label != "random":
            return None
        size = (len(images),)
        return torch.randint(self.encoder.num_classes, size, generator=generator, device=images.device)

    def head_features(self, images: Tensor, labels: Tensor | None) -> Tensor:
        """Return the head's features, ``(batch, features)``.

        Args:
            images: ``(batch, ...)``.
            labels: The labels under which they are read, see :meth:`head_labels`; None for the neutral label.
        """
        assert self.head is not None
        function = HeadFeatures(self.layers, self.head, self.encoder)
        return self._run(function, self._rows(images), images, *([] if labels is None else [labels]))

    def scores_for_negatives(
        self, images: Tensor, labels: Tensor | None, kind: str | None, classifier: SumOverLayers
    ) -> tuple[Tensor | None, Tensor | None]:
        """Return the head's features, None without a head, and the scores that a sampler of negatives needs.

        Args:
            images: ``(batch, ...)``.
            labels: The labels under which the head reads features, see :meth:`head_labels`.
            kind: The scores: None, ``"head"`` or ``"goodness"``.
            classifier: Function from goodness to scores.
        """
        features = None if self.head is None else self.head_features(images, labels)
        if kind == "head" and self.head is not None:
            return features, self.head(features)
        return features, classifier(self.layer_goodness(images)) if kind == "goodness" else None

    def _rows(self, images: Tensor) -> int:
        """Return the number of rows per chunk, so that no layer computes more than ``chunk_size`` activations."""
        largest = max(images[0].numel(), *(layer.largest_size for layer in self.layers))
        return max(1, self.chunk_size // largest)

    def _run(self, function: Callable[..., Tensor], rows: int, *tensors: Tensor) -> Tensor:
        compiled = self.compiled
        if compiled is None:
            return _in_chunks(function, rows, *tensors)
        return _in_chunks(lambda *chunk: compiled(function, *chunk), rows, *tensors, pad=True)


def _in_chunks(function: Callable[..., Tensor], rows: int, *tensors: Tensor, pad: bool = False) -> Tensor:
    """Return a function's results for all samples.

    Args:
        function: From chunks of the tensors to a tensor, of one row per sample.
        rows: Largest number of samples per chunk; the chunks are about equal.
        *tensors: ``(batch, ...)``.
        pad: Whether to fill up the last chunk, for a function that is compiled for one shape.
    """
    count = len(tensors[0])
    if count <= rows:
        return function(*tensors)
    size = -(-count // -(-count // rows))
    results = []
    for chunk in zip(*(tensor.split(size) for tensor in tensors), strict=True):
        missing = size - len(chunk[0])
        if pad and missing:
            chunk = tuple(torch.cat([part, part[-1:].expand(missing, *part.shape[1:])]) for part in chunk)
        results.append(function(*chunk))
    return torch.cat(results)[:count]
