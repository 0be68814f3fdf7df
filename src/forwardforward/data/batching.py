"""Batches of tensors, data sets and loaders, on a device."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler, Subset

from forwardforward.data.tensors import TensorData, batch_slices

__all__ = ["Data", "Pair", "Source", "class_names_of", "source"]

Pair = tuple[Tensor, Tensor | None]


class MapStyle(Protocol):
    """A data set of any class, such as a list of pairs."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


#: Data for training and evaluation: :class:`~forwardforward.data.TensorData`, a pair of tensors or arrays, images
#: alone, a map-style data set, or a ``DataLoader``.
Data = TensorData | Tensor | NDArray[Any] | Sequence[Any] | Dataset[Any] | DataLoader[Any] | MapStyle


class Source(Protocol):
    """Batches on a device, floating inputs in one dtype.

    Attributes:
        samples: Number of samples, None if it is unknown.
        steps: Number of batches, None if it is unknown.
        class_names: Names of the classes, None if the data have none.

    Example:
        >>> batches = source((torch.rand(5, 3), torch.arange(5)), batch_size=2, device=torch.device("cpu"))
        >>> [len(images) for images, _ in batches.batches(None)]
        [2, 3]
    """

    samples: int | None
    steps: int | None
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


class _Tensors:
    """A whole data set, moved to the device once."""

    def __init__(self, data: TensorData, batch_size: int, device: torch.device, dtype: torch.dtype | None) -> None:
        self.data = data.to(device, dtype)
        self.batch_size = batch_size
        self.samples: int | None = len(data)
        self.steps: int | None = data.num_batches(batch_size)
        self.class_names = data.class_names

    def batches(
        self, generator: torch.Generator | None, skip: int = 0, after_skip: Callable[[], None] | None = None
    ) -> Iterator[Pair]:
        batches = self.data.batches(self.batch_size, generator, skip=skip)
        if after_skip is not None:
            after_skip()
        return batches

    def some(self) -> Pair:
        return self.data.inputs[:2], self.data.targets


class _Loader:
    """A loader; its generators are seeded in each epoch, so that a resumed run has the same order."""

    def __init__(self, loader: DataLoader[Any], device: torch.device, dtype: torch.dtype | None) -> None:
        self.loader = loader
        self.device = device
        self.dtype = dtype
        self.samples = _length(loader.dataset)
        self.steps = _length(loader)
        self.class_names = class_names_of(loader)
        if self.steps == 0:
            raise ValueError("data must contain at least one batch, got an empty loader")

    def batches(
        self, generator: torch.Generator | None, skip: int = 0, after_skip: Callable[[], None] | None = None
    ) -> Iterator[Pair]:
        if generator is not None:
            for loader_generator in self._generators():
                loader_generator.manual_seed(generator.initial_seed())
        empty = skip == 0
        iterator = iter(self.loader)
        for index in range(skip):
            if next(iterator, None) is None:
                raise ValueError(f"data must contain the {skip} batches before the checkpoint, got {index}")
        if after_skip is not None:
            after_skip()
        for batch in iterator:
            empty = False
            if isinstance(batch, Tensor | np.ndarray):
                yield self._images(batch), None
            elif isinstance(batch, (tuple, list)) and len(batch) == 1:  # a TensorDataset of images only
                yield self._images(batch[0]), None
            elif isinstance(batch, (tuple, list)) and len(batch) == 2:
                labels = batch[1].as_subclass(Tensor) if isinstance(batch[1], Tensor) else torch.as_tensor(batch[1])
                yield self._images(batch[0]), labels.to(self.device, non_blocking=True)
            else:
                raise TypeError(f"a loader must yield images or (images, labels), got a {type(batch).__name__}")
        if empty:
            raise ValueError("data must contain at least one batch, got an empty loader")

    def some(self) -> Pair:
        generators = self._generators()
        states = [generator.get_state() for generator in generators]
        images, labels = next(self.batches(None))
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)
        return images[:2], labels

    def _generators(self) -> list[torch.Generator]:
        owners = (self.loader, self.loader.sampler, self.loader.batch_sampler)
        generators = (getattr(owner, "generator", None) for owner in owners)
        return [generator for generator in generators if isinstance(generator, torch.Generator)]

    def _images(self, batch: Tensor | NDArray[Any]) -> Tensor:
        images = batch.as_subclass(Tensor) if isinstance(batch, Tensor) else torch.as_tensor(batch)
        if not bool(torch.isfinite(images).all()):  # before the copy, which need not be waited for
            raise ValueError("images must be finite, got NaN or infinity in a batch of the loader")
        return images.to(self.device, self.dtype if images.is_floating_point() else None, non_blocking=True)


class _Batches(Sampler[list[int]]):
    """The batches of a data set in random order, divided as by :meth:`TensorData.batches`."""

    def __init__(self, count: int, batch_size: int) -> None:
        self.count = count
        self.parts = batch_slices(count, batch_size)
        self.generator = torch.Generator()

    def __len__(self) -> int:
        return len(self.parts)

    def __iter__(self) -> Iterator[list[int]]:
        order = torch.randperm(self.count, generator=self.generator).tolist()
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
        return _Loader(data, device, dtype)
    arrays = (Tensor, np.ndarray)
    listed = isinstance(data, list) and all(isinstance(value, arrays) for value in data)  # a list may be a data set too
    if (listed or isinstance(data, tuple)) and len(data) == 2:
        data = _tensor_data(data[0], data[1], num_embeddings)
    elif isinstance(data, arrays):
        data = _tensor_data(data, None, num_embeddings)
    if isinstance(data, TensorData):
        return _Tensors(data, batch_size, device, dtype)
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
        batches = (_Batches if shuffle else _InOrder)(len(data), batch_size)
        return _Loader(DataLoader(data, batch_sampler=batches, generator=batches.generator), device, dtype)
    raise TypeError(
        f"data must be TensorData, a pair of tensors, a data set or a DataLoader, got a {type(data).__name__}"
    )


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


def _tensor_data(inputs: Any, targets: Any, num_embeddings: int | None) -> TensorData:
    return TensorData(inputs, targets, num_embeddings=num_embeddings)


def _length(sized: Any) -> int | None:
    """Return the length, None for data without one, such as the loader of an ``IterableDataset``."""
    with contextlib.suppress(TypeError, NotImplementedError):
        return len(sized)
    return None
