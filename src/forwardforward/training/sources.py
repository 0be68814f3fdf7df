"""Batches from whatever the user has: tensors, a data set, a loader."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler

from forwardforward.data.tensors import TensorData, batch_slices
from forwardforward.training.arguments import dtype_of, placed

Pair = tuple[Tensor, Tensor | None]

#: What one can train and measure on: :class:`~forwardforward.data.TensorData`, a pair of tensors or arrays, images
#: alone, a map-style dataset, or a ``DataLoader``.
Data = TensorData | Tensor | NDArray[Any] | Sequence[Any] | Dataset[Any] | DataLoader[Any]


class Source(Protocol):
    """Something that yields batches on a device, floating inputs in the model's type.

    Attributes:
        samples: Number of samples, None where it is unknown.
        steps: Number of batches, likewise.
    """

    samples: int | None
    steps: int | None

    def batches(self, generator: torch.Generator | None) -> Iterator[Pair]:
        """Go through the data once, shuffled where a generator is given."""
        ...

    def some(self) -> Pair:
        """Return a few inputs, and all labels that are at hand; what is drawn afterwards does not depend on it."""
        ...


class _Tensors:
    """A whole set, moved to the device once."""

    def __init__(self, data: TensorData, batch_size: int, device: torch.device, dtype: torch.dtype | None) -> None:
        self.data = data.to(device, dtype)
        self.batch_size = batch_size
        self.samples: int | None = len(data)
        self.steps: int | None = data.num_batches(batch_size)

    def batches(self, generator: torch.Generator | None) -> Iterator[Pair]:
        return self.data.batches(self.batch_size, generator)

    def some(self) -> Pair:
        return self.data.inputs[:2], self.data.targets


class _Loader:
    """A loader; its generators are set anew each epoch, so that a resumed run sees the same order."""

    def __init__(self, loader: DataLoader[Any], device: torch.device, dtype: torch.dtype | None) -> None:
        self.loader = loader
        self.device = device
        self.dtype = dtype
        self.samples = _length(loader.dataset)
        self.steps = _length(loader)
        if self.steps == 0:
            raise ValueError("data must hold at least one batch, got an empty loader")

    def batches(self, generator: torch.Generator | None) -> Iterator[Pair]:
        if generator is not None:
            for own in self._generators():
                own.manual_seed(generator.initial_seed())
        empty = True
        for batch in self.loader:
            empty = False
            if isinstance(batch, Tensor):
                yield self._images(batch), None
            elif isinstance(batch, (tuple, list)) and len(batch) == 2:
                yield self._images(batch[0]), torch.as_tensor(batch[1]).to(self.device, non_blocking=True)
            else:
                raise TypeError(f"a loader must yield images or (images, labels), got a {type(batch).__name__}")
        if empty:
            raise ValueError("data must hold at least one batch, got an empty loader")

    def some(self) -> Pair:
        generators = self._generators()
        states = [one.get_state() for one in generators]
        images, labels = next(self.batches(None))
        for one, state in zip(generators, states, strict=True):
            one.set_state(state)
        return images[:2], labels

    def _generators(self) -> list[torch.Generator]:
        owners = (self.loader, self.loader.sampler, self.loader.batch_sampler)
        found = (getattr(owner, "generator", None) for owner in owners)
        return [one for one in found if isinstance(one, torch.Generator)]

    def _images(self, images: Tensor) -> Tensor:
        images = images.to(self.device, self.dtype if images.is_floating_point() else None, non_blocking=True)
        if not bool(torch.isfinite(images).all()):
            raise ValueError("images must be finite, got NaN or infinity in a batch of the loader")
        return images


class _Batches(Sampler[list[int]]):
    """A data set's batches in random order, cut as :meth:`TensorData.batches` cuts them."""

    def __init__(self, count: int, batch_size: int) -> None:
        self.count = count
        self.parts = batch_slices(count, batch_size)
        self.generator = torch.Generator()

    def __len__(self) -> int:
        return len(self.parts)

    def __iter__(self) -> Iterator[list[int]]:
        order = torch.randperm(self.count, generator=self.generator).tolist()
        return (order[part] for part in self.parts)


def source(data: Any, batch_size: int, device: torch.device, dtype: torch.dtype | None = None) -> Source:
    """Return batches from tensors, a map-style dataset or a loader.

    Args:
        data: ``TensorData``, a pair ``(inputs, targets)`` of tensors or arrays, inputs alone, a map-style dataset or a
            ``DataLoader`` (which keeps its own batches and order).
        batch_size: Samples a batch; a last one of one sample joins the batch before it.
        device: Where batches go.
        dtype: Type of floating inputs; their own unless given.

    Raises:
        TypeError: If the data are something else.
        ValueError: If the data are empty.
    """
    if isinstance(data, DataLoader):
        return _Loader(data, device, dtype)
    arrays = (Tensor, np.ndarray)
    listed = isinstance(data, list) and all(isinstance(one, arrays) for one in data)  # a list may be a data set too
    if (listed or isinstance(data, tuple)) and len(data) == 2:
        data = TensorData(*data)
    elif isinstance(data, arrays):
        data = TensorData(data)
    if isinstance(data, TensorData):
        return _Tensors(data, batch_size, device, dtype)
    if isinstance(data, IterableDataset):
        raise TypeError("data must be given in a DataLoader, which makes its batches, where it is an IterableDataset")
    sequence = (
        hasattr(data, "__len__")
        and hasattr(data, "__getitem__")
        and not isinstance(data, (tuple, dict, str, nn.Module))
    )
    if isinstance(data, Dataset) or sequence:
        if not len(data):
            raise ValueError("data must hold at least one sample, got an empty data set")
        batches = _Batches(len(data), batch_size)
        return _Loader(DataLoader(data, batch_sampler=batches, generator=batches.generator), device, dtype)
    raise TypeError(
        f"data must be TensorData, a pair of tensors, a data set or a DataLoader, got a {type(data).__name__}"
    )


def source_for(model: nn.Module, data: Data, batch_size: int = 1000) -> Source:
    """Return batches where a model is, and in its type.

    Args:
        model: Any module.
        data: As for :func:`source`.
        batch_size: Samples a batch.
    """
    return source(data, batch_size, placed(model, None), dtype_of(model))


def _length(sized: Any) -> int | None:
    """Return the length of what may have none, as the loader of an ``IterableDataset``."""
    with contextlib.suppress(TypeError, NotImplementedError):
        return len(sized)
    return None
