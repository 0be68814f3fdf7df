"""Random draws of a training step, made for each member by its own generators, outside of the batched functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from forwardforward.batches import LabeledInput
from forwardforward.layers.embedding import IndexLayer
from forwardforward.negatives import LabelNegatives
from forwardforward.sequential import FFSequential
from forwardforward.sequential.sampler import draw_samples

__all__ = ["Generators", "stacked_samples", "without_dropped"]

Generators = Sequence[torch.Generator | None]


def stacked_samples(
    members: Sequence[FFSequential],
    images: Tensor,
    labels: Tensor | None,
    scores: Tensor | None,
    generators: Generators,
) -> tuple[dict[str, Any], bool]:
    """Return the inputs of a step, and whether they have negatives.

    Wrong labels are joined to the images in the batched function, so that they are not copied for each member; the
    inputs of other samplers are stacked.

    Args:
        members: The networks.
        images: Prepared images, ``(members, batch, ...)``.
        labels: Class indices, ``(members, batch)``; None if there are none.
        scores: Scores that the samplers need, ``(members, batch, classes)``, or None.
        generators: Each member's source of randomness.

    Returns:
        ``images`` and ``wrong`` labels, or ``inputs``.
    """
    if members[0].negatives is None:
        return {"inputs": images}, False
    drawn = [
        _drawn(
            member,
            images[index],
            None if labels is None else labels[index],
            None if scores is None else scores[index],
            generators[index],
        )
        for index, member in enumerate(members)
    ]
    if _draws_labels(members[0].negatives):
        return {"images": images, "wrong": torch.stack(drawn)}, True
    return {"inputs": pytree.tree_map(lambda *tensors: torch.stack(tensors), *drawn)}, True


def _drawn(
    member: FFSequential,
    images: Tensor,
    labels: Tensor | None,
    scores: Tensor | None,
    generator: torch.Generator | None,
) -> Any:
    """Return a member's wrong labels, or the inputs that another sampler makes."""
    sampler, encoder = member.negatives, member.label_encoder
    assert sampler is not None
    if isinstance(sampler, LabelNegatives) and _draws_labels(sampler):
        assert encoder is not None
        assert labels is not None
        return sampler.wrong_labels(labels, encoder.num_classes, scores, generator)
    samples = draw_samples(sampler, images, labels, encoder, scores, generator)
    if isinstance(samples.inputs, LabeledInput) and samples.inputs.codebook.requires_grad:
        raise ValueError(f"negatives must derive from LabelNegatives for a learned label encoder, got {sampler}")
    return samples.inputs


def _draws_labels(sampler: object) -> bool:
    """Return whether a sampler's batch follows from its wrong labels."""
    return isinstance(sampler, LabelNegatives) and type(sampler).__call__ is LabelNegatives.__call__


def without_dropped(members: Sequence[FFSequential], batch: dict[str, Any], generators: Generators) -> dict[str, Any]:
    """Return a batch of indices in which each member leaves out its own, if the first layer has dropout.

    Args:
        members: The networks.
        batch: The stacked batch.
        generators: Each member's source of randomness.
    """
    first = members[0][0]
    if not isinstance(first, IndexLayer) or not first.dropout:
        return batch
    rows = [first.drop(x.flatten(1), generator) for x, generator in zip(batch["inputs"], generators, strict=True)]
    return {**batch, "inputs": torch.stack(rows)}
