"""A whole data set as tensors."""

from __future__ import annotations

import copy
import operator
from collections.abc import Iterator
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from forwardforward._utils.checks import check_whole

__all__ = ["TensorData"]


class TensorData(Dataset[Any]):
    """Inputs and class labels of a whole data set, held as two tensors.

    Small sets fit in memory, and one ``index_select`` a batch is far quicker than collating single samples.
    It is a map-style dataset too, so ``torch.utils.data.DataLoader`` takes a labelled set.

    Everything is checked once, here, so that whoever reads the data need not.

    Args:
        inputs: floating tensor of shape (N, ...). Images of type uint8 are divided by 255 and become float32.
            A numpy array of floats becomes float32; a floating tensor keeps its type.
        targets: integer class labels of shape (N,), converted to int64; None for an unlabelled set.
        num_classes: number of classes; the highest label + 1 where not given.
        entries: where inputs are numbers of entries, such as of words in a vocabulary: how many entries there are.
            Inputs are then integers in [0, entries), and become int32.

    Raises:
        TypeError: inputs are neither floating nor uint8 (with ``entries``: not integers), or labels are not integers.
        ValueError: the set is empty, lengths or devices differ, inputs hold NaN or infinity or are outside
            [0, entries), labels are not 1-D or outside [0, num_classes).

    Example:
        >>> data = TensorData(torch.rand(5, 1, 28, 28), torch.tensor([3, 1, 4, 1, 5]), num_classes=10)
        >>> data
        TensorData(inputs=float32[5, 1, 28, 28], targets=int64[5], num_classes=10)
        >>> [len(targets) for _, targets in data.batches(3)]
        [3, 2]
    """

    inputs: Tensor
    targets: Tensor | None

    def __init__(
        self,
        inputs: Tensor | NDArray[Any],
        targets: Tensor | NDArray[Any] | None = None,
        num_classes: int | None = None,
        entries: int | None = None,
    ) -> None:
        self.inputs = _checked_inputs(inputs) if entries is None else _checked_entries(inputs, entries)
        self.targets = None if targets is None else _checked_targets(targets, self.inputs)
        self._num_classes = _checked_num_classes(num_classes, self.targets)

    @staticmethod
    def concatenate(a: TensorData, b: TensorData) -> TensorData:
        """The samples of ``a`` followed by those of ``b``.

        Raises:
            ValueError: shape, type or device of the inputs differ, or only one of the sets has labels.
        """
        for what, of_a, of_b in (
            ("shape", a.input_shape, b.input_shape),
            ("type", a.inputs.dtype, b.inputs.dtype),
            ("device", a.inputs.device, b.inputs.device),
        ):
            if of_a != of_b:
                raise ValueError(f"a and b must have inputs of one {what}, got {of_a} and {of_b}")
        inputs = torch.cat((a.inputs, b.inputs))
        if a.targets is not None and b.targets is not None:
            joined = a._derive(inputs, torch.cat((a.targets, b.targets)))
        elif a.targets is None and b.targets is None:
            joined = a._derive(inputs, None)
        else:
            raise ValueError("a and b must both have targets or both have none, got one of each")
        joined._num_classes = max((n for n in (a._num_classes, b._num_classes) if n is not None), default=None)
        return joined

    @property
    def num_classes(self) -> int:
        """Number of classes: as given to the constructor, else the highest label + 1.

        Raises:
            ValueError: the set has no labels and was given no number.
        """
        if self._num_classes is None:
            raise ValueError("num_classes is unknown: this set has no targets; give TensorData num_classes=")
        return self._num_classes

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return tuple(self.inputs.shape[1:])

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> TensorData:
        """The same set on ``device``, floating inputs as ``dtype`` where that is given."""
        inputs = self.inputs.to(device, dtype if self.inputs.is_floating_point() else None)
        return self._derive(inputs, None if self.targets is None else self.targets.to(device))

    def num_batches(self, batch_size: int, drop_last: bool = False) -> int:
        """Number of batches that :meth:`batches` yields.

        Raises:
            ValueError: ``batch_size`` is below 1, or so large that ``drop_last`` would leave no batch.
        """
        return len(self._parts(batch_size, drop_last))

    def batches(
        self, batch_size: int, generator: torch.Generator | None = None, drop_last: bool = False
    ) -> Iterator[tuple[Tensor, Tensor | None]]:
        """One pass over the set.

        A last batch of one sample joins the batch before it, in the same order, since some negatives and batch
        statistics need two: 101 samples in batches of 50 make batches of 50 and 51.

        Args:
            batch_size: samples a batch; the last one may be smaller, or larger by one.
            generator: CPU generator that shuffles the samples (drawn from once, at the call). Without one the
                samples come in order, as views that cost no copy.
            drop_last: leave out a last batch that is smaller than ``batch_size``.

        Returns:
            Iterator of (inputs, targets); targets are None in an unlabelled set.

        Raises:
            ValueError: as :meth:`num_batches`, or the generator is not on the CPU.
        """
        parts = self._parts(batch_size, drop_last)
        if generator is None:
            return self._in_order(parts)
        if generator.device.type != "cpu":
            raise ValueError(f"generator must be on the CPU, got one on {generator.device}")
        # Drawn on the CPU, the order is the same whichever device holds the data.
        order = torch.randperm(len(self), generator=generator).to(self.inputs.device)
        return self._shuffled(parts, order)

    def _parts(self, batch_size: int, drop_last: bool) -> list[slice]:
        check_whole("batch_size", batch_size, 1)
        if drop_last and batch_size > len(self):
            raise ValueError(f"batch_size must be at most the {len(self)} samples with drop_last, got {batch_size}")
        return batch_slices(len(self), batch_size, drop_last)

    def _in_order(self, parts: list[slice]) -> Iterator[tuple[Tensor, Tensor | None]]:
        for part in parts:
            yield self.inputs[part], None if self.targets is None else self.targets[part]

    def _shuffled(self, parts: list[slice], order: Tensor) -> Iterator[tuple[Tensor, Tensor | None]]:
        for part in parts:
            batch = order[part]
            targets = None if self.targets is None else self.targets.index_select(0, batch)
            yield self.inputs.index_select(0, batch), targets

    def __len__(self) -> int:
        return len(self.inputs)

    @overload
    def __getitem__(self, index: int) -> tuple[Tensor, Tensor | None]: ...

    @overload
    def __getitem__(self, index: slice | Tensor) -> TensorData: ...

    def __getitem__(self, index: int | slice | Tensor) -> tuple[Tensor, Tensor | None] | TensorData:
        """One (input, target) for an integer; a set for a slice or a 1-D tensor of indices or booleans.

        Raises:
            ValueError: nothing is left.
            IndexError: an index is out of range.
            TypeError: the index is of another type.
        """
        chosen: int | slice | Tensor
        if isinstance(index, slice):
            chosen = index
        elif isinstance(index, Tensor) and index.ndim > 0:
            if index.ndim > 1:
                raise TypeError(f"index must be 1-D as a tensor, got shape {tuple(index.shape)}")
            chosen = index
        else:
            try:
                chosen = operator.index(index)  # numpy integers and 0-d tensors count as integers
            except TypeError:
                kind = type(index).__name__
                raise TypeError(f"index must be an integer, a slice or a 1-D tensor, got a {kind}") from None
        inputs = self.inputs[chosen]
        targets = None if self.targets is None else self.targets[chosen]
        if isinstance(chosen, int):
            return inputs, targets
        if len(inputs) == 0:
            raise ValueError(f"index must leave at least one sample, got none of {len(self)}")
        return self._derive(inputs, targets)

    def _derive(self, inputs: Tensor, targets: Tensor | None) -> TensorData:
        """The same set with other tensors, known to be good."""
        derived = copy.copy(self)
        derived.inputs, derived.targets = inputs, targets
        return derived

    def __repr__(self) -> str:
        targets = None if self.targets is None else _describe(self.targets)
        inputs = _describe(self.inputs)
        return f"{type(self).__name__}(inputs={inputs}, targets={targets}, num_classes={self._num_classes})"


