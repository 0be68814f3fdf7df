"""What a layer reads, and what its objective is told about the rows that it sees.

A labelled input keeps image and label code apart until the first layer joins them. Positive, negative and all
candidate inputs of an image differ in the code alone, so a linear first layer multiplies with the image once
for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

__all__ = ["Batch", "LabelledInput"]


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


@dataclass(frozen=True)
class Batch:
    """One step's input to the stack.

    Attributes:
        inputs: Plain rows ``(rows, ...)`` or a labelled input.
        targets: Class indices ``(batch,)``, where there are labels.
        paired: Whether the first half of the rows are positive samples and the second half their negatives,
            in the same order. Otherwise the rows are plain images, which no label has touched.
    """

    inputs: Tensor | LabelledInput
    targets: Tensor | None = None
    paired: bool = False
