"""The base of the label encoders."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from forwardforward._utils.annotations import describe
from forwardforward._utils.arguments import NumClasses, PositiveFloat, checked
from forwardforward._utils.checks import check_labels
from forwardforward._utils.memory import check_memory
from forwardforward.batches import LabeledInput
from forwardforward.specs import Plugin


@checked
class LabelEncoder(Plugin, nn.Module):
    r"""Base of the label encoders: the code of class :math:`k` is row :math:`k` of a code book.

    The neutral label carries no class information: it is the mean of the codes, for a one-hot code of K values 1/K of
    the label's strength in each. A subclass implements :meth:`place` and passes its code book to the constructor.

    Args:
        num_classes: Number of classes ``K``.
        scale: Strength of the label; one pixel at full intensity is 1.
        codebook: One code per class, ``(K, code, ...)``: a parameter, which is learned with the first layer, or a
            tensor, which becomes a buffer of the state dict; default: one-hot codes.

    Raises:
        ValueError: If ``num_classes`` is below 2, ``scale`` is not positive, or the code book has another number of
            codes.

    Example:
        >>> class Appended(LabelEncoder):
        ...     def place(self, images):
        ...         rows, code = images.flatten(1), self.codebook.shape[1]
        ...         width = rows.shape[1]
        ...         return rows, torch.arange(width, width + code), width + code
        >>> Appended(2, codebook=torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]])).neutral(torch.ones(1, 2)).joined()
        tensor([[1.0000, 1.0000, 0.5000, 1.0000, 0.5000]])
    """

    codebook: Tensor

    def __init__(self, num_classes: NumClasses, scale: PositiveFloat = 1.0, codebook: Tensor | None = None) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.scale = scale
        if codebook is None:
            check_memory("num_classes", num_classes, num_classes)
        if codebook is not None and (codebook.dim() < 2 or len(codebook) != num_classes):
            raise ValueError(
                f"codebook must have one code for each of the {num_classes} classes, got shape {tuple(codebook.shape)}"
            )
        if isinstance(codebook, nn.Parameter):
            self.codebook = codebook
        else:
            # Persistent, so that a code book that a subclass assigns later is part of the state dict too.
            self.register_buffer("codebook", torch.eye(num_classes) * scale if codebook is None else codebook)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, without a code book of one-hot codes."""
        codebook, usual = self.codebook, torch.eye(self.num_classes) * self.scale
        is_usual = codebook.shape == usual.shape and torch.equal(codebook.detach().cpu().to(usual.dtype), usual)
        given = None if is_usual and not isinstance(codebook, nn.Parameter) else codebook
        return {"num_classes": self.num_classes, "scale": self.scale, "codebook": given}

    @abstractmethod
    def place(self, images: Tensor) -> tuple[Tensor, Tensor, int]:
        """Return where the code goes.

        Args:
            images: ``(batch, ...)``.

        Returns:
            The images as rows ``(batch, width)`` or maps ``(batch, channels, height, width)``; the columns (channels)
            of the code; and the number of columns (channels) of the joined input. The joined input consists of the
            rows, filled up with zeros at the end, with the code in its columns. Where the code replaces columns of the
            rows, these must be zero.
        """
        raise NotImplementedError

    def forward(self, images: Tensor, labels: Tensor) -> LabeledInput:
        """Return images with labels.

        Args:
            images: ``(batch, ...)``.
            labels: Class indices, ``(batch,)``, or ``(copies, batch)`` for several labels per image.
        """
        if labels.shape[-1] != len(images):
            raise ValueError(f"labels must be one per image, got {labels.shape[-1]} labels for {len(images)} images")
        check_labels(labels, self.num_classes)
        return self.join(images, labels)

    def join(self, images: Tensor, labels: Tensor) -> LabeledInput:
        """Return images with labels that are known to be in range; the values are not checked.

        Args:
            images: ``(batch, ...)``.
            labels: Class indices, ``(batch,)`` or ``(copies, batch)``.
        """
        rows = labels.long().reshape(-1, len(images)) if len(images) else torch.atleast_2d(labels.long())
        return self._labeled(images, self.codebook, rows)

    def candidates(self, images: Tensor, classes: Tensor | None = None) -> LabeledInput:
        """Return each image with every label of ``classes``; default: all."""
        if classes is None:
            classes = torch.arange(self.num_classes, device=images.device)
        return self._labeled(images, self.codebook, classes[:, None])

    def neutral(self, images: Tensor) -> LabeledInput:
        """Return each image with the neutral label."""
        only = torch.zeros(1, 1, dtype=torch.long, device=images.device)
        return self._labeled(images, self.codebook.mean(0, keepdim=True), only)

    def joined_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of one joined input, and check :meth:`place`.

        Args:
            shape: Shape of one image.

        Raises:
            TypeError: If :meth:`place` returns something else.
            ValueError: If the code has another size than its columns, or the columns are outside the joined input, or
                contain something else.
        """
        with torch.no_grad():
            images = torch.ones(1, *shape, device=self.codebook.device)
            _check_place(self.place(images), self)
            labeled = self.neutral(images)
            code, (_, width) = labeled.codebook.shape[1], labeled.images.shape[:2]
            columns = labeled.columns.tolist()
            if len(set(columns)) != code or not all(0 <= column < labeled.features for column in columns):
                raise ValueError(
                    f"place must return {code} columns, one per value of the code, in 0..{labeled.features - 1}, "
                    f"got {columns} in {type(self).__name__}"
                )
            if width > labeled.features or labeled.images[:, [c for c in columns if c < width]].any():
                raise ValueError(
                    f"place must return rows of at most {labeled.features} columns, zero in the code's columns, "
                    f"got {width} columns in {type(self).__name__}"
                )
        return labeled.shape[1:]

    def _labeled(self, images: Tensor, codebook: Tensor, index: Tensor) -> LabeledInput:
        if not images.is_floating_point():  # the label's values would be rounded
            raise TypeError(f"images must be of a floating type, got {images.dtype}")
        rows, columns, features = self.place(images)
        return LabeledInput(rows, codebook.to(rows.dtype), index, columns, features)

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"num_classes={self.num_classes}" + ("" if self.scale == 1 else f", scale={self.scale}")


def _check_place(placed: object, encoder: LabelEncoder) -> None:
    """Check what ``place`` returned for one image."""
    parts = placed if isinstance(placed, tuple) and len(placed) == 3 else (None, None, None)
    rows, columns, features = parts
    is_row = isinstance(rows, Tensor) and rows.dim() >= 2 and len(rows) == 1
    is_index = isinstance(columns, Tensor) and columns.dim() == 1 and columns.dtype == torch.int64
    if not is_row or not is_index or type(features) is not int:
        got = ", ".join(describe(part) for part in placed) if isinstance(placed, tuple) else describe(placed)
        raise TypeError(
            "place must return three values, the images as rows (batch, width, ...), the code's columns as a tensor of "
            f"int64 and the number of joined columns, got {got or 'an empty tuple'} from {type(encoder).__name__}"
        )
