"""Batches from whatever the user has: tensors, a data set, a loader."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from forwardforward.data.tensors import TensorData

Pair = tuple[Tensor, Tensor | None]


class Source(Protocol):
    """Something that yields batches on a device."""

    def __len__(self) -> int: ...

    def batches(self, generator: torch.Generator | None) -> Iterator[Pair]:
        """Go through the data once, shuffled where a generator is given."""
        ...


class _Tensors:
    """A whole set, moved to the device once."""

    def __init__(self, data: TensorData, batch_size: int, device: torch.device) -> None:
        self.data = data.to(device)
        self.batch_size = batch_size
        self.count = data.num_batches(batch_size)

    def __len__(self) -> int:
        return self.count

    def batches(self, generator: torch.Generator | None) -> Iterator[Pair]:
        return self.data.batches(self.batch_size, generator)


class _Loader:
    """The user's own loader; its generators are set anew each epoch, so that a resumed run sees the same order."""

    def __init__(self, loader: DataLoader[Any], device: torch.device) -> None:
        self.loader = loader
        self.device = device

    def __len__(self) -> int:
        return len(self.loader)

    def batches(self, generator: torch.Generator | None) -> Iterator[Pair]:
        if generator is not None:
            seed = generator.initial_seed()
            for owner in (self.loader, self.loader.sampler):
                own = getattr(owner, "generator", None)
                if isinstance(own, torch.Generator):
                    own.manual_seed(seed)
        for batch in self.loader:
            if isinstance(batch, Tensor):
                yield self._images(batch), None
            elif isinstance(batch, (tuple, list)) and len(batch) == 2:
                yield self._images(batch[0]), torch.as_tensor(batch[1]).to(self.device, non_blocking=True)
            else:
                raise TypeError(f"a loader must yield images or (images, labels), got a {type(batch).__name__}")

    def _images(self, images: Tensor) -> Tensor:
        images = images.to(self.device, non_blocking=True)
        if not bool(torch.isfinite(images).all()):
            raise ValueError("images must be finite, got NaN or infinity in a batch of the loader")
        return images


def source(data: Any, batch_size: int, device: torch.device) -> Source:
    """Return batches from tensors, a map-style dataset or a loader.

    Args:
        data: ``TensorData``, a pair ``(inputs, targets)`` of tensors or arrays, a tensor of inputs alone, a map-style
            dataset or a ``DataLoader`` (which keeps its own batch size and order).
        batch_size: Samples a batch.
        device: Where batches go.

    Raises:
        TypeError: If the data are something else.
        ValueError: If the data are empty.
    """
    if isinstance(data, DataLoader):
        return _Loader(data, device)
    if isinstance(data, tuple) and len(data) == 2:
        data = TensorData(*data)
    elif isinstance(data, Tensor):
        data = TensorData(data)
    if isinstance(data, TensorData):
        return _Tensors(data, batch_size, device)
    if isinstance(data, Dataset) or (hasattr(data, "__len__") and hasattr(data, "__getitem__")):
        if not len(data):
            raise ValueError("data must hold at least one sample, got an empty data set")
        return _Loader(DataLoader(data, batch_size, shuffle=True, generator=torch.Generator()), device)
    raise TypeError(
        f"data must be TensorData, a pair of tensors, a data set or a DataLoader, got a {type(data).__name__}"
    )
