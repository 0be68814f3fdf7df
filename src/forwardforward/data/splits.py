"""Training, validation and test part of a data set."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from forwardforward.data.tensors import TensorData

__all__ = ["Splits", "split", "stratified"]


@dataclass(frozen=True, eq=False)
class Splits:
    """A data set in three parts; the validation part never comes from the test images.

    Args:
        name: name of the data set.
        train: what a run learns from.
        validation: what settings are chosen on.
        test: what the final figure is measured on.
        num_classes: number of classes.
        input_shape: shape of one input.
        file_order: indices that bring train followed by validation back to the order of the original file;
            None where that is their order already.
        encode: texts of one's own to inputs, as these were made; None where the set holds no text.

    Raises:
        ValueError: a part has inputs of another shape, or more classes.
    """

    name: str
    train: TensorData
    validation: TensorData
    test: TensorData
    num_classes: int
    input_shape: tuple[int, ...]
    file_order: Tensor | None = field(default=None, repr=False)
    encode: Callable[[Sequence[str]], Tensor] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for part in ("train", "validation", "test"):
            data: TensorData = getattr(self, part)
            if data.input_shape != self.input_shape:
                raise ValueError(f"{part} must have inputs of shape {self.input_shape}, got {data.input_shape}")
            if data.targets is not None and data.num_classes > self.num_classes:
                raise ValueError(f"{part} must have at most {self.num_classes} classes, got {data.num_classes}")

    @property
    def train_and_validation(self) -> TensorData:
        """All training images in the order of the original file, for the final run of chosen settings."""
        both = TensorData.concatenate(self.train, self.validation)
        return both if self.file_order is None else both[self.file_order]

    def to(self, device: torch.device | str) -> Splits:
        """The same splits on ``device``."""
        train, validation, test = (part.to(device) for part in (self.train, self.validation, self.test))
        return replace(self, train=train, validation=validation, test=test)

    def standardized(self) -> Splits:
        r"""The same splits with each channel shifted and scaled to mean 0 and standard deviation 1.

        .. math:: x'_{n,c,i,j} = \frac{x_{n,c,i,j} - \mu_c}{\sigma_c}, \qquad
                  \mu_c = \operatorname*{mean}_{n,i,j} x_{n,c,i,j}, \qquad
                  \sigma_c^2 = \operatorname*{mean}_{n,i,j} (x_{n,c,i,j} - \mu_c)^2

        Mean and standard deviation are measured on the training part alone and serve all three parts. The
        channels are the second dimension of the inputs: of rows (N, D), every column counts as a channel. A
        channel that is constant in the training part has no scale, so :math:`\sigma_c = 1` there and it is
        shifted only.

        Raises:
            TypeError: the inputs are numbers of entries, such as of words.

        Example:
            >>> images = torch.tensor([1.0, 3.0, 4.0, 8.0])[:, None, None, None]
            >>> a, b, c = (TensorData(part) for part in (images[:2], images[2:3], images[3:]))
            >>> splits = Splits("mine", a, b, c, num_classes=2, input_shape=(1, 1, 1)).standardized()
            >>> [part.inputs.flatten().tolist() for part in (splits.train, splits.validation, splits.test)]
            [[-1.0, 1.0], [2.0], [6.0]]
        """
        if not self.train.inputs.is_floating_point():
            raise TypeError(f"inputs must be floating to be shifted and scaled, got {self.train.inputs.dtype}")
        mean, std = _channel_statistics(self.train.inputs)
        train, validation, test = (
            TensorData(_scaled(part.inputs, mean, std), part.targets, self.num_classes)
            for part in (self.train, self.validation, self.test)
        )
        encode = None if self.encode is None else partial(_encode_scaled, self.encode, mean, std)
        return replace(self, train=train, validation=validation, test=test, encode=encode)


def split(data: TensorData, sizes: Sequence[int] | Sequence[float], seed: int) -> tuple[TensorData, ...]:
    """Random parts of a set in which each class keeps its share; without labels, plain random parts.

    The sizes are met exactly. A class's count in the last part is less than one sample from its share, and
    in each part before that less than one from its share of what is left. Within a part samples keep their
    order.

    Args:
        data: the set.
        sizes: sizes of the parts: integers that add up to ``len(data)``, or fractions that add up to 1.
        seed: fixes the split. It belongs to the data set, not to the run: with another seed for its weights a
            run keeps its test images.

    Raises:
        ValueError: sizes do not add up, or leave a part empty.
        TypeError: sizes mix integers and fractions.
    """
    return tuple(data[indices] for indices in _split_indices(data, sizes, seed))


def stratified(
    name: str,
    data: TensorData,
    sizes: Sequence[int] | Sequence[float],
    seed: int,
    test: TensorData | None = None,
) -> Splits:
    """Splits of a set that has no official ones, made by :func:`split`.

    Args:
        name: name of the data set.
        data: the set, or its training part where ``test`` is given.
        sizes: sizes of training, validation and test part; of the first two where ``test`` is given.
        seed: fixes the split.
        test: the official test set, if there is one.

    Raises:
        ValueError: as :func:`split`, or the number of sizes is wrong.
        TypeError: as :func:`split`.
    """
    expected = 3 if test is None else 2
    if len(sizes) != expected:
        raise ValueError(f"sizes must be {expected} numbers, got {len(sizes)}")
    indices = _split_indices(data, sizes, seed)
    return Splits(
        name=name,
        train=data[indices[0]],
        validation=data[indices[1]],
        test=data[indices[2]] if test is None else test,
        num_classes=data.num_classes,
        input_shape=data.input_shape,
        file_order=torch.cat(indices[:2]).argsort(),
    )


def _scaled(inputs: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    return (inputs - mean).div_(std).to(inputs.dtype)  # in place, which spares one more copy of the data


def _encode_scaled(
    encode: Callable[[Sequence[str]], Tensor], mean: Tensor, std: Tensor, texts: Sequence[str]
) -> Tensor:
    return _scaled(encode(texts), mean, std)


def _channel_statistics(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel, in a shape that broadcasts against the inputs."""
    dims = [dim for dim in range(inputs.ndim) if dim != 1]
    precise = inputs if inputs.dtype == torch.float64 else inputs.float()
    std, mean = torch.std_mean(precise, dims, correction=0, keepdim=True)
    constant = precise.amin(dims, keepdim=True) == precise.amax(dims, keepdim=True)
    return mean, std.masked_fill(constant, 1)


