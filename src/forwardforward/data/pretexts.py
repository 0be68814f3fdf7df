"""Pretexts: classification tasks on images without labels, whose classes are known rearrangements of the pixels.

A network that is trained to name the rearrangement of an image learns features that may serve another task, which is
measured by a linear classifier on the frozen features (:func:`~forwardforward.diagnostics.probe`). A pretext makes a
data set of its classes from any images:

    >>> images = TensorData(torch.rand(8, 1, 28, 28))
    >>> Rotation()(images).targets
    tensor([0, 0, 3, 3, 2, 1, 1, 2])

Every image has one fixed class, in equal shares. A training, which shuffles, draws the classes anew in each epoch, so
that an image occurs in every form over the epochs without a copy of each form in memory.
"""

from __future__ import annotations

import functools
import itertools
import math
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forwardforward._utils.annotations import describe
from forwardforward._utils.arguments import NonNegativeInt, PositiveInt, Range, checked
from forwardforward._utils.checks import check_labels
from forwardforward._utils.memory import check_memory
from forwardforward._utils.plugins import calling
from forwardforward.data.splits import PARTS, Splits
from forwardforward.data.tensors import TensorData

__all__ = ["Flip", "Jigsaw", "Pretext", "PretextData", "Rotation"]


class Pretext:
    """Base class of pretexts; subclasses define :meth:`class_names` and :meth:`sources`.

    Example:
        >>> class UpsideDown(Pretext):
        ...     @property
        ...     def class_names(self):
        ...         return ("upright", "upside down")
        ...
        ...     def sources(self, height, width):
        ...         pixels = torch.arange(height * width).view(height, width)
        ...         return torch.stack([pixels, pixels.flip(0)]).flatten(1)
        >>> UpsideDown().transform(torch.tensor([[[[1.0], [2.0]]]]), torch.tensor([1])).flatten()
        tensor([2., 1.])
    """

    @property
    @abstractmethod
    def class_names(self) -> tuple[str, ...]:
        """One name per class; class 0 leaves the image unchanged."""
        raise NotImplementedError

    @abstractmethod
    def sources(self, height: int, width: int) -> Tensor:
        """Return the pixel that moves to each position, for every class: ``(classes, height * width)``, row by row.

        Args:
            height: Height of the images.
            width: Width of the images.

        Raises:
            ValueError: If the pretext is not defined for images of this size.
        """
        raise NotImplementedError

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @checked
    def transform(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return each image rearranged as its class requires.

        Args:
            images: ``(batch, channels, height, width)``.
            labels: Class indices, ``(batch,)``.

        Raises:
            TypeError: If the labels are not integers.
            ValueError: If the images are not 4-D, there is not one label in range per image, or the pretext is not
                defined for images of this size.
        """
        sources = _checked_sources(self, tuple(images.shape))
        if labels.shape != (len(images),):
            raise ValueError(f"labels must be one per image, ({len(images)},), got {tuple(labels.shape)}")
        check_labels(labels, self.num_classes)
        return _rearranged(images, sources.to(images.device)[labels.to(images.device).long()])

    @checked
    def __call__(self, data: TensorData, seed: NonNegativeInt = 0) -> PretextData:
        """Return the images of a data set, with the pretext's classes as labels in place of their own.

        Args:
            data: Images ``(channels, height, width)``.
            seed: Random seed of the classes.

        Raises:
            ValueError: If the inputs are not images, or the pretext is not defined for their size.
        """
        return PretextData(data, self, seed)

    @checked
    def splits(self, splits: Splits) -> Splits:
        """Return the splits of a data set, with the pretext's classes as labels in place of their own.

        Args:
            splits: Splits of images ``(channels, height, width)``.

        Raises:
            ValueError: As a call.
        """
        train, validation, test = (self(getattr(splits, part), seed) for seed, part in enumerate(PARTS))
        return replace(
            splits,
            train=train,
            validation=validation,
            test=test,
            num_classes=self.num_classes,
            class_names=self.class_names,
        )

    def __repr__(self) -> str:
        """Return the constructor call."""
        arguments = ", ".join(f"{k}={v!r}" for k, v in vars(self).items() if not k.startswith("_"))
        return f"{type(self).__name__}({arguments})"


class Rotation(Pretext):
    """Rotation by 0, 90, 180 or 270 degrees counterclockwise: four classes, for square images.

    Source: Gidaris et al., Unsupervised Representation Learning by Predicting Image Rotations (2018), arXiv 1803.07728;
    in Forward-Forward networks, A Study of Forward-Forward Algorithm for Self-Supervised Learning (2023), arXiv
    2309.11955.

    Example:
        >>> Rotation().transform(torch.tensor([[[[1, 2], [3, 4]]]]), torch.tensor([1]))
        tensor([[[[2, 4],
                  [1, 3]]]])
    """

    @property
    def class_names(self) -> tuple[str, ...]:
        """The angles."""
        return ("0", "90", "180", "270")

    @checked
    def sources(self, height: PositiveInt, width: PositiveInt) -> Tensor:
        """Return the pixel that moves to each position, for every angle."""
        if height != width:
            raise ValueError(f"height and width must be equal for Rotation, got {height} and {width}")
        check_memory("height and width", self.num_classes, height, width)
        pixels = torch.arange(height * width, device="cpu").view(height, width)
        return torch.stack([pixels.rot90(turns) for turns in range(4)]).flatten(1)


class Flip(Pretext):
    """Horizontal flip: two classes, the image and its mirror image.

    Source: A Study of Forward-Forward Algorithm for Self-Supervised Learning (2023), arXiv 2309.11955.

    Example:
        >>> Flip().transform(torch.tensor([[[[1, 2, 3]]]]), torch.tensor([1]))
        tensor([[[[3, 2, 1]]]])
    """

    @property
    def class_names(self) -> tuple[str, ...]:
        """The two directions."""
        return ("original", "flipped")

    @checked
    def sources(self, height: PositiveInt, width: PositiveInt) -> Tensor:
        """Return the pixel that moves to each position, without and with the flip."""
        check_memory("height and width", self.num_classes, height, width)
        pixels = torch.arange(height * width, device="cpu").view(height, width)
        return torch.stack([pixels, pixels.flip(1)]).flatten(1)


@checked
class Jigsaw(Pretext):
    r"""Permutation of the patches of a grid; each class is one of ``permutations`` fixed permutations.

    The image is divided into ``grid`` x ``grid`` equal patches around its center; pixels outside of them stay. The
    first permutation is the identity. Each further one is chosen among all permutations for the largest Hamming
    distance to the nearest chosen one, the first of them in lexicographic order, so that the classes differ in as many
    patches as possible and are the same on every machine. Up to :math:`\mathrm{grid}^2` permutations differ from each
    other in every patch.

    Args:
        grid: Patches per side, 2 or 3: 9 patches have 362,880 permutations.
        permutations: Number of classes.

    Attributes:
        class_names: The permutations: the patches at positions 0, 1, ..., row by row.

    Raises:
        ValueError: If ``permutations`` is below 2 or above the number of permutations, or, when called, the images are
            smaller than the grid.

    Source: Noroozi and Favaro, Unsupervised Learning of Visual Representations by Solving Jigsaw Puzzles (2016), arXiv
    1603.09246, which maximizes the Hamming distance too; in Forward-Forward networks, A Study of Forward-Forward
    Algorithm for Self-Supervised Learning (2023), arXiv 2309.11955.

    Example:
        >>> Jigsaw(grid=2, permutations=4).class_names
        ('0123', '1032', '2301', '3210')
        >>> Jigsaw(grid=2, permutations=4).transform(torch.tensor([[[[1, 2], [3, 4]]]]), torch.tensor([1]))
        tensor([[[[2, 1],
                  [4, 3]]]])
    """

    def __init__(
        self, grid: Annotated[int, Range(2, 3)] = 3, permutations: Annotated[int, Range(2, 10**6)] = 10
    ) -> None:
        every = math.factorial(grid**2)
        if permutations > every:
            raise ValueError(f"permutations must be at most the {every} of a grid of {grid}, got {permutations}")
        self.grid = grid
        self.permutations = permutations

    @property
    def class_names(self) -> tuple[str, ...]:
        """The permutations."""
        return tuple("".join(map(str, permutation)) for permutation in _distant(self.grid**2, self.permutations))

    @checked
    def sources(self, height: PositiveInt, width: PositiveInt) -> Tensor:
        """Return the pixel that moves to each position, for every permutation."""
        if min(height, width) < self.grid:
            raise ValueError(f"height and width must be at least {self.grid} for {self}, got {height} and {width}")
        check_memory("height and width", self.num_classes, height, width)
        pixels = torch.arange(height * width, device="cpu").view(height, width)
        rows, columns = height // self.grid, width // self.grid
        top, left = (height - rows * self.grid) // 2, (width - columns * self.grid) // 2
        patches = [
            (slice(top + i * rows, top + (i + 1) * rows), slice(left + j * columns, left + (j + 1) * columns))
            for i in range(self.grid)
            for j in range(self.grid)
        ]
        sources = pixels.repeat(self.permutations, 1, 1)
        for image, permutation in zip(sources, _distant(self.grid**2, self.permutations), strict=True):
            for position, patch in enumerate(permutation):
                image[patches[position]] = pixels[patches[patch]]
        return sources.flatten(1)


@checked
class PretextData(TensorData):
    """Images rearranged by a pretext, whose labels are the pretext's classes.

    ``inputs`` and ``targets`` contain every image once, with a fixed class. Batches in order, as in an evaluation,
    contain these. Shuffled batches, as in a training, draw a class for each image anew, from the generator that
    shuffles; a resumed run draws the same classes. Memory is that of the images, for any number of classes.

    Args:
        data: Images ``(channels, height, width)``; their labels are not used.
        pretext: The pretext.
        seed: Random seed of the fixed classes.

    Raises:
        ValueError: If the inputs are not images, or the pretext is not defined for their size.

    Example:
        >>> data = PretextData(TensorData(torch.rand(4, 1, 8, 8)), Flip())
        >>> [targets.tolist() for _, targets in data.batches(4)]
        [[0, 1, 1, 0]]
        >>> [targets.tolist() for _, targets in data.batches(4, torch.Generator().manual_seed(1))]
        [[0, 1, 1, 1]]
    """

    def __init__(self, data: TensorData, pretext: Pretext, seed: NonNegativeInt = 0) -> None:
        self._sources = _checked_sources(pretext, (len(data), *data.input_shape))
        generator = torch.Generator().manual_seed(seed)
        classes = torch.randperm(len(data), generator=generator, device="cpu") % pretext.num_classes
        targets = classes.to(data.inputs.device)
        super().__init__(pretext.transform(data.inputs, targets), targets, class_names=pretext.class_names)
        self.pretext = pretext

    def _check_joinable(self, other: TensorData) -> None:
        super()._check_joinable(other)
        if not isinstance(other, PretextData) or not torch.equal(self._sources, other._sources):
            raise ValueError(f"a and b must have the same pretext, got {self!r} and {other!r}")

    def _shuffled(
        self, parts: list[slice], order: Tensor, generator: torch.Generator
    ) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Return shuffled batches with other classes, which are drawn at the call."""
        classes = torch.randint(self.num_classes, (len(self),), generator=generator, device="cpu").to(order.device)
        return self._redrawn(parts, order, classes)

    def _redrawn(self, parts: list[slice], order: Tensor, classes: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        assert self.targets is not None
        sources = self._sources.to(order.device)
        inverse = sources.argsort(1)  # of every rearrangement, to undo the fixed one
        for part in parts:
            rows, drawn = order[part], classes[part]
            moves = inverse[self.targets[rows]].gather(1, sources[drawn])
            yield _rearranged(self.inputs[rows], moves), drawn


def _checked_sources(pretext: Pretext, shape: tuple[int, ...]) -> Tensor:
    """Return a pretext's sources for images of a shape, on the CPU."""
    if len(shape) != 4:
        raise ValueError(f"images must have shape (batch, channels, height, width) for a pretext, got {shape}")
    height, width = shape[2:]
    with calling("sources", pretext, "(height, width) -> sources", names_parts=True):
        sources = pretext.sources(height, width).cpu()
    pixels = torch.arange(height * width, device="cpu")
    expected = (pretext.num_classes, height * width)
    if tuple(sources.shape) != expected or not torch.equal(sources.sort(1).values, pixels.expand(expected)):
        raise ValueError(
            f"sources must contain each of the {height * width} pixels once per class, {expected}, for {pretext!r}, "
            f"got {describe(sources)}"
        )
    return sources


def _rearranged(images: Tensor, sources: Tensor) -> Tensor:
    """Return images whose pixels come from the positions ``sources``, ``(batch, height * width)``."""
    planes = images.flatten(2)
    return planes.gather(2, sources[:, None].expand_as(planes)).view(images.shape)


@functools.lru_cache(maxsize=2)
def _permutations(count: int) -> NDArray[np.int8]:
    """Return all permutations of ``count`` patches in lexicographic order, ``(permutations, count)``."""
    elements = itertools.chain.from_iterable(itertools.permutations(range(count)))
    return np.fromiter(elements, np.int8).reshape(-1, count)


@functools.lru_cache(maxsize=8)
def _distant(count: int, chosen: int) -> tuple[tuple[int, ...], ...]:
    """Return distant permutations, each the first of those whose nearest chosen one is farthest."""
    every = _permutations(count)
    nearest = np.full(len(every), count + 1)
    permutations = []
    for _ in range(chosen):
        best = every[int(nearest.argmax())]
        permutations.append(tuple(map(int, best)))
        nearest = np.minimum(nearest, (every != best).sum(1))
    return tuple(permutations)
