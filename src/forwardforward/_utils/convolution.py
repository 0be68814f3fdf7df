"""A convolution that is faster for small maps on CPUs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from forwardforward._utils.processor import has_matrix_tiles

__all__ = ["Conv2d"]

#: Largest number of positions of a map for which the gradient of the weights is faster as a product with patches.
POSITIONS = 64 if has_matrix_tiles() else 16
#: The same for the output and the gradient of the input.
FEW_POSITIONS = 9


class Conv2d(nn.Conv2d):
    """:class:`torch.nn.Conv2d`, with other ways to compute small maps on CPUs.

    In bfloat16, for maps of up to 64 positions on CPUs with AMX units and up to 16 on others, the gradient of the
    weights is one product of the output's gradient with the patches of the input. Torch's takes 1.1 to 5 times as long,
    which is most of the step of a late layer. For up to 9 positions, output and gradient of the input are products too.
    An output of one position is the product of the input with the part of the kernel that covers it, in every
    precision: torch multiplies the padding too, which is 8 of 9 weights for a 3 x 3 kernel on one position. Results
    agree to rounding.
    """

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if self._has_one_position(input):
            return self._product(input, weight, bias)
        if self._is_small(input):
            output = _apply(input, weight)
            return output if bias is None else output + bias.view(-1, 1, 1).to(output.dtype)
        convolved: Tensor = super()._conv_forward(input, weight, bias)
        return convolved

    def _is_small(self, x: Tensor) -> bool:
        """Return whether the gradient for this input is computed by the product."""
        if x.device.type != "cpu" or torch.compiler.is_compiling() or not torch.is_grad_enabled():
            return False
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
        if dtype != torch.bfloat16:
            return False
        height, width = self.kernel_size
        same = self.stride == (1, 1) and self.dilation == (1, 1) and self.padding == (height // 2, width // 2)
        plain = self.groups == 1 and self.padding_mode == "zeros" and height % 2 == 1 and width % 2 == 1
        return same and plain and x.dim() == 4 and x.shape[2] * x.shape[3] <= POSITIONS

    def _has_one_position(self, x: Tensor) -> bool:
        """Return whether the output for this input has one position, which the kernel covers from its first row on."""
        plain = self.groups == 1 and self.padding_mode == "zeros" and self.dilation == (1, 1)
        if x.device.type != "cpu" or torch.compiler.is_compiling() or not plain or x.dim() != 4:
            return False
        if isinstance(self.padding, str) or x.shape[1] != self.in_channels:
            return False
        return all(
            padding < kernel <= size + 2 * padding < kernel + stride
            for size, kernel, stride, padding in zip(
                x.shape[2:], self.kernel_size, self.stride, self.padding, strict=True
            )
        )

    def _product(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return the output of one position, ``(batch, out_channels, 1, 1)``."""
        assert not isinstance(self.padding, str)
        (top, left), (kernel_height, kernel_width) = self.padding, self.kernel_size
        height, width = min(x.shape[2], kernel_height - top), min(x.shape[3], kernel_width - left)
        kernels = weight[:, :, top : top + height, left : left + width]
        output = F.linear(x[:, :, :height, :width].flatten(1), kernels.flatten(1), bias)
        return output[:, :, None, None]


class _Convolution(torch.autograd.Function):
    """A convolution with stride 1 and padding that keeps the size."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor) -> Tensor:
        return _convolved(x, weight)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.input_dtype = inputs[0].dtype

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None]:
        (grad,), (x, weight) = grads, ctx.saved_tensors
        padding = [weight.shape[2] // 2, weight.shape[3] // 2]
        x, kernels = x.to(grad.dtype), weight.to(grad.dtype)
        of_input = of_weight = None
        if ctx.needs_input_grad[0] and _has_few_positions(x):
            of_input = _convolved(grad, kernels.transpose(0, 1).flip(2, 3)).to(ctx.input_dtype)
        elif ctx.needs_input_grad[0]:
            of_input = torch.ops.aten.convolution_backward(
                grad, x, kernels, None, [1, 1], padding, [1, 1], False, [0, 0], 1, [True, False, False]
            )[0].to(ctx.input_dtype)
        if ctx.needs_input_grad[1]:
            of_weight = _weight_gradient(x, grad, weight.shape[2:]).to(weight.dtype)
        return of_input, of_weight


def _weight_gradient(x: Tensor, grad: Tensor, kernel_size: torch.Size) -> Tensor:
    """Return the gradient of the weights, ``(out_channels, in_channels, *kernel_size)``."""
    product = grad.permute(0, 2, 3, 1).flatten(0, 2).T @ _patches(x, kernel_size)
    of_weight: Tensor = product.unflatten(1, (*kernel_size, x.shape[1])).permute(0, 3, 1, 2)
    return of_weight


def _convolved(x: Tensor, weight: Tensor) -> Tensor:
    """Return maps convolved with padding that keeps their size, ``(batch, out_channels, height, width)``."""
    if not _has_few_positions(x):
        return F.conv2d(x, weight, padding=(weight.shape[2] // 2, weight.shape[3] // 2))
    rows = _patches(x, weight.shape[2:]) @ weight.permute(0, 2, 3, 1).flatten(1).T
    output: Tensor = rows.unflatten(0, (x.shape[0], *x.shape[2:])).permute(0, 3, 1, 2)
    return output


def _has_few_positions(x: Tensor) -> bool:
    return x.shape[2] * x.shape[3] <= FEW_POSITIONS


def _patches(x: Tensor, kernel_size: torch.Size) -> Tensor:
    """Return the patch around each position, ``(batch * height * width, kernel_height * kernel_width * channels)``."""
    height, width = kernel_size
    channels = x.shape[1]
    maps = F.pad(x.permute(0, 2, 3, 1), (0, 0, width // 2, width // 2, height // 2, height // 2))
    # A row of a patch is a run of width * channels values, so that the copy has few long runs.
    rows = maps.flatten(2).unfold(2, width * channels, channels).unfold(1, height, 1)
    return rows.permute(0, 1, 2, 4, 3).reshape(-1, height * width * channels)


_apply: Callable[[Tensor, Tensor], Tensor] = _Convolution.apply
