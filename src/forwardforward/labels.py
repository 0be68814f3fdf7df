"""Labels: how a class label becomes part of a network's input.

A labelled input keeps image and label code apart until the first layer joins them. Positive, negative and all
candidate inputs of an image differ in the code alone, so a linear first layer multiplies with the image once
for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

__all__ = [
    "Border",
    "Concatenation",
    "ImageChannel",
    "LabelChannel",
    "LabelEncoder",
    "LabelledInput",
    "LearnedChannel",
    "Overlay",
    "RandomChannel",
    "WaveChannel",
]


@dataclass(frozen=True)
class LabelledInput:
    """Images and the label codes that they are to be joined with, not joined yet.

    One image may carry several codes (a positive and a negative one, or one a candidate label): the joined
    input holds every image with its first code, then every image with its second, and so on. Images are rows
    ``(batch, width)`` with a code of single entries, or maps ``(batch, width, height, width)`` with a code of
    whole channels.

    Attributes:
        images: ``(batch, width, ...)``, zero in the ``columns`` that the code will fill.
        codebook: The different codes, ``(codes, code, ...)``.
        index: Which code each copy of an image carries, ``(copies, batch)``, or ``(copies, 1)`` where all images
            carry the same.
        columns: Where in the joined input the code's entries (channels) stand, ``(code,)``.
        features: Width (number of channels) of the joined input.
        responses: Where a layer may keep what it makes of the codes alone, for further images with the same codes.
    """

    images: Tensor
    codebook: Tensor
    index: Tensor
    columns: Tensor
    features: int
    responses: dict[str, Any] | None = None

    def __len__(self) -> int:
        """Return the number of rows of the joined input, copies times batch."""
        return self.index.shape[0] * self.images.shape[0]

    @property
    def codes(self) -> Tensor:
        """The code of every row, ``(copies, batch or 1, code, ...)``."""
        return self.codebook[self.index]

    def joined(self) -> Tensor:
        """Return the plain input, ``(copies * batch, features, ...)``."""
        batch, width, *rest = self.images.shape
        out = self.images.new_zeros(self.index.shape[0], batch, self.features, *rest)
        out[:, :, :width] = self.images
        out[:, :, self.columns] = self.codes.to(out.dtype)
        return out.flatten(0, 1)


class LabelEncoder(nn.Module):
    r"""Base of the label encoders: class :math:`k` is row :math:`k` of a code book.

    The neutral label, which tells nothing, is the mean of the codes: for a one-hot code of K entries, 1/K of
    the label's strength in each.

    Args:
        num_classes: Number of classes ``K``.
        scale: Strength of the label; one pixel at full intensity is 1.
        codebook: One code a class, ``(K, code, ...)``, kept in the state and learned if it is a parameter; one-hot
            codes unless given.

    Raises:
        ValueError: If ``num_classes`` is below 2 or ``scale`` is not positive.
    """

    codebook: Tensor

    def __init__(self, num_classes: int, scale: float = 1.0, codebook: Tensor | None = None) -> None:
        super().__init__()
        _enough(num_classes)
        if not scale > 0:
            raise ValueError(f"scale must be positive, got {scale}")
        self.num_classes = num_classes
        self.scale = scale
        if isinstance(codebook, nn.Parameter):
            self.codebook = codebook
        else:
            given = codebook is not None
            self.register_buffer("codebook", codebook if given else torch.eye(num_classes) * scale, persistent=given)

    def place(self, images: Tensor) -> tuple[Tensor, Tensor, int]:
        """Make room for the code.

        Args:
            images: ``(batch, ...)``.

        Returns:
            The images as rows with zeros where the code goes, the code's columns, and the joined input's
            width.
        """
        raise NotImplementedError

    def codes(self, labels: Tensor) -> Tensor:
        """Return the codes of ``labels``, of their shape with the code's dimensions behind.

        Raises:
            TypeError: If the labels are of a float type.
            ValueError: If a label is out of range.
        """
        check_labels(labels, self.num_classes)
        return self.codebook[labels.long()]

    def forward(self, images: Tensor, labels: Tensor) -> LabelledInput:
        """Return images with labels.

        Args:
            images: ``(batch, ...)``.
            labels: Class indices, ``(batch,)``, or ``(copies, batch)`` for several labels an image.
        """
        if labels.shape[-1] != len(images):
            raise ValueError(f"labels must be one an image, got {labels.shape[-1]} labels for {len(images)} images")
        check_labels(labels, self.num_classes)
        return self._labelled(images, self.codebook, labels.long().reshape(-1, len(images)))

    def candidates(self, images: Tensor, classes: Tensor | None = None) -> LabelledInput:
        """Return each image with every label of ``classes``, all of them unless given."""
        if classes is None:
            classes = torch.arange(self.num_classes, device=images.device)
        return self._labelled(images, self.codebook, classes[:, None])

    def neutral(self, images: Tensor) -> LabelledInput:
        """Return each image with the neutral label."""
        only = torch.zeros(1, 1, dtype=torch.long, device=images.device)
        return self._labelled(images, self.codebook.mean(0, keepdim=True), only)

    def _labelled(self, images: Tensor, codebook: Tensor, index: Tensor) -> LabelledInput:
        rows, columns, features = self.place(images)
        return LabelledInput(rows, codebook.to(rows.dtype), index, columns, features)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"num_classes={self.num_classes}" + ("" if self.scale == 1 else f", scale={self.scale}")


def check_labels(labels: Tensor, num_classes: int) -> None:
    """Refuse labels that are not class indices below ``num_classes``."""
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise TypeError(f"labels must be of an integer type, got {labels.dtype}")
    if labels.numel() and (int(labels.min()) < 0 or int(labels.max()) >= num_classes):
        raise ValueError(
            f"labels must lie in 0..{num_classes - 1} for {num_classes} classes, "
            f"got {int(labels.min())}..{int(labels.max())}"
        )


class Overlay(LabelEncoder):
    """A one-hot label over the first K features (for images, the first K pixels, which are blank in MNIST).

    Args:
        num_classes: Number of classes ``K``.
        scale: Value of the label's pixel.

    Raises:
        ValueError: On encoding, if an image has fewer than ``K`` features.

    Source: Hinton (2022), arXiv 2212.13345.
    """

    def place(self, images: Tensor) -> tuple[Tensor, Tensor, int]:
        """Blank the first K features."""
        rows = images.flatten(1)
        if rows.shape[1] < self.num_classes:
            raise ValueError(
                f"num_classes must be at most the image's {rows.shape[1]} pixels for an overlay, got {self.num_classes}"
            )
        rows = torch.cat([rows.new_zeros(len(rows), self.num_classes), rows[:, self.num_classes :]], dim=1)
        return rows, torch.arange(self.num_classes, device=rows.device), rows.shape[1]


class Border(LabelEncoder):
    """A label drawn over the image's border, each class lighting its own share of the border's pixels.

    The border's pixels are dealt to the classes in turn, row by row; those left over stay blank.

    Args:
        num_classes: Number of classes ``K``.
        scale: Value of the label's pixels.

    Raises:
        ValueError: On encoding, if the input is not images ``(batch, channels, height, width)`` or the border
            of the first channel has fewer than ``K`` pixels.

    Source: Adamson, The Forward-Forward Algorithm: Characterizing Training Behavior (2025), arXiv 2504.11229.
    """

    def place(self, images: Tensor) -> tuple[Tensor, Tensor, int]:
        """Blank the border of the first channel."""
        if images.dim() != 4:
            raise ValueError(f"images must be (batch, channels, height, width) for a border, got {tuple(images.shape)}")
        height, width = images.shape[2:]
        border = torch.ones(height, width, dtype=torch.bool, device=images.device)
        border[1:-1, 1:-1] = False
        columns = border.flatten().nonzero().squeeze(1)
        each = len(columns) // self.num_classes
        if not each:
            raise ValueError(f"num_classes must be at most the border's {len(columns)} pixels, got {self.num_classes}")
        rows = images.flatten(1).clone()
        rows[:, columns] = 0
        return rows, columns[: each * self.num_classes], rows.shape[1]

    def _labelled(self, images: Tensor, codebook: Tensor, index: Tensor) -> LabelledInput:
        rows, columns, features = self.place(images)
        repeats = len(columns) // self.num_classes
        return LabelledInput(rows, codebook.to(rows.dtype).repeat(1, repeats), index, columns, features)


class Concatenation(LabelEncoder):
    """A one-hot label behind the last feature; the first layer has ``features + K`` inputs.

    Args:
        num_classes: Number of classes ``K``.
        scale: Value of the label's entry.
    """

    def place(self, images: Tensor) -> tuple[Tensor, Tensor, int]:
        """Leave the image as it is; the code follows it."""
        rows = images.flatten(1)
        width = rows.shape[1]
        columns = torch.arange(width, width + self.num_classes, device=rows.device)
        return rows, columns, width + self.num_classes


class LabelChannel(LabelEncoder):
    """A label map a class, joined to the images as further channels behind their own.

    A convolution sees the label wherever it looks, where a code in a corner would reach a few positions only. A first
    layer :class:`~forwardforward.FFConv2d` computes the response to the maps once a class, not once a sample.

    Args:
        maps: One map a class, ``(classes, height, width)`` or ``(classes, channels, height, width)``.
        learned: Whether the maps are parameters, trained with the first layer by the errors that reach its input.
        scale: Factor on the maps; one pixel at full intensity is 1.

    Raises:
        ValueError: If the maps are of another form or fewer than 2 or, on encoding, the images are not of the maps'
            height and width.
    """

    def __init__(self, maps: Tensor, learned: bool = False, scale: float = 1.0) -> None:
        if maps.dim() not in (3, 4) or not maps.is_floating_point():
            raise ValueError(
                "maps must be floats of shape (classes, height, width) or (classes, channels, height, width), "
                f"got {maps.dtype} {tuple(maps.shape)}"
            )
        codebook = (maps.unsqueeze(1) if maps.dim() == 3 else maps) * scale
        super().__init__(len(maps), scale, nn.Parameter(codebook) if learned else codebook)

    def place(self, images: Tensor) -> tuple[Tensor, Tensor, int]:
        """Leave the images as they are; the maps follow their channels."""
        size = tuple(self.codebook.shape[2:])
        if images.dim() != 4 or tuple(images.shape[2:]) != size:
            raise ValueError(
                f"images must be (batch, channels, {size[0]}, {size[1]}), as the label maps are, "
                f"got {tuple(images.shape)}"
            )
        channels = images.shape[1]
        features = channels + self.codebook.shape[1]
        return images, torch.arange(channels, features, device=images.device), features

    def extra_repr(self) -> str:
        """Return what decides the maps' shape."""
        size = "x".join(str(n) for n in self.codebook.shape[2:])
        return f"{super().extra_repr()}, {size}"


