"""The goodness of images under every label, in chunks that fit into memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from forwardforward.batches import LabeledInput
from forwardforward.label_encoders import LabelEncoder
from forwardforward.layers import FFLayer
from forwardforward.layers.chain import run_layers

__all__ = ["goodness_by_class", "goodness_by_label", "goodness_of"]


def goodness_of(layers: Sequence[FFLayer], x: Tensor | LabeledInput) -> Tensor:
    """Return the goodness of every row in every layer, ``(rows, layers)`` or per class ``(rows, layers, classes)``.

    Args:
        layers: The layers, in order.
        x: Input of the first layer.

    Raises:
        ValueError: If a layer's objective has no goodness.
    """
    values = list(run_layers(layers, x, FFLayer.output_and_goodness))
    for index, goodness in enumerate(values):
        if goodness is None:
            raise ValueError(f"every layer must have a per-class goodness, got only a batch objective in layer {index}")
    return torch.stack([goodness for goodness in values if goodness is not None], dim=1)


def goodness_by_class(layers: Sequence[FFLayer], images: Tensor, chunk_size: int) -> Tensor:
    """Return the per-class goodness of images, ``(batch, layers, classes)``, in one pass.

    Args:
        layers: The layers, in order.
        images: ``(batch, ...)``.
        chunk_size: Number of images per chunk.
    """
    return torch.cat([goodness_of(layers, chunk) for chunk in images.split(chunk_size)])


def goodness_by_label(layers: Sequence[FFLayer], images: Tensor, encoder: LabelEncoder, chunk_size: int) -> Tensor:
    """Return the goodness of images with each label in turn, ``(batch, layers, classes)``.

    Args:
        layers: The layers, in order.
        images: ``(batch, ...)``.
        encoder: Joins the labels to the images.
        chunk_size: Number of rows per chunk, each an image with a label.
    """
    labels = torch.arange(encoder.num_classes, device=images.device).split(min(encoder.num_classes, chunk_size))
    responses: list[dict[str, Any]] = [{} for _ in labels]  # the first layer's response to the labels serves all images
    chunks = []
    for chunk in images.split(max(1, chunk_size // len(labels[0]))):
        columns = []
        for candidates, cache in zip(labels, responses, strict=True):
            goodness = goodness_of(layers, replace(encoder.candidates(chunk, candidates), responses=cache))
            columns.append(goodness.view(len(candidates), len(chunk), len(layers)))
        chunks.append(torch.cat(columns).permute(1, 2, 0))
    return torch.cat(chunks)
