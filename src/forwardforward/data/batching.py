"""Batches of tensors, data sets and loaders, on a device."""

from __future__ import annotations

import contextlib
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler, Subset

from forwardforward._utils.annotations import describe
from forwardforward._utils.checks import check_images
from forwardforward._utils.memory import check_memory
from forwardforward._utils.plugins import one_line
from forwardforward.data.tensors import TensorData, batch_slices
from forwardforward.preprocessing import to_tensor
from forwardforward.targets import TargetKind

__all__ = ["Data", "MapStyleDataset", "Pair", "Source", "class_names_of", "pair_of", "source"]

Pair = tuple[Tensor, Tensor | None]


@runtime_checkable
class MapStyleDataset(Protocol):
    """A data set of another library, with a length and samples by index.

    Example:
        >>> isinstance([(torch.zeros(3), 0)], MapStyleDataset)
        True
    """

    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    def __getitem__(self, index: int, /) -> Any:
        """Return one sample."""
        ...


#: Data for training and evaluation: :class:`~forwardforward.data.TensorData`, a pair of tensors or arrays, images
#: alone, a map-style data set, or a ``DataLoader``.
Data = TensorData | Tensor | NDArray[Any] | Sequence[Any] | Dataset[Any] | MapStyleDataset | DataLoader[Any]


class Source(Protocol):
    """Batches on a device, floating inputs in one dtype.

    Attributes:
        samples: Number of samples, None if it is unknown.
        steps: Number of batches, None if it is unknown.
        batch_size: Number of samples of every batch but the last, None if it is unknown.
        class_names: Names of the classes, None if the data have none.

    Example:
        >>> batches = source((torch.rand(5, 3), torch.arange(5)), batch_size=2, device=torch.device("cpu"))
        >>> [len(images) for images, _ in batches.batches(None)]
        [2, 3]
    """

    samples: int | None
    steps: int | None
    batch_size: int | None
    class_names: tuple[str, ...] | None

    def batches(
        self, generator: torch.Generator | None, skip: int = 0, after_skip: Callable[[], None] | None = None
    ) -> Iterator[Pair]:
        """Iterate over the data once, shuffled if a generator is given.

        Args:
            generator: Shuffles the data.
            skip: Number of batches to leave out at the start, to resume an iteration. A loader loads them.
            after_skip: Called before the next batch is loaded, to restore the random state at that time.
        """
        ...

    def some(self) -> Pair:
        """Return a few inputs and all available labels, without an effect on later draws."""
        ...

    def check_targets(self, kind: TargetKind, outputs: int | None, warn_of_absent: bool = False) -> None:
        """Check the targets: those of tensors now, those of a loader in every later batch.

        Args:
            kind: The kind of the targets.
            outputs: Number of classes, labels or values; None for any.
            warn_of_absent: Whether to warn if a class has no sample; of a loader, after the first pass.

        Raises:
            TypeError: If the targets are of another type.
            ValueError: If they have another shape, or one is out of range.
        """
        ...


class _Tensors:
    """A whole data set, moved to the device once."""

    def __init__(
        self,
        data: TensorData,
        batch_size: int,
        device: torch.device,
        dtype: torch.dtype | None,
        num_embeddings: int | None,
    ) -> None:
        self.data = data.to(device, dtype)
        inputs = self.data.inputs
        if inputs.is_floating_point():
            num_embeddings = None
        if num_embeddings is not None or inputs.dtype != data.inputs.dtype:  # TensorData has checked the original
            check_images(inputs, num_embeddings)
        self._batch_size = batch_size
        self.samples: int | None = len(data)
        self.steps: int | None = data.num_batches(batch_size)
        self.batch_size: int | None = _full_batch(len(data), batch_size)
        self.class_names = data.class_names

    def batches(
        self, generator: torch.Generator | None, skip: int = 0, after_skip: Callable[[], None] | None = None
    ) -> Iterator[Pair]:
        batches = self.data.batches(self._batch_size, generator, skip=skip)
        if after_skip is not None:
            after_skip()
        return batches

    def some(self) -> Pair:
        return self.data.inputs[:2], self.data.targets

    def check_targets(self, kind: TargetKind, outputs: int | None, warn_of_absent: bool = False) -> None:
        targets = self.data.targets
        if targets is None:
            return
        kind.check(targets, len(self.data), outputs)
        if warn_of_absent and outputs is not None and not targets.is_floating_point():
            _warn_of_absent(torch.bincount(targets, minlength=outputs))


