"""A block that hands the label's code on, so that every layer reads it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from forwardforward._utils.arguments import PositiveInt, checked

__all__ = ["CarryLabel"]


@checked
class CarryLabel(nn.Module):
    """A block that reads rows that end with a label's code, and returns its output with the code appended.

    In a network with a :class:`~forwardforward.label_encoders.Concatenation`, every layer then reads the label beside
    the features. The layers' goodness must not read the code: see
    :class:`~forwardforward.goodness.WithoutLabel`.

    Args:
        block: Module from rows with the code to rows, with its activation.
        length: Number of columns of the code.

    Example:
        >>> block = CarryLabel(nn.Linear(5, 4), length=2)
        >>> x = torch.tensor([[0.5, 0.5, 0.5, 0.0, 1.0]])
        >>> block(x)[:, 4:]
        tensor([[0., 1.]], grad_fn=<SliceBackward0>)
    """

    def __init__(self, block: nn.Module, length: PositiveInt) -> None:
        super().__init__()
        self.block = block
        self.length = length

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output and the code, ``(rows, features + length)``."""
        output: Tensor = self.block(x)
        return torch.cat([output, x[:, -self.length :].to(output.dtype)], dim=1)

    def extra_repr(self) -> str:
        """Return the length of the code."""
        return f"length={self.length}"
