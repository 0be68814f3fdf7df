"""Locally connected blocks: a convolution with other filters at each position."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from forwardforward._utils.arguments import NonNegativeInt, PositiveInt, checked
from forwardforward._utils.memory import check_memory

__all__ = ["LocallyConnected2d"]


@checked
class LocallyConnected2d(nn.Module):
    r"""Local receptive fields without weight sharing.

    .. math:: z_{o, p} = b_{o, p} + \sum_{i, d} W_{p, o, (i, d)} \, x_{i, p \cdot stride + d}

    over positions :math:`p`, output channels :math:`o`, input channels :math:`i` and offsets :math:`d`. Use it as a
    block: ``FFLayer(LocallyConnected2d(3, 8, 5, size=32), activation=nn.ReLU())``.

    Args:
        in_channels: Number of input channels.
        out_channels: Number of output channels per position.
        kernel_size: Side of the receptive field.
        size: Height and width of the input, one number for square ones.
        stride: Distance of neighboring fields.
        padding: Zeros around the input.
        bias: Whether there is a bias per channel and position, initially 0; weights are initialized as
            :math:`N(0, 1 / fan_{in})`.

    Raises:
        TypeError: If a number is not whole.
        ValueError: If a size is not positive, the field does not fit or, on forward, the input has another shape.

    Source: Hinton (2022), arXiv 2212.13345, for MNIST and CIFAR-10.

    Example:
        >>> LocallyConnected2d(3, 8, 5, size=9)(torch.rand(2, 3, 9, 9)).shape
        torch.Size([2, 8, 5, 5])
    """

    def __init__(
        self,
        in_channels: PositiveInt,
        out_channels: PositiveInt,
        kernel_size: PositiveInt,
        size: PositiveInt | tuple[PositiveInt, PositiveInt],
        stride: PositiveInt = 1,
        padding: NonNegativeInt = 0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.size = (size, size) if isinstance(size, int) else size
        height, width = ((side + 2 * padding - kernel_size) // stride + 1 for side in self.size)
        if height < 1 or width < 1:
            raise ValueError(f"kernel_size must fit into the padded input, got {kernel_size} for {self.size}")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.out_size = (height, width)
        fan_in = in_channels * kernel_size**2
        check_memory("size, padding, in_channels, out_channels and kernel_size", height * width, out_channels, fan_in)
        self.weight = nn.Parameter(torch.randn(height * width, out_channels, fan_in) * fan_in**-0.5)
        self.bias = nn.Parameter(torch.zeros(out_channels, height, width)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(rows, out_channels, out height, out width)`` of ``(rows, in_channels, height, width)``."""
        if x.dim() != 4 or tuple(x.shape[1:]) != (self.in_channels, *self.size):
            raise ValueError(
                f"x must be (rows, {self.in_channels}, {self.size[0]}, {self.size[1]}), got {tuple(x.shape)}"
            )
        fields = F.unfold(x, self.kernel_size, stride=self.stride, padding=self.padding)
        z = torch.bmm(fields.permute(2, 0, 1), self.weight.transpose(1, 2))  # one product per position
        z = z.permute(1, 2, 0).reshape(len(x), self.out_channels, *self.out_size)
        return z if self.bias is None else z + self.bias

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, size={self.size}, "
            f"stride={self.stride}, padding={self.padding}, bias={self.bias is not None}"
        )
