"""Augmentation of batches on the batch's device, with independent random numbers for every image.

An augmentation is called as ``augment(images, generator)`` with floating-point images ``(batch, channels, height,
width)`` and a generator on their device, and returns new images of the same shape, type and memory format. Any callable
of this form can be used as an augmentation.

The result for an image depends only on the image and its random numbers, not on the rest of the batch, except for
augmentations that mix images. Random numbers
are sampled in single precision for images of any type, one row per image.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Annotated, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from forwardforward._utils.annotations import describe
from forwardforward._utils.arguments import Fraction, PositiveInt, Range, checked
from forwardforward._utils.plugins import calling

__all__ = ["Augmentation", "Compose", "Cutout", "RandomCrop", "RandomFlip", "RandomRotation"]


class Augmentation:
    """Base class of augmentations; subclasses define :meth:`augment`.

    Attributes:
        mixes_targets: Whether the targets of a batch are changed with its images, by :meth:`mix`.

    Example:
        >>> class Invert(Augmentation):
        ...     def augment(self, images, generator):
        ...         return 1 - images
        >>> Invert()(torch.zeros(1, 1, 1, 2))
        tensor([[[[1., 1.]]]])
    """

    mixes_targets: bool = False

    @abstractmethod
    def augment(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return the augmented images, without modifying ``images``.

        Args:
            images: Floating-point tensor of at least one image, ``(batch, channels, height, width)``.
            generator: Random generator on the images' device. Default: torch's global generator.
        """
        raise NotImplementedError

    @checked
    def __call__(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the augmented images.

        Args:
            images: Floating-point tensor, ``(batch, channels, height, width)``.
            generator: Random generator on the images' device. Default: torch's global generator.

        Raises:
            ValueError: If the images are not 4-D, or the generator is on another type of device.
            TypeError: If the images are not floating-point.
        """
        if images.ndim != 4:
            raise ValueError(f"images must have shape (batch, channels, height, width), got {tuple(images.shape)}")
        if not images.is_floating_point():
            raise TypeError(f"images must be floating-point, got {images.dtype}")
        if generator is not None and generator.device.type != images.device.type:
            raise ValueError(f"generator must be on the images' device {images.device}, got one on {generator.device}")
        if images.numel() == 0:
            return images
        return self.augment(images, generator).contiguous(memory_format=_memory_format(images))

    @checked
    def mix(self, images: Tensor, targets: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Return augmented images and their targets, which are unchanged unless the augmentation mixes them.

        Args:
            images: Floating-point tensor, ``(batch, ...)``.
            targets: Floating-point tensor, ``(batch, ...)``.
            generator: Random generator on the images' device. Default: torch's global generator.

        Raises:
            TypeError: If images or targets are not floating-point.
            ValueError: If there is not one target per image.
        """
        _check_pair(images, targets)
        return self._mix(images, targets, generator)

    def _mix(self, images: Tensor, targets: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        return self(images, generator), targets

    def __repr__(self) -> str:
        """Return the constructor call."""
        arguments = ", ".join(f"{k}={v!r}" for k, v in vars(self).items() if not k.startswith("_"))
        return f"{type(self).__name__}({arguments})"


@checked
class Compose(Augmentation):
    """Applies several augmentations in order; those that mix targets, such as :class:`Mixup`, by their method ``mix``.

    Args:
        augmentations: Callables ``augment(images, generator)``. Without any, images are unchanged.

    Raises:
        TypeError: If an augmentation is not callable.

    Example:
        >>> augment = Compose(RandomCrop(4), RandomFlip())
        >>> augment
        Compose(RandomCrop(padding=4, fill=0.0), RandomFlip(p=0.5))
        >>> augment(torch.rand(100, 3, 32, 32), torch.Generator().manual_seed(0)).shape
        torch.Size([100, 3, 32, 32])
    """

    def __init__(self, *augmentations: Callable[[Tensor, torch.Generator | None], Tensor]) -> None:
        self.augmentations = augmentations

    @property
    def mixes_targets(self) -> bool:  # type: ignore[override]
        """Whether one of the augmentations mixes targets."""
        return any(map(mixes_targets, self.augmentations))

    def augment(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return the images after the last augmentation."""
        for augmentation in self.augmentations:
            images = self._augmented(augmentation, images, generator)
        return images

    def _mix(self, images: Tensor, targets: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        for augmentation in self.augmentations:
            if isinstance(augmentation, Augmentation):
                images, targets = augmentation.mix(images, targets, generator)
            else:
                images = self._augmented(augmentation, images, generator)
        return images, targets

    @staticmethod
    def _augmented(
        augmentation: Callable[[Tensor, torch.Generator | None], Tensor],
        images: Tensor,
        generator: torch.Generator | None,
    ) -> Tensor:
        shape = images.shape
        with calling("augmentations", augmentation, "(images, generator) -> images"):
            images = augmentation(images, generator)
        if not isinstance(images, Tensor) or images.shape != shape:
            got = tuple(images.shape) if isinstance(images, Tensor) else describe(images)
            raise ValueError(
                f"augmentations must return images of the same shape {tuple(shape)}, got {got} "
                f"from {describe(augmentation)}"
            )
        return images

    def __repr__(self) -> str:
        """Return the constructor call."""
        return f"{type(self).__name__}({', '.join(map(repr, self.augmentations))})"


@checked
class RandomCrop(Augmentation):
    r"""Pads each image and crops it to its size at a random position, a shift by up to ``padding`` pixels.

    .. math:: y_{c,i,j} = x_{c,\, i + d,\, j + e}, \qquad d, e \sim \mathrm{Uniform}\{-p, \dots, p\}

    where :math:`x` is ``fill`` outside the image. ``RandomCrop(2)`` is Hinton's jitter of two pixels for MNIST, and
    ``RandomCrop(4, fill="mean")`` is usual for natural images of 32 x 32 pixels.

    Args:
        padding: :math:`p`, pixels on each side.
        fill: Value of the padding. ``"mean"``: the mean of each image and channel, which is zero after standardization
            on average. ``"reflect"``: the image mirrored at its border.

    Raises:
        TypeError: If ``padding`` is not a whole number.
        ValueError: If ``padding`` is below 0, ``fill`` is neither finite nor ``"mean"`` or ``"reflect"``, or images are
            too small to be mirrored.

    Source: Hinton (2022), arXiv 2212.13345.

    Example:
        >>> RandomCrop(2)(torch.rand(8, 1, 28, 28)).shape
        torch.Size([8, 1, 28, 28])
    """

    def __init__(
        self,
        padding: Annotated[int, Range(0, 2**12)],
        fill: Annotated[float, Range(-3e38, 3e38)] | Literal["mean", "reflect"] = 0.0,
    ) -> None:
        self.padding = padding
        self.fill = fill

    def augment(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return the shifted images."""
        batch, channels, height, width = images.shape
        if self.fill == "mean":
            size = height + 2 * self.padding, width + 2 * self.padding
            padded = images.mean((2, 3), keepdim=True).expand(-1, -1, *size).clone()
            padded[:, :, self.padding : self.padding + height, self.padding : self.padding + width] = images
        elif self.fill == "reflect":
            if self.padding >= min(height, width):
                raise ValueError(
                    f"padding must be below the images' height and width, {height} and {width}, for fill='reflect', "
                    f"got {self.padding}"
                )
            padded = F.pad(images, [self.padding] * 4, mode="reflect")
        else:
            padded = F.pad(images, [self.padding] * 4, value=self.fill)
        rows, columns = padded.shape[2:]
        shifts = (_uniform(images, 2, generator) * (2 * self.padding + 1)).long()
        top, left = shifts[:, :1], shifts[:, 1:]
        # Each row of the result is a window of `width` consecutive values of the padded images. Selecting windows takes
        # one index per row; gather takes one per pixel and twice the time.
        row = top + torch.arange(height, device=images.device)
        plane = torch.arange(batch * channels, device=images.device).view(batch, channels, 1)
        starts = (plane * rows + row[:, None]) * columns + left[:, None]
        return padded.flatten().unfold(0, width, 1).index_select(0, starts.flatten()).view(images.shape)


@checked
class RandomFlip(Augmentation):
    """Flips each image left to right with probability ``p``.

    Args:
        p: Probability of the flip.

    Raises:
        ValueError: If ``p`` is not in [0, 1].

    Example:
        >>> RandomFlip(p=1)(torch.tensor([[[[1.0, 2.0, 3.0]]]]))
        tensor([[[[3., 2., 1.]]]])
    """

    def __init__(self, p: Fraction = 0.5) -> None:
        self.p = p

    def augment(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return the images, some of them flipped."""
        width = images.shape[3]
        column = torch.arange(width, device=images.device)
        flipped = _uniform(images, 1, generator) < self.p
        source = torch.where(flipped, width - 1 - column, column)
        return images.gather(3, source[:, None, None].expand_as(images))


@checked
class RandomRotation(Augmentation):
    r"""Rotates each image about its center by a random angle, with bilinear interpolation and zeros outside.

    .. math:: y(u, v) = x(u \cos a - v \sin a, \; u \sin a + v \cos a),
              \qquad a \sim \mathrm{Uniform}[-\mathrm{degrees}, \mathrm{degrees}]

    with :math:`u` to the right and :math:`v` downwards, in pixels from the center: a positive angle turns the
    image counterclockwise.

    Args:
        degrees: Largest angle.

    Raises:
        ValueError: If ``degrees`` is not in [0, 180].

    Example:
        >>> RandomRotation(10)(torch.rand(8, 1, 28, 28)).shape
        torch.Size([8, 1, 28, 28])
    """

    def __init__(self, degrees: Annotated[float, Range(0, 180)]) -> None:
        self.degrees = degrees

    def augment(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return the rotated images; half-precision images are rotated in single precision."""
        precise = images if images.dtype == torch.float64 else images.float()
        angles = (_uniform(images, 1, generator).to(precise.dtype) * 2 - 1) * math.radians(self.degrees)
        cos, sin = angles.cos()[:, None], angles.sin()[:, None]
        height, width = images.shape[2:]
        u = _centered(width, precise)
        v = _centered(height, precise)[:, None]
        # grid_sample's coordinates are fractions of half the image's size. For powers of two they are exact, so that a
        # rotation by 0 does not change the image; affine_grid's coordinates are not.
        full_width, full_height = (1 << (size - 1).bit_length() for size in (width, height))
        x = (u * cos - v * sin) * (2 / full_width) + (width / full_width - 1)
        y = (u * sin + v * cos) * (2 / full_height) + (height / full_height - 1)
        canvas = F.pad(precise, [0, full_width - width, 0, full_height - height])
        return F.grid_sample(canvas, torch.stack((x, y), 3), align_corners=False).to(images.dtype)


@checked
class Cutout(Augmentation):
    """Sets a square at a random position to zero, in all channels.

    The center of the square is uniform over the pixels of the image, so that the square may extend over the border.

    Args:
        size: Side length of the square in pixels.

    Raises:
        TypeError: If ``size`` is not a whole number.
        ValueError: If ``size`` is below 1.

    Source: DeVries and Taylor (2017), arXiv 1708.04552.

    Example:
        >>> Cutout(1)(torch.ones(1, 1, 2, 2)).sum()
        tensor(3.)
    """

    def __init__(self, size: PositiveInt) -> None:
        self.size = size

    def augment(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return the images with a square set to zero."""
        center = _uniform(images, 2, generator)
        rows, columns = (self._covered((center[:, i] * size).long(), size) for i, size in enumerate(images.shape[2:]))
        return images.masked_fill((rows[:, :, None] & columns[:, None])[:, None], 0)

    def _covered(self, center: Tensor, size: int) -> Tensor:
        """Return which of the ``size`` rows or columns the squares cover, ``(batch, size)``."""
        first = center[:, None] - self.size // 2
        position = torch.arange(size, device=center.device)
        return (position >= first) & (position < first + self.size)


def _check_pair(images: Tensor, targets: Tensor) -> None:
    """Check images and targets that are augmented together.

    Args:
        images: ``(batch, ...)``.
        targets: ``(batch, ...)``.

    Raises:
        TypeError: If one of them is not floating-point.
        ValueError: If there is not one target per image.
    """
    for name, values in (("images", images), ("targets", targets)):
        if not values.is_floating_point() or values.dim() == 0:
            raise TypeError(f"{name} must be a floating-point tensor (batch, ...) to be mixed, got {describe(values)}")
    if len(images) != len(targets):
        raise ValueError(f"targets must be one per image, got {len(targets)} for {len(images)} images")


def mixes_targets(augment: object) -> bool:
    """Return whether an augmentation changes the targets of a batch with its images."""
    return isinstance(augment, Augmentation) and augment.mixes_targets


def _uniform(images: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    """Sample numbers in [0, 1) for each image, ``(batch, count)``."""
    return torch.rand(len(images), count, generator=generator, device=images.device, dtype=torch.float32)


def _centered(size: int, like: Tensor) -> Tensor:
    """Return the distances of the pixels of a row from its center."""
    return torch.arange(size, device=like.device, dtype=like.dtype) - (size - 1) / 2


def _memory_format(images: Tensor) -> torch.memory_format:
    channels_last = images.is_contiguous(memory_format=torch.channels_last) and not images.is_contiguous()
    return torch.channels_last if channels_last else torch.contiguous_format
