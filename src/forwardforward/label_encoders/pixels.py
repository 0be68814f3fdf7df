"""Labels as single features of the input: in place of pixels, or after the last feature."""

from __future__ import annotations

import torch
from torch import Tensor

from forwardforward.batches import LabeledInput
from forwardforward.label_encoders.encoder import LabelEncoder


class Overlay(LabelEncoder):
    """A one-hot label in place of the first K features (of images, the first K pixels, which are blank in MNIST).

    Args:
        num_classes: Number of classes ``K``.
        scale: Value of the label's pixel.

    Raises:
        ValueError: On encoding, if an image has fewer than ``K`` features.

    Source: Hinton (2022), arXiv 2212.13345.

    Example:
        >>> Overlay(2)(torch.ones(1, 4), torch.tensor([1])).joined()
        tensor([[0., 1., 1., 1.]])
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
    """A label in the image's border, with an equal number of the border's pixels for each class.

    The border's pixels are assigned to the classes in turn, row by row; remaining pixels are zero.

    Args:
        num_classes: Number of classes ``K``.
        scale: Value of the label's pixels.

    Raises:
        ValueError: On encoding, if the input is not images ``(batch, channels, height, width)`` or the border
            of the first channel has fewer than ``K`` pixels.

    Source: Adamson, The Forward-Forward Algorithm: Characterizing Training Behavior (2025), arXiv 2504.11229.

    Example:
        >>> Border(3)(torch.ones(1, 1, 3, 3), torch.tensor([1])).joined().view(3, 3)
        tensor([[0., 1., 0.],
                [0., 1., 1.],
                [0., 0., 0.]])
    """

    def place(self, images: Tensor) -> tuple[Tensor, Tensor, int]:
        """Blank the border of the first channel."""
        if images.dim() != 4:
            raise ValueError(f"images must be (batch, channels, height, width) for a border, got {tuple(images.shape)}")
        height, width = images.shape[2:]
        border = _border(height, width, images.device)
        pixels_per_class = len(border) // self.num_classes
        if not pixels_per_class:
            raise ValueError(f"num_classes must be at most the border's {len(border)} pixels, got {self.num_classes}")
        rows = images.flatten(1).index_fill(1, border, 0)
        return rows, border[: pixels_per_class * self.num_classes], rows.shape[1]

    def _labeled(self, images: Tensor, codebook: Tensor, index: Tensor) -> LabeledInput:
        rows, columns, features = self.place(images)
        repeats = len(columns) // self.num_classes
        return LabeledInput(rows, codebook.to(rows.dtype).repeat(1, repeats), index, columns, features)


def _border(height: int, width: int, device: torch.device) -> Tensor:
    """Return the indices of an image's border pixels, row by row, without a synchronization with the device."""
    pixels = torch.arange(height * width, device=device)
    if min(height, width) < 3:
        return pixels
    sides = pixels.view(height, width)[1:-1, :: width - 1]  # first and last column
    return torch.cat([pixels[:width], sides.flatten(), pixels[-width:]])


class Concatenation(LabelEncoder):
    """A one-hot label after the last feature; the first layer has ``features + K`` inputs.

    Args:
        num_classes: Number of classes ``K``.
        scale: Value of the label's feature.

    Example:
        >>> Concatenation(2)(torch.ones(1, 2), torch.tensor([1])).joined()
        tensor([[1., 1., 0., 1.]])
    """

    def place(self, images: Tensor) -> tuple[Tensor, Tensor, int]:
        """Return the image unchanged, followed by the code."""
        rows = images.flatten(1)
        width = rows.shape[1]
        columns = torch.arange(width, width + self.num_classes, device=rows.device)
        return rows, columns, width + self.num_classes
