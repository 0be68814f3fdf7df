"""Whole data sets as tensors."""

from __future__ import annotations

import copy
import operator
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, overload

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from forwardforward._utils.arguments import NonNegativeInt, PositiveInt, Range, checked
from forwardforward._utils.checks import check_device
from forwardforward.data.checked_inputs import checked_indices, checked_inputs
from forwardforward.data.checked_targets import checked_num_classes, checked_targets
from forwardforward.data.class_names import check_class_names, label_indices, shortened, string_labels

__all__ = ["TensorData"]

#: More classes are derived from the labels only if most of them occur: a single stray label would make the model huge.
MANY_CLASSES = 1000


@checked
class TensorData(Dataset[Any]):
    """Inputs and targets of a whole data set as two tensors.

    Data sets that fit in memory are faster this way: a batch takes one ``index_select``, without collating single
    samples. It is also a map-style dataset, so ``torch.utils.data.DataLoader`` accepts a labeled ``TensorData``.

    All checks run once, in the constructor.

    Args:
        inputs: Floating-point tensor of shape (N, ...). Images of type uint8 are divided by 255 and become float32.
            Floating-point numpy arrays become float32; floating-point tensors keep their type.
        targets: Class labels of shape (N,): integers from 0, which become int64, or strings, which become the indices
            of their names in ``class_names``; a tensor, a numpy array, a list, a tuple or a data set of labels. Or
            floating-point numbers, which numpy arrays store as float32: real values (N,) or (N, K), or probabilities of
            classes (N, K). Or several labels per sample, (N, K), of integers 0 and 1 or booleans. The network's
            objectives decide which of these they accept, see :mod:`forwardforward.targets`. None for unlabeled data.
        num_classes: Number of classes. Default: the number of class names if available, else the highest label + 1, or
            the number of columns.
        num_embeddings: Vocabulary size if the inputs are embedding indices, such as word indices. Inputs must then be
            integers in [0, num_embeddings) and become int32.
        class_names: One name per class. Default: the sorted distinct strings if the targets are strings, else None.

    Raises:
        TypeError: If inputs are neither floating-point nor uint8 (with ``num_embeddings``: not integers), labels are
            neither numbers nor strings, or class names are not strings.
        ValueError: If the data set is empty, lengths or devices differ, inputs or targets contain NaN or infinity,
            inputs are outside [0, num_embeddings), targets have another shape, labels are outside [0, num_classes) or
            not in ``class_names``, or class names are empty, repeated or not one per class.

    Example:
        >>> data = TensorData(torch.rand(5, 1, 28, 28), torch.tensor([3, 1, 4, 1, 5]), num_classes=10)
        >>> data
        TensorData(inputs=float32[5, 1, 28, 28], targets=int64[5], num_classes=10)
        >>> [len(targets) for _, targets in data.batches(3)]
        [3, 2]
        >>> pets = TensorData(torch.rand(3, 4), ["dog", "cat", "dog"])
        >>> pets.class_names, pets.targets
        (('cat', 'dog'), tensor([1, 0, 1]))
    """

    inputs: Tensor
    targets: Tensor | None
    class_names: tuple[str, ...] | None

    def __init__(
        self,
        inputs: Tensor | NDArray[Any],
        targets: Tensor | NDArray[Any] | Sequence[Any] | Dataset[Any] | None = None,
        num_classes: PositiveInt | None = None,
        num_embeddings: Annotated[int, Range(1, 2**31)] | None = None,
        class_names: Sequence[str] | NDArray[Any] | None = None,
    ) -> None:
        self.inputs = checked_inputs(inputs) if num_embeddings is None else checked_indices(inputs, num_embeddings)
        labels = None if targets is None else string_labels(targets)
        if labels is not None and class_names is None:
            class_names = sorted(set(labels))
        self.class_names = None if class_names is None else check_class_names(class_names, num_classes)
        if self.class_names is not None:
            num_classes = len(self.class_names)
        if labels is not None and self.class_names is not None:
            targets = label_indices(labels, self.class_names).to(self.inputs.device)
        self.targets = None if targets is None else checked_targets(targets, self.inputs)
        self._num_classes = checked_num_classes(num_classes, self.targets)
        self._labels_are_sparse = num_classes is None and self._has_sparse_labels()

    @staticmethod
    @checked
    def concatenate(a: TensorData, b: TensorData) -> TensorData:
        """Return the samples of ``a`` followed by those of ``b``.

        Raises:
            TypeError: If only one is of a subclass, such as :class:`~forwardforward.data.pretexts.PretextData`.
            ValueError: If the inputs' shape, type or device or the class names differ, or only one of the two is
                labeled.
        """
        for what, of_a, of_b in (
            ("inputs of the same shape", a.input_shape, b.input_shape),
            ("inputs of the same type", a.inputs.dtype, b.inputs.dtype),
            ("inputs on the same device", a.inputs.device, b.inputs.device),
            ("the same class names", a.class_names, b.class_names),
        ):
            if of_a != of_b:
                raise ValueError(f"a and b must have {what}, got {of_a} and {of_b}")
        a._check_joinable(b)
        inputs = torch.cat((a.inputs, b.inputs))
        if a.targets is not None and b.targets is not None:
            forms = _describe(a.targets[0]), _describe(b.targets[0])
            if forms[0] != forms[1]:
                raise ValueError(f"a and b must have targets of the same shape and type, got {forms[0]} and {forms[1]}")
            joined = a._derive(inputs, torch.cat((a.targets, b.targets)))
        elif a.targets is None and b.targets is None:
            joined = a._derive(inputs, None)
        else:
            raise ValueError("a and b must both have targets or both have none, got one of each")
        largest = max(a, b, key=lambda data: (data._num_classes or 0, not data._labels_are_sparse))
        joined._num_classes = largest._num_classes
        joined._labels_are_sparse = largest._labels_are_sparse and joined._has_sparse_labels()
        return joined

    @property
    def num_classes(self) -> int:
        """Number of classes: the constructor's ``num_classes`` or its default.

        Raises:
            ValueError: If neither ``num_classes`` nor ``class_names`` was set, and the data are unlabeled, the targets
                are real numbers, or the labels leave out most of more than 1000 classes.
        """
        if self._num_classes is None and self.targets is not None:
            raise ValueError("num_classes is unknown: the targets are real numbers, not classes")
        if self._num_classes is None:
            raise ValueError("num_classes is unknown: the data have no targets; set TensorData(num_classes=)")
        if self._labels_are_sparse and self.targets is not None:
            raise ValueError(
                f"num_classes is unknown: the targets have {len(self.targets.unique())} different labels, but the "
                f"highest is {self._num_classes - 1}; torch.unique(targets, return_inverse=True)[1] numbers them from "
                "0, or set TensorData(num_classes=)"
            )
        return self._num_classes

    def _check_joinable(self, other: TensorData) -> None:
        """Check that batches of the other data set are made as those of this one."""
        if type(self) is not type(other):
            raise TypeError(f"a and b must be of one type, got {type(self).__name__} and {type(other).__name__}")

    def _has_sparse_labels(self) -> bool:
        """Return whether labels leave out most of many classes; a part of the data set may do so."""
        if self.targets is None or self.targets.dim() != 1 or (self._num_classes or 0) <= MANY_CLASSES:
            return False
        return 2 * len(self.targets.unique()) < (self._num_classes or 0)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return tuple(self.inputs.shape[1:])

    @checked
    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> TensorData:
        """Return the data set on ``device``.

        Args:
            device: Target device.
            dtype: Type of floating-point inputs. Default: unchanged.
        """
        check_device(device, stores_data=False)
        inputs = self.inputs.to(device, dtype if self.inputs.is_floating_point() else None)
        return self._derive(inputs, None if self.targets is None else self.targets.to(device))

    @checked
    def num_batches(self, batch_size: PositiveInt, drop_last: bool = False) -> int:
        """Return the number of batches that :meth:`batches` yields.

        Args:
            batch_size: Samples per batch.
            drop_last: Whether to leave out an incomplete last batch.

        Raises:
            ValueError: If ``batch_size`` is below 1, or ``drop_last`` would leave no batch.
        """
        return len(self._parts(batch_size, drop_last))

    @checked
    def batches(
        self,
        batch_size: PositiveInt,
        generator: torch.Generator | None = None,
        drop_last: bool = False,
        skip: NonNegativeInt = 0,
    ) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Iterate over the data set once.

        A last batch of one sample is merged into the previous batch, because some negatives and batch statistics need
        at least two samples: 101 samples in batches of 50 give batches of 50 and 51.

        Args:
            batch_size: Samples per batch; the last batch may be smaller, or larger by one.
            generator: CPU generator that shuffles the samples; it is used once, at the call. Default: no shuffling;
                batches are then views that need no copy.
            drop_last: Whether to leave out a last batch that is smaller than ``batch_size``.
            skip: Number of batches to leave out at the start, to resume an iteration.

        Returns:
            Iterator over (inputs, targets); targets are None for unlabeled data.

        Raises:
            ValueError: As :meth:`num_batches`, or if the generator is not on the CPU.
        """
        parts = self._parts(batch_size, drop_last)[skip:]
        if generator is None:
            return self._in_order(parts)
        if generator.device.type != "cpu":
            raise ValueError(f"generator must be on the CPU, got one on {generator.device}")
        # The order is sampled on the CPU so that it does not depend on the device of the data.
        order = torch.randperm(len(self), generator=generator, device="cpu").to(self.inputs.device)
        return self._shuffled(parts, order, generator)

    def _parts(self, batch_size: int, drop_last: bool) -> list[slice]:
        if drop_last and batch_size > len(self):
            raise ValueError(f"batch_size must be at most the {len(self)} samples with drop_last, got {batch_size}")
        return batch_slices(len(self), batch_size, drop_last)

    def _in_order(self, parts: list[slice]) -> Iterator[tuple[Tensor, Tensor | None]]:
        for part in parts:
            yield self.inputs[part], None if self.targets is None else self.targets[part]

    def _shuffled(
        self, parts: list[slice], order: Tensor, generator: torch.Generator
    ) -> Iterator[tuple[Tensor, Tensor | None]]:
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
        """Return one (input, target) for an integer, or a ``TensorData`` for a slice or a 1-D index or boolean tensor.

        Raises:
            ValueError: If no sample is selected.
            IndexError: If an index is out of range.
            TypeError: If the index has another type.
        """
        selection: int | slice | Tensor
        if isinstance(index, slice):
            selection = index
        elif isinstance(index, Tensor) and index.ndim > 0:
            if index.ndim > 1:
                raise TypeError(f"index must be a 1-D tensor, got shape {tuple(index.shape)}")
            selection = index
        else:
            try:
                selection = operator.index(index)  # numpy integers and 0-d tensors count as integers
            except TypeError:
                kind = type(index).__name__
                raise TypeError(f"index must be an integer, a slice or a 1-D tensor, got a {kind}") from None
        inputs = self.inputs[selection]
        targets = None if self.targets is None else self.targets[selection]
        if isinstance(selection, int):
            return inputs, targets
        if len(inputs) == 0:
            raise ValueError(f"index must select at least one sample, got none of {len(self)}")
        return self._derive(inputs, targets)

    def _with_class_names(self, class_names: tuple[str, ...]) -> TensorData:
        """Return the data set with names for its classes."""
        derived = self._derive(self.inputs, self.targets)
        derived.class_names, derived._labels_are_sparse = check_class_names(class_names, None), False
        derived._num_classes = checked_num_classes(len(class_names), self.targets)
        return derived

    def _derive(self, inputs: Tensor, targets: Tensor | None) -> TensorData:
        """Return the data set with other tensors, without checking them."""
        derived = copy.copy(self)
        derived.inputs, derived.targets = inputs, targets
        return derived

    def __repr__(self) -> str:
        targets = None if self.targets is None else _describe(self.targets)
        names = "" if self.class_names is None else f", class_names={shortened(self.class_names)}"
        inputs = _describe(self.inputs)
        return f"{type(self).__name__}(inputs={inputs}, targets={targets}, num_classes={self._num_classes}{names})"


def batch_slices(count: int, batch_size: int, drop_last: bool = False) -> list[slice]:
    """Return the slices of the batches of ``count`` samples; a last batch of one is merged into the previous one."""
    stops = list(range(batch_size, count + 1, batch_size))
    rest = count % batch_size
    if rest == 1 and stops and not drop_last:
        stops[-1] = count
    elif rest and not drop_last:
        stops.append(count)
    return [slice(start, stop) for start, stop in zip([0, *stops], stops, strict=False)]


def _describe(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"