class _Loader:
    """A loader; its generators are seeded in each epoch, so that a resumed run has the same order.

    Values are checked on the CPU, before the copy to the device, which need not be waited for.
    """

    def __init__(
        self, loader: DataLoader[Any], device: torch.device, dtype: torch.dtype | None, num_embeddings: int | None
    ) -> None:
        self.loader = loader
        self.device = device
        self.dtype = dtype
        self.num_embeddings = num_embeddings
        self.samples = _length(loader.dataset)
        self.steps = _length(loader)
        self.batch_size = loader.batch_size  # None with a batch sampler
        if isinstance(loader.batch_sampler, _Batches):
            self.batch_size = _full_batch(loader.batch_sampler.count, loader.batch_sampler.batch_size)
        self.class_names = class_names_of(loader)
        self._kind: TargetKind | None = None  # none is checked before a training
        self._warns = False
        self._outputs: int | None = None
        if self.steps == 0:
            raise ValueError("data must contain at least one batch, got an empty loader")

    def batches(
        self, generator: torch.Generator | None, skip: int = 0, after_skip: Callable[[], None] | None = None
    ) -> Iterator[Pair]:
        if generator is not None:
            for loader_generator in generators_of(self.loader):
                loader_generator.manual_seed(generator.initial_seed())
        empty = skip == 0
        counts: Tensor | int = 0
        generator_of_loader = self.loader.generator
        device = contextlib.nullcontext() if generator_of_loader is None else generator_of_loader.device
        with device:  # not torch's default device
            iterator = iter(self.loader)
        for index in range(skip):
            if next(iterator, None) is None:
                raise ValueError(f"data must contain the {skip} batches before the checkpoint, got {index}")
        if after_skip is not None:
            after_skip()
        for batch in _collated(iterator):
            empty = False
            inputs, targets = pair_of(batch)
            images = self._images(inputs)
            labels = None if targets is None else self._labels(targets, len(images))
            if labels is not None and self._warns and self._outputs is not None and not labels.is_floating_point():
                counts = counts + torch.bincount(labels.long(), minlength=self._outputs)
            yield (
                images.to(self.device, non_blocking=True),
                None if labels is None else labels.to(self.device, non_blocking=True),
            )
        if empty:
            raise ValueError("data must contain at least one batch, got an empty loader")
        if isinstance(counts, Tensor) and not skip:
            self._warns = False
            _warn_of_absent(counts)

    def some(self) -> Pair:
        generators = generators_of(self.loader)
        states = [generator.get_state() for generator in generators]
        images, labels = next(self.batches(None))
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)
        return images[:2], labels

    def check_targets(self, kind: TargetKind, outputs: int | None, warn_of_absent: bool = False) -> None:
        self._kind, self._outputs, self._warns = kind, outputs, warn_of_absent

    def _images(self, batch: Tensor | NDArray[Any]) -> Tensor:
        images = to_tensor(batch)
        is_floating = images.is_floating_point()
        try:
            return check_images(
                images.to(self.dtype or images.dtype) if is_floating else images,
                None if is_floating else self.num_embeddings,
            )
        except ValueError as error:
            raise ValueError(f"{error} in a batch of the loader") from None

    def _labels(self, batch: Any, samples: int) -> Tensor:
        if isinstance(batch, list | tuple):
            if odd := next((label for label in batch if isinstance(label, str)), None):
                raise TypeError(
                    f"labels of a data set or loader must be integers, got {odd!r}; names.index(label) numbers them, "
                    "with names = sorted(set(labels)) of all samples; TensorData(inputs, labels) takes strings"
                )
            try:
                batch = torch.as_tensor(batch, device="cpu")
            except (TypeError, ValueError, RuntimeError):
                raise TypeError(f"labels must be integers, got {describe(batch)} in a batch of the loader") from None
        labels = to_tensor(batch, "labels")
        if self._kind is not None:
            self._kind.check(labels, samples, self._outputs)
        return labels


def generators_of(loader: DataLoader[Any]) -> list[torch.Generator]:
    """Return the generators that a loader and its samplers have of their own, each of them once.

    Args:
        loader: The loader.
    """
    owners = (loader, loader.sampler, loader.batch_sampler)
    generators = (getattr(owner, "generator", None) for owner in owners)
    return list({id(g): g for g in generators if isinstance(g, torch.Generator)}.values())


def _collated(batches: Iterator[Any]) -> Iterator[Any]:
    """Iterate over batches, with an error of torch's collation that names the data."""
    try:
        yield from batches
    except (TypeError, RuntimeError) as error:
        if not any("collate" in frame.name for frame in traceback.extract_tb(error.__traceback__)):
            raise
        raise TypeError(f"data must yield samples of equal tensors, arrays and numbers: {one_line(error)}") from error


def pair_of(batch: Any) -> tuple[Any, Any]:
    """Return the images and the labels of a loader's batch; None for labels that it lacks."""
    if isinstance(batch, Tensor | np.ndarray):
        return batch, None
    if isinstance(batch, tuple | list):
        if len(batch) == 1:  # a TensorDataset of images only
            return batch[0], None
        if len(batch) == 2:
            return batch[0], batch[1]
    keys = list(batch)[:2] if isinstance(batch, Mapping) else [0, 1]
    kind = f"{type(batch).__name__} of {len(batch)}" if isinstance(batch, Sized) else type(batch).__name__
    row = ", ".join(f"row[{key!r}]" for key in keys)
    raise TypeError(
        f"data must yield images or (images, labels), got a {kind}; this selects them: "
        f"DataLoader(data, collate_fn=lambda rows: torch.utils.data.default_collate([({row}) for row in rows]))"
    )


