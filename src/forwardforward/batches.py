"""What a layer's objective is told about the rows that it sees."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from forwardforward.labels import LabelledInput

__all__ = ["Batch"]


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