class RandomChannel(LabelChannel):
    """A fixed random map a class, every pixel drawn from N(0, 1): a one-hot label times a random matrix.

    Args:
        num_classes: Number of classes ``K``.
        size: Height and width of the images, one number for square ones.
        scale: Factor on the maps.

    Source: Dooms et al., The Trifecta (2023), arXiv 2311.18130, for networks without overlapping updates.
    """

    def __init__(self, num_classes: int, size: int | tuple[int, int], scale: float = 1.0) -> None:
        super().__init__(torch.randn(_enough(num_classes), *_pair(size)), scale=scale)


class LearnedChannel(LabelChannel):
    """A learned map a class, every pixel starting from N(0, 1): a one-hot label times a learned matrix.

    Errors reach the maps from the group of layers that holds the first one.

    Args:
        num_classes: Number of classes ``K``.
        size: Height and width of the images, one number for square ones.
        scale: Factor on the maps that they start with.

    Source: Dooms et al., The Trifecta (2023), arXiv 2311.18130, for networks with overlapping updates.
    """

    def __init__(self, num_classes: int, size: int | tuple[int, int], scale: float = 1.0) -> None:
        super().__init__(torch.randn(_enough(num_classes), *_pair(size)), learned=True, scale=scale)


class WaveChannel(LabelChannel):
    r"""A plane wave over the whole image a class.

    .. math:: c_k(x, y) = \sqrt 2 \cos\left(2 \pi (u x / W + v y / H) + \varphi\right)

    Classes :math:`2m` and :math:`2m + 1` share the :math:`m`-th wave vector :math:`(u, v)` of the discrete Fourier
    transform, shortest first, with phases :math:`\varphi` of 0 and :math:`\pi / 2`. Over the image, waves have mean
    zero, mean square one and are orthogonal to each other.

    Args:
        num_classes: Number of classes ``K``.
        size: Height and width of the images, one number for square ones.
        scale: Factor on the waves.

    Raises:
        ValueError: If the image has fewer waves than there are classes.

    Source: Scodellaro et al., Training convolutional neural networks with the Forward-Forward algorithm (2023), arXiv
    2312.14924, which superimposes its waves on the images; here they are a channel of their own.
    """

    def __init__(self, num_classes: int, size: int | tuple[int, int], scale: float = 1.0) -> None:
        height, width = _pair(size)
        _enough(num_classes)
        vectors = [
            (u, v)
            for u in range((width + 1) // 2)
            for v in range(-((height - 1) // 2), (height + 1) // 2)
            if u > 0 or v > 0  # one of the two that point opposite ways
        ]
        vectors.sort(key=lambda one: (one[0] ** 2 + one[1] ** 2, one))
        if num_classes > 2 * len(vectors):
            raise ValueError(
                f"num_classes must be at most {2 * len(vectors)} for waves over {height}x{width} pixels, "
                f"got {num_classes}"
            )
        y, x = torch.meshgrid(torch.arange(height) / height, torch.arange(width) / width, indexing="ij")
        waves = [
            2**0.5 * torch.cos(2 * torch.pi * (u * x + v * y) + phase * torch.pi / 2)
            for u, v in vectors[: (num_classes + 1) // 2]
            for phase in (0, 1)
        ]
        super().__init__(torch.stack(waves[:num_classes]) if waves else torch.zeros(0, height, width), scale=scale)


class ImageChannel(LabelChannel):
    """A given image a class, such as a drawn symbol or the class's mean.

    Args:
        maps: One map a class, ``(classes, height, width)`` or ``(classes, channels, height, width)``.
        scale: Factor on the maps.
    """

    def __init__(self, maps: Tensor, scale: float = 1.0) -> None:
        super().__init__(maps, scale=scale)


def _enough(num_classes: int) -> int:
    if num_classes < 2:
        raise ValueError(f"num_classes must be at least 2, got {num_classes}")
    return num_classes


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise ValueError(f"size must be positive, got {size}")
    return height, width