def _split_indices(data: TensorData, sizes: Sequence[int] | Sequence[float], seed: int) -> list[Tensor]:
    counts = _counts(sizes, len(data))
    rest = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
    if data.targets is not None:
        # Class after class, shuffled within each: what is taken at even steps takes evenly from every class.
        rest = rest[data.targets.cpu()[rest].argsort(stable=True)]
    parts = []
    for count in reversed(counts[1:]):
        taken = (torch.arange(len(rest) + 1) * count // len(rest)).diff() == 1
        parts.append(rest[taken])
        rest = rest[~taken]
    return [part.sort().values for part in (rest, *reversed(parts))]


def _counts(sizes: Sequence[int] | Sequence[float], total: int) -> list[int]:
    if all(isinstance(size, int) for size in sizes):
        counts = [int(size) for size in sizes]
        if sum(counts) != total:
            raise ValueError(f"sizes must add up to the {total} samples, got {list(sizes)}")
    elif all(isinstance(size, float) for size in sizes):
        if not math.isclose(math.fsum(sizes), 1):
            raise ValueError(f"sizes must add up to 1, got {list(sizes)}")
        borders = [0, *(round(total * upto) for upto in accumulate(sizes))]
        counts = [end - start for start, end in pairwise(borders)]
    else:
        raise TypeError(f"sizes must be all integers or all fractions, got {list(sizes)}")
    if not counts or min(counts) < 1:
        raise ValueError(f"sizes must leave at least one sample a part, got {list(sizes)} of {total} samples")
    return counts
