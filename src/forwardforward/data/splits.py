"""Training, validation and test split of a data set."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from forwardforward._utils.annotations import describe
from forwardforward._utils.arguments import NonNegativeInt, PositiveInt, checked
from forwardforward.data.class_names import check_class_names
from forwardforward.data.tensors import TensorData
from forwardforward.data.text import TextEncoder

__all__ = ["Splits", "split", "stratified"]

PARTS = ("train", "validation", "test")


@checked
@dataclass(frozen=True, eq=False)
class Splits:
    """A data set as training, validation and test split; validation samples never come from the test set.

    Args:
        name: Name of the data set.
        train: Training samples.
        validation: Samples for choosing settings.
        test: Samples for the final evaluation.
        num_classes: Number of classes or labels; None if the targets are real numbers.
        input_shape: Shape of one input.
        file_order: Indices that sort the training samples followed by the validation samples into the order of the
            original file. Default: they are already in that order.
        text_encoder: Encodes texts in the same way as the inputs of a text data set. Default: None, for other data.
        class_names: One name per class, which the three splits then share. Default: the names of the three splits.

    Raises:
        ValueError: If a split has another input shape, more classes or other class names.

    Example:
        >>> data = TensorData(torch.rand(10, 4), ["cat", "dog"] * 5)
        >>> splits = Splits("pets", data[:6], data[6:8], data[8:], num_classes=2, input_shape=(4,))
        >>> splits.class_names
        ('cat', 'dog')
        >>> len(splits.train_and_validation)
        8
    """

    name: str
    train: TensorData
    validation: TensorData
    test: TensorData
    num_classes: PositiveInt | None
    input_shape: tuple[int, ...]
    file_order: Tensor | None = field(default=None, repr=False)
    text_encoder: TextEncoder | None = field(default=None, repr=False)
    class_names: tuple[str, ...] | None = field(default=None, repr=False)  # the repr of each split shows them

    def __post_init__(self) -> None:
        for part in PARTS:
            data: TensorData = getattr(self, part)
            if data.input_shape != self.input_shape:
                raise ValueError(f"{part} must have inputs of shape {self.input_shape}, got {data.input_shape}")
            _check_classes(part, data, self.num_classes)
        count = len(self.train) + len(self.validation)
        indices = torch.arange(count, device="cpu")
        order = self.file_order
        is_sortable = order is not None and not order.is_meta and not order.is_complex()
        if order is not None and not (is_sortable and torch.equal(order.cpu().sort().values, indices)):
            raise ValueError(f"file_order must contain each of 0..{count - 1} once, got {describe(self.file_order)}")
        self._share_class_names()

    def _share_class_names(self) -> None:
        """Check that class names agree, and set them where they are missing."""
        if self.class_names is None:
            names = self.train.class_names
        else:
            names = check_class_names(self.class_names, self.num_classes)
        for part in PARTS:
            data: TensorData = getattr(self, part)
            if data.class_names is None and self.class_names is not None:
                object.__setattr__(self, part, data._with_class_names(self.class_names))
            elif data.class_names != names:
                raise ValueError(f"{part} must have the class names {names}, got {data.class_names}")
        if names is not None:
            object.__setattr__(self, "class_names", check_class_names(names, self.num_classes))

    @property
    def train_and_validation(self) -> TensorData:
        """Training and validation samples in the order of the original file, for the final training run."""
        both = TensorData.concatenate(self.train, self.validation)
        return both if self.file_order is None else both[self.file_order]

    @property
    def class_counts(self) -> tuple[int, ...] | None:
        """Number of training samples of each class; None without labels, or with targets of another kind."""
        targets = self.train.targets
        if targets is None or targets.dim() != 1 or targets.is_floating_point() or self.num_classes is None:
            return None
        return tuple(torch.bincount(targets, minlength=self.num_classes).tolist())

    @functools.cached_property
    def digest(self) -> str:
        """Digest of the inputs and labels, by which other data of the same size are noticed.

        Of texts with floating-point inputs, which differ by rounding between machines, it covers the words that the
        text encoder distinguishes in place of the inputs.
        """
        digest = hashlib.sha256()
        for part in PARTS:
            data: TensorData = getattr(self, part)
            rounded = self.text_encoder is not None and data.inputs.is_floating_point()
            for tensor in (None if rounded else data.inputs, data.targets):
                if tensor is not None:
                    digest.update(f"{tensor.dtype}{list(tensor.shape)}".encode())
                    digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
        if self.text_encoder is not None:
            digest.update("\n".join(self.text_encoder.state()["words"]).encode())
        return digest.hexdigest()[:16]

    @checked
    def to(self, device: torch.device | str) -> Splits:
        """Return the splits on ``device``."""
        train, validation, test = (part.to(device) for part in (self.train, self.validation, self.test))
        return replace(self, train=train, validation=validation, test=test)


@checked
def split(data: TensorData, sizes: Sequence[int] | Sequence[float], seed: NonNegativeInt) -> tuple[TensorData, ...]:
    """Split a data set at random, stratified by class, or by size if the targets are real numbers.

    Unlabeled data, and data with several targets per sample, are split without stratification. Sizes are exact. Parts
    are sampled from the last to the first; in each, the number of samples of a class differs by
    less than one from its proportional share of the remaining samples. Within a part, samples keep their order.

    Args:
        data: The data set.
        sizes: Sizes of the parts: integers that add up to ``len(data)``, or fractions that add up to 1.
        seed: Random seed of the split. It belongs to the data set, not to the training run: runs with different seeds
            share the same test set.

    Returns:
        One ``TensorData`` per size.

    Raises:
        ValueError: If the sizes do not add up or leave a part empty.
        TypeError: If the sizes mix integers and fractions.

    Example:
        >>> data = TensorData(torch.rand(10, 4), torch.arange(10) % 2)
        >>> [len(part) for part in split(data, (0.6, 0.2, 0.2), seed=0)]
        [6, 2, 2]
    """
    return tuple(data[indices] for indices in _split_indices(data, sizes, seed))


@checked
def stratified(
    name: str,
    data: TensorData,
    sizes: Sequence[int] | Sequence[float],
    seed: int,
    test: TensorData | None = None,
) -> Splits:
    """Return :class:`Splits` of a data set without official splits, made by :func:`split`.

    Args:
        name: Name of the data set.
        data: The data set, or its training samples if ``test`` is set.
        sizes: Sizes of the training, validation and test split; without the last if ``test`` is set.
        seed: Random seed of the split.
        test: Official test set. Default: the test split is sampled too.

    Raises:
        ValueError: As :func:`split`, or if the number of sizes is wrong.
        TypeError: As :func:`split`.
    """
    expected = 3 if test is None else 2
    if len(sizes) != expected:
        raise ValueError(f"sizes must have {expected} elements, got {len(sizes)}")
    indices = _split_indices(data, sizes, seed)
    return Splits(
        name=name,
        train=data[indices[0]],
        validation=data[indices[1]],
        test=data[indices[2]] if test is None else test,
        num_classes=None if has_real_values(data) else data.num_classes,
        input_shape=data.input_shape,
        file_order=torch.cat(indices[:2]).argsort(),
    )


def has_real_values(data: TensorData) -> bool:
    """Return whether the targets are real numbers, one per sample; several may be probabilities of classes."""
    return data.targets is not None and data.targets.dim() == 1 and data.targets.is_floating_point()


def _check_classes(part: str, data: TensorData, num_classes: int | None) -> None:
    """Check that a part has the targets of the splits, with at most as many classes."""
    if data.targets is None:
        return
    if has_real_values(data) != (num_classes is None):
        expected = "real numbers for num_classes=None" if num_classes is None else "classes"
        raise ValueError(f"{part} must have targets that are {expected}, got {data.targets.dtype}")
    if num_classes is not None and data.num_classes > num_classes:
        raise ValueError(f"{part} must have at most {num_classes} classes, got {data.num_classes}")


def _split_indices(data: TensorData, sizes: Sequence[int] | Sequence[float], seed: int) -> list[Tensor]:
    counts = _counts(sizes, len(data))
    generator = torch.Generator().manual_seed(seed)
    remaining = torch.randperm(len(data), generator=generator, device="cpu")
    targets = None if data.targets is None or data.targets.dim() != 1 else data.targets.cpu()
    if targets is not None and not targets.is_floating_point():
        # Sort by class, shuffled within each class: samples at even distances are then an even share of every class.
        remaining = remaining[targets[remaining].argsort(stable=True)]
    parts = []
    for count in reversed(counts[1:]):
        if targets is not None and targets.is_floating_point():
            # The part gets a random sample of each of as many ranges of neighboring values as it has samples.
            remaining = remaining[torch.randperm(len(remaining), generator=generator, device="cpu")]
            ranges = targets[remaining].argsort(stable=True).argsort() * count // len(remaining)
            remaining = remaining[ranges.argsort(stable=True)]
        selected = (torch.arange(len(remaining) + 1, device="cpu") * count // len(remaining)).diff() == 1
        parts.append(remaining[selected])
        remaining = remaining[~selected]
    return [part.sort().values for part in (remaining, *reversed(parts))]


def _counts(sizes: Sequence[int] | Sequence[float], total: int) -> list[int]:
    if all(isinstance(size, int) for size in sizes):
        counts = [int(size) for size in sizes]
        if sum(counts) != total:
            raise ValueError(f"sizes must add up to the {total} samples, got {list(sizes)}")
    elif all(isinstance(size, float) for size in sizes):
        if not math.isclose(math.fsum(sizes), 1):
            raise ValueError(f"sizes must add up to 1, got {list(sizes)}")
        borders = [0, *(round(total * fraction) for fraction in accumulate(sizes))]
        counts = [end - start for start, end in pairwise(borders)]
    else:
        raise TypeError(f"sizes must be all integers or all fractions, got {list(sizes)}")
    if not counts or min(counts) < 1:
        raise ValueError(f"sizes must leave at least one sample per part, got {list(sizes)} of {total} samples")
    return counts