def _warn_of_absent(counts: Tensor) -> None:
    """Warn of classes without samples.

    Label negatives draw them too: without negatives, an absent class could have the highest goodness in a prediction.
    """
    absent = (counts == 0).nonzero().flatten()
    if len(absent):
        listed = ", ".join(map(str, absent[:10].tolist())) + (", ..." if len(absent) > 10 else "")
        warnings.warn(
            f"train has no samples of {len(absent)} of the {len(counts)} classes ({listed}), which are drawn as wrong "
            "labels too and raise the error; a network of the classes that occur needs labels numbered by "
            "torch.unique(labels, return_inverse=True)[1]",
            stacklevel=2,
        )


class _Batches(Sampler[list[int]]):
    """The batches of a data set in random order, divided as by :meth:`TensorData.batches`."""

    def __init__(self, count: int, batch_size: int) -> None:
        self.count = count
        self.batch_size = batch_size
        self.parts = batch_slices(count, batch_size)
        self.generator = torch.Generator()

    def __len__(self) -> int:
        return len(self.parts)

    def __iter__(self) -> Iterator[list[int]]:
        order = torch.randperm(self.count, generator=self.generator, device="cpu").tolist()
        return (order[part] for part in self.parts)


class _InOrder(_Batches):
    """The batches of a data set in order."""

    def __iter__(self) -> Iterator[list[int]]:
        return (list(range(part.start, part.stop)) for part in self.parts)


def source(
    data: Any,
    batch_size: int,
    device: torch.device,
    dtype: torch.dtype | None = None,
    num_embeddings: int | None = None,
    shuffle: bool = True,
) -> Source:
    """Return the batches of tensors, a map-style data set or a loader.

    Args:
        data: ``TensorData``, a pair ``(inputs, targets)`` of tensors or arrays, inputs alone, a map-style data set or a
            ``DataLoader`` (which keeps its own batches and order).
        batch_size: Samples per batch; a last batch of one sample joins the batch before it.
        device: Device of the batches.
        dtype: Dtype of floating inputs; default: unchanged.
        num_embeddings: Size of the vocabulary, if the model reads indices.
        shuffle: Whether a map-style data set is read in random order.

    Raises:
        TypeError: If the data are of another kind.
        ValueError: If the data are empty.
    """
    if isinstance(data, DataLoader):
        return _Loader(data, device, dtype, num_embeddings)
    arrays = (Tensor, np.ndarray)
    listed = isinstance(data, list) and all(isinstance(value, arrays) for value in data)  # a list may be a data set too
    if (listed or isinstance(data, tuple)) and len(data) == 2:
        data = _tensor_data(data[0], data[1], num_embeddings)
    elif isinstance(data, arrays):
        data = _tensor_data(data, None, num_embeddings)
    if isinstance(data, TensorData):
        return _Tensors(data, batch_size, device, dtype, num_embeddings)
    if isinstance(data, IterableDataset):
        raise TypeError("data must be wrapped in a DataLoader, which makes its batches, if it is an IterableDataset")
    sequence = (
        hasattr(data, "__len__")
        and hasattr(data, "__getitem__")
        and not isinstance(data, (tuple, dict, str, nn.Module))
    )
    if isinstance(data, Dataset) or sequence:
        if not len(data):
            raise ValueError("data must contain at least one sample, got an empty data set")
        check_memory("data", len(data))  # its order
        batches = (_Batches if shuffle else _InOrder)(len(data), batch_size)
        loader = DataLoader(data, batch_sampler=batches, generator=batches.generator)
        return _Loader(loader, device, dtype, num_embeddings)
    raise TypeError(
        f"data must be TensorData, a pair of tensors, a data set or a DataLoader, got a {type(data).__name__}"
    )


def tensors_of(data: Source) -> TensorData | None:
    """Return the tensors of a source, on its device; None for a loader.

    Args:
        data: The source.
    """
    return data.data if isinstance(data, _Tensors) else None


def class_names_of(data: Any) -> tuple[str, ...] | None:
    """Return the class names of data, such as those of torchvision's ``ImageFolder``; None if they have none.

    Args:
        data: As for :func:`source`.
    """
    while isinstance(data, DataLoader | Subset):
        data = data.dataset
    for name in ("class_names", "classes"):
        names = getattr(data, name, None)
        if isinstance(names, list | tuple) and names and all(isinstance(label, str) for label in names):
            return tuple(names)
    return None


def _full_batch(count: int, batch_size: int) -> int:
    """Return the number of samples of the first batch, which all but the last one have."""
    first: int = batch_slices(count, batch_size)[0].stop
    return first


def _tensor_data(inputs: Any, targets: Any, num_embeddings: int | None) -> TensorData:
    return TensorData(inputs, targets, num_embeddings=num_embeddings)


def _length(sized: Any) -> int | None:
    """Return the length, None for data without one, such as the loader of an ``IterableDataset``."""
    with contextlib.suppress(TypeError, NotImplementedError):
        return len(sized)
    return None