def batch_slices(count: int, batch_size: int, drop_last: bool = False) -> list[slice]:
    """Return the batches of ``count`` samples; a last one of one sample joins the batch before it."""
    stops = list(range(batch_size, count + 1, batch_size))
    rest = count % batch_size
    if rest == 1 and stops and not drop_last:
        stops[-1] = count
    elif rest and not drop_last:
        stops.append(count)
    return [slice(start, stop) for start, stop in zip([0, *stops], stops, strict=False)]


def _describe(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"


def _as_tensor(name: str, value: Tensor | NDArray[Any]) -> Tensor:
    if isinstance(value, Tensor):
        return value
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{name} must be a tensor or a numpy array, got {type(value).__name__}")
    try:
        # torch takes neither foreign byte orders nor negative strides, and warns of read-only memory.
        native = np.require(value, value.dtype.newbyteorder("="), ["C", "W"])
        return torch.from_numpy(native)
    except TypeError:
        raise TypeError(f"{name} must be an array of numbers, got {value.dtype}") from None


def _checked_inputs(value: Tensor | NDArray[Any]) -> Tensor:
    inputs = _as_tensor("inputs", value)
    if inputs.dtype != torch.uint8 and not inputs.is_floating_point():
        raise TypeError(
            f"inputs must be floating or uint8 (images, scaled by 1/255), got {inputs.dtype}; "
            "numbers of entries, such as of words, need entries="
        )
    _check_shape(inputs)
    if inputs.dtype == torch.uint8:
        return inputs.float().div_(255)
    if not isinstance(value, Tensor):
        inputs = inputs.float()  # numpy's float64 comes from its default, not from a wish
    # NaN wins in aminmax and infinities are extremes, so two numbers tell of all, without a mask in memory.
    if not torch.stack(inputs.aminmax()).isfinite().all():
        sample = int(inputs.flatten(1).isfinite().all(1).logical_not().nonzero()[0])
        raise ValueError(f"inputs must be finite, got NaN or infinity, first in sample {sample}")
    return inputs


def _checked_entries(value: Tensor | NDArray[Any], entries: int) -> Tensor:
    if type(entries) is not int or not 1 <= entries <= 2**31:
        raise ValueError(f"entries must be a whole number in 1..2**31, got {entries!r}")
    inputs = _as_tensor("inputs", value)
    if inputs.is_floating_point() or inputs.is_complex() or inputs.dtype == torch.bool:
        raise TypeError(f"inputs must be integers where entries is given, got {inputs.dtype}")
    _check_shape(inputs)
    inputs = inputs.long() if inputs.dtype in (torch.uint16, torch.uint32, torch.uint64) else inputs
    lowest, highest = (int(extreme) for extreme in inputs.aminmax())
    if lowest < 0 or highest >= entries:
        raise ValueError(f"inputs must be numbers of entries in 0..{entries - 1}, got {lowest}..{highest}")
    return inputs.int()


def _check_shape(inputs: Tensor) -> None:
    if inputs.ndim < 2:
        raise ValueError(f"inputs must have shape (N, ...), two dimensions or more, got {tuple(inputs.shape)}")
    if inputs.numel() == 0:
        raise ValueError(f"inputs must not be empty, got shape {tuple(inputs.shape)}")


def _checked_targets(value: Tensor | NDArray[Any], inputs: Tensor) -> Tensor:
    targets = _as_tensor("targets", value)
    if targets.is_floating_point() or targets.is_complex() or targets.dtype == torch.bool:
        raise TypeError(f"targets must be integer class labels, got {targets.dtype}")
    if targets.ndim != 1:
        raise ValueError(f"targets must be 1-D, one label per sample, got shape {tuple(targets.shape)}")
    if len(targets) != len(inputs):
        raise ValueError(f"targets must have one label for each of the {len(inputs)} inputs, got {len(targets)}")
    if targets.device != inputs.device:
        raise ValueError(f"targets must be on the inputs' device {inputs.device}, got {targets.device}")
    targets = targets.long()
    if (lowest := int(targets.min())) < 0:
        raise ValueError(f"targets must be class labels from 0 up, got {lowest}")
    return targets


def _checked_num_classes(num_classes: int | None, targets: Tensor | None) -> int | None:
    if num_classes is not None:
        check_whole("num_classes", num_classes, 1)
    if targets is None:
        return num_classes
    highest = int(targets.max())
    if num_classes is None:
        return highest + 1
    if highest >= num_classes:
        raise ValueError(f"targets: labels out of range, must be below num_classes={num_classes}, got {highest}")
    return num_classes
