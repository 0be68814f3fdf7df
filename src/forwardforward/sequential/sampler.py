"""The sampler of a network's negatives."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from forwardforward._utils.annotations import describe
from forwardforward._utils.checks import extremes
from forwardforward._utils.plugins import calling
from forwardforward.batches import Batch
from forwardforward.label_encoders import LabelEncoder
from forwardforward.negatives import LabelNegatives, Negatives, RandomLabel

__all__ = ["Sampler", "checked_sampler", "draw_samples", "tried_samples"]

#: ``sampler(images, labels, label_encoder, scores, generator)``, as :class:`~forwardforward.negatives.Negatives`.
Sampler = Callable[[Tensor, Tensor | None, LabelEncoder | None, Tensor | None, torch.Generator | None], Batch]

#: Forms of the calls, for messages.
BATCH = "(images, labels, label_encoder, scores, generator) -> Batch"
WRONG_LABELS = "wrong_labels(labels, num_classes, scores, generator) -> labels"


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
        ValueError: If it returns another number of rows.
    """
    return checked_samples(sampler(images, labels, label_encoder, scores, generator), images, sampler)


def checked_samples(batch: object, images: Tensor, sampler: Sampler) -> Batch:
    """Return what a sampler returned, which must be a positive and a negative row per image.

    Args:
        batch: What it returned.
        images: The images.
        sampler: The sampler, for the message.

    Raises:
        TypeError: If it is something else.
        ValueError: If it has another number of rows.
    """
    if not isinstance(batch, Batch) or not batch.has_negatives:
        got = "one with has_negatives=False" if isinstance(batch, Batch) else describe(batch)
        raise TypeError(f"negatives must return a Batch with has_negatives=True, got {got} from {describe(sampler)}")
    if len(batch.inputs) != 2 * len(images):
        raise ValueError(
            f"negatives must return a positive and a negative row per image, {2 * len(images)} rows, "
            f"got {len(batch.inputs)} from {describe(sampler)}"
        )
    return batch


def tried_samples(
    sampler: Sampler, images: Tensor, labels: Tensor | None, label_encoder: LabelEncoder | None, num_classes: int | None
) -> Batch:
    """Return the samples of a small batch, to try a sampler and what it returns.

    Args:
        sampler: The sampler.
        images: Prepared images.
        labels: Their labels.
        label_encoder: Joins labels to images.
        num_classes: Number of classes.

    Raises:
        TypeError: If the sampler is not callable in this way, or returns something else.
        ValueError: If it returns another number of rows, or wrong labels that are no classes or the true ones.
    """
    device = images.device
    generator = torch.Generator(device).manual_seed(0)

    def scores_of(count: int) -> Tensor | None:
        if not isinstance(sampler, Negatives) or sampler.scores is None or num_classes is None:
            return None
        return torch.rand(count, num_classes, generator=generator, device=device)

    if isinstance(sampler, LabelNegatives) and label_encoder is not None:
        classes = label_encoder.num_classes
        every = torch.linspace(0, classes - 1, 256, device=device).round().long()
        with calling("negatives", sampler, WRONG_LABELS, names_parts=True):
            wrong = sampler.wrong_labels(every, classes, scores_of(len(every)), generator)
        _check_wrong_labels(wrong, every, classes, sampler)
    with calling("negatives", sampler, BATCH, names_parts=True):
        samples = sampler(images, labels, label_encoder, scores_of(len(images)), generator)
    return checked_samples(samples, images, sampler)


def _check_wrong_labels(wrong: object, labels: Tensor, num_classes: int, sampler: LabelNegatives) -> None:
    if not isinstance(wrong, Tensor) or wrong.dtype != torch.int64 or wrong.shape != labels.shape:
        raise TypeError(
            f"wrong_labels must return one class index per label, a tensor of {labels.dtype} and shape "
            f"{tuple(labels.shape)}, got {describe(wrong)} from {describe(sampler)}"
        )
    lowest, highest = extremes(wrong)
    if lowest < 0 or highest >= num_classes:
        raise ValueError(
            f"wrong_labels must return class indices in 0..{num_classes - 1}, got {lowest}..{highest} "
            f"from {describe(sampler)}"
        )
    if bool((wrong == labels).all()):  # some may be: a permutation of a batch's labels is a widely used sampler
        raise ValueError(f"wrong_labels must return others than the true labels, got these from {describe(sampler)}")
