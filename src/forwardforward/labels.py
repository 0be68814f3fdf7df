"""Labels: how a class label becomes part of a network's input.

A labelled input keeps image and label code apart until the first layer joins them. Positive, negative and all
candidate inputs of an image differ in the code alone, so a linear first layer multiplies with the image once
for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["Border", "Concatenation", "LabelEncoder", "LabelledInput", "Overlay"]


@dataclass(frozen=True)
class LabelledInput:
    """Images and the label codes that they are to be joined with, not joined yet.

    One image may carry several codes (a positive and a negative one, or one a candidate label): the joined
    input holds every image with its first code, then every image with its second, and so on.

    Attributes:
        images: ``(batch, width)``, zero in the ``columns`` that the code will fill.
        codes: ``(copies, batch, code)``, or ``(copies, 1, code)`` where all images carry the same codes.
        columns: Where in the joined input the code's entries stand, ``(code,)``.
        features: Width of the joined input.
    """

    images: Tensor
    codes: Tensor
    columns: Tensor
    features: int

    def __len__(self) -> int:
        """Return the number of rows of the joined input, copies times batch."""
        return self.codes.shape[0] * self.images.shape[0]

    def joined(self) -> Tensor:
        """Return the plain input, ``(copies * batch, features)``."""
        batch, width = self.images.shape
        out = self.images.new_zeros(self.codes.shape[0], batch, self.features)
        out[..., :width] = self.images
        out[..., self.columns] = self.codes.to(out.dtype)
        return out.flatten(0, 1)


class LabelEncoder(nn.Module):
    r"""Base of the label encoders: class :math:`k` is row :math:`k` of a code book.

    The neutral label, which tells nothing, is the mean of the codes: for a one-hot code of K entries, 1/K of
    the label's strength in each.

    Args:
        num_classes: Number of classes ``K``.
        scale: Strength of the label; one pixel at full intensity is 1.

    Raises:
        ValueError: If ``num_classes`` is below 2 or ``scale`` is not positive.
    """

    codebook: Tensor

    def __init__(self, num_classes: int, scale: float = 1.0) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"num_classes must be at least 2, got {num_classes}")
        if not scale > 0:
            raise ValueError(f"scale must be positive, got {scale}")
        self.num_classes = num_classes
        self.scale = scale
        self.register_buffer("codebook", torch.eye(num_classes) * scale, persistent=False)

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
        """Return the codes of ``labels``, of their shape with the code's entries as last dimension.

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
        return self._labelled(images, self.codes(labels.reshape(-1, len(images))))

    def candidates(self, images: Tensor, classes: Tensor | None = None) -> LabelledInput:
        """Return each image with every label of ``classes``, all of them unless given."""
        codes = self.codebook if classes is None else self.codebook[classes]
        return self._labelled(images, codes.unsqueeze(1))

    def neutral(self, images: Tensor) -> LabelledInput:
        """Return each image with the neutral label."""
        return self._labelled(images, self.codebook.mean(0).view(1, 1, -1))

    def _labelled(self, images: Tensor, codes: Tensor) -> LabelledInput:
        rows, columns, features = self.place(images)
        return LabelledInput(rows, codes.to(rows.dtype), columns, features)

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

    def _labelled(self, images: Tensor, codes: Tensor) -> LabelledInput:
        rows, columns, features = self.place(images)
        repeats = len(columns) // self.num_classes
        return LabelledInput(rows, codes.to(rows.dtype).repeat(1, 1, repeats), columns, features)


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
