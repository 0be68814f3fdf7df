"""The sampler of a network's negatives."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from forwardforward._utils.annotations import describe
from forwardforward.batches import Batch
from forwardforward.label_encoders import LabelEncoder
from forwardforward.negatives import Negatives, RandomLabel

__all__ = ["Sampler", "checked_sampler", "draw_samples"]

#: ``sampler(images, labels, label_encoder, scores, generator)``, as :class:`~forwardforward.negatives.Negatives`.
Sampler = Callable[[Tensor, Tensor | None, LabelEncoder | None, Tensor | None, torch.Generator | None], Batch]


def checked_sampler(
    negatives: Sampler | None, uses_negatives: bool, label_encoder: LabelEncoder | None
) -> Sampler | None:
    """Return the sampler of the negatives, None for objectives without them; default: a random wrong label."""
    if not uses_negatives:
        if label_encoder is not None:
            raise ValueError(
                "label_encoder must be None for class and batch objectives: the layers would read the label"
            )
        if negatives is not None:
            raise ValueError("negatives must be None for class and batch objectives, which read plain images")
        return None
    negatives = RandomLabel() if negatives is None else negatives
    if isinstance(negatives, Negatives):
        if label_encoder is None and negatives.needs_labels:
            raise ValueError(
                f"label_encoder must be given for {negatives!r}, such as label_encoders.Overlay(num_classes=10)"
            )
        if label_encoder is not None and not negatives.needs_labels:
            raise ValueError(f"label_encoder must be None for {negatives!r}, which makes samples without labels")
    return negatives


def draw_samples(
    sampler: Sampler,
    images: Tensor,
    labels: Tensor | None,
    label_encoder: LabelEncoder | None,
    scores: Tensor | None,
    generator: torch.Generator | None,
) -> Batch:
    """Return the samples of a training step, see :class:`~forwardforward.negatives.Negatives`.

    Raises:
        TypeError: If the sampler returns something else.
    """
    batch = sampler(images, labels, label_encoder, scores, generator)
    if not isinstance(batch, Batch) or not batch.has_negatives:
        raise TypeError(
            f"negatives must return a Batch with has_negatives=True, got {describe(batch)} of {describe(sampler)}"
        )
    return batch
