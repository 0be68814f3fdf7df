"""Every layer's goodness of images under every label, in parts that fit the memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from forwardforward.batches import LabelledInput
from forwardforward.label_encoders import LabelEncoder
from forwardforward.layers import FFLayer
from forwardforward.objectives import Objective

__all__ = ["goodness_by_class", "goodness_by_label", "goodness_of", "widest_of"]


def goodness_of(stack: Sequence[FFLayer], x: Tensor | LabelledInput) -> Tensor:
    """Return the goodness of every row in every layer, ``(rows, layers)``, per class ``(rows, layers, classes)``.

    Args:
        stack: The layers, in order.
        x: What the first layer reads.

    Raises:
        ValueError: If a layer has none.
    """
    found = []
    for layer in stack:
        x, goodness = layer.goodness(x)
        if goodness is None:
            raise ValueError("every layer must have a per-class goodness, but one has a batch objective alone")
        found.append(goodness)
    return torch.stack(found, dim=1)


def goodness_by_class(stack: Sequence[FFLayer], images: Tensor, at_once: int) -> Tensor:
    """Return the per-class goodness of images, which one pass gives, ``(batch, layers, classes)``.

    Args:
        stack: The layers, in order.
        images: ``(batch, ...)``.
        at_once: How many images run at once.
    """
    return torch.cat([goodness_of(stack, part) for part in images.split(at_once)])


def goodness_by_label(stack: Sequence[FFLayer], images: Tensor, encoder: LabelEncoder, at_once: int) -> Tensor:
    """Return the goodness of images with each label in turn, ``(batch, layers, classes)``.

    Args:
        stack: The layers, in order.
        images: ``(batch, ...)``.
        encoder: Joins the labels to the images.
        at_once: How many rows, each an image with a label, run at once.
    """
    labels = torch.arange(encoder.num_classes, device=images.device).split(min(encoder.num_classes, at_once))
    responses: list[dict[str, Any]] = [{} for _ in labels]  # what the first layer makes of the labels serves all images
    found = []
    for part in images.split(max(1, at_once // len(labels[0]))):
        every = []
        for some, kept in zip(labels, responses, strict=True):
            goodness = goodness_of(stack, replace(encoder.candidates(part, some), responses=kept))
            every.append(goodness.view(len(some), len(part), len(stack)))
        found.append(torch.cat(every).permute(1, 2, 0))
    return torch.cat(found)


def widest_of(stack: Sequence[FFLayer], x: Tensor | LabelledInput) -> int:
    """Return the largest number of activations that anything in the layers makes of one image, found by running it.

    Args:
        stack: The layers, in order.
        x: What the first layer reads of the image.
    """
    found = [0]
    hooks = [
        module.register_forward_hook(lambda module, inputs, output: found.append(output.numel()))
        for layer in stack
        for module in layer.modules()
        if not isinstance(module, Objective)
    ]
    try:
        x = x.joined() if isinstance(x, LabelledInput) else x  # else a block's hook would not run
        for layer in stack:
            x = layer(x)
    finally:
        for hook in hooks:
            hook.remove()
    return max(found)
