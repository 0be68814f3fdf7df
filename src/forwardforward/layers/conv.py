"""Convolutional layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from forwardforward._utils.arguments import NonNegativeInt, PositiveInt, checked
from forwardforward._utils.convolution import Conv2d
from forwardforward._utils.memory import check_memory
from forwardforward.batches import LabeledInput
from forwardforward.layers.block import block_of
from forwardforward.layers.initialization import Init, he_uniform
from forwardforward.layers.linear_block import LinearBlockLayer, add_to_all, scaled_weight
from forwardforward.layers.pool import MaxPool2d
from forwardforward.normalization import Affine

__all__ = ["FFConv2d"]

Size = PositiveInt | tuple[PositiveInt, PositiveInt]
CHANNELS_LAST = torch.backends.mkldnn.is_available()  # read here, since torch.compile cannot trace it

PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]


@checked
class FFConv2d(LinearBlockLayer):
    r"""A convolutional layer with a local objective: normalize, convolve, activate, pool.

    Arguments have the meaning of those of :class:`torch.nn.Conv2d` and :class:`torch.nn.MaxPool2d`. The response to
    label channels (see :class:`~forwardforward.label_encoders.LabelChannel`) is computed once per class, the response
    to the images once per image, for any number of labeled samples.

    Args:
        in_channels: Number of input channels, with label channels.
        out_channels: Number of filters.
        kernel_size: Size of the convolution kernel.
        stride: Stride of the convolution.
        padding: Zeros around the input, or ``"same"``.
        dilation: Spacing of the kernel's elements.
        groups: Number of blocked connections from input to output channels.
        bias: Whether there is a bias.
        padding_mode: As for :class:`torch.nn.Conv2d`.
        activation: Default: ReLU.
        pool: Size of a max-pool, or any module; default: none.
        init: Initial weights. ``"default"``: those of :class:`torch.nn.Conv2d`, :math:`U(-n^{-1/2}, n^{-1/2})` for
            :math:`n` inputs per output, also of the bias. ``"he_uniform"``: He et al.'s,
            :math:`U(-\sqrt{6 / n}, \sqrt{6 / n})`, and biases of 0.
        **plugins: Those of :class:`FFLayer`, such as ``order`` and ``normalization``.

    Raises:
        ValueError: If a number of channels is not positive or, on forward, the input is not
            ``(rows, in_channels, height, width)``.

    Example:
        >>> import forwardforward as ff
        >>> projection = ff.goodness.LearnedProjection(10, pool=ff.pooling.SpatialPool(2))
        >>> layer = FFConv2d(
        ...     3, 16, 3, padding=1, goodness=projection, loss=ff.losses.CrossEntropy(), input_shape=(3, 8, 8)
        ... )
        >>> layer(torch.rand(5, 3, 8, 8)).shape
        torch.Size([5, 16, 8, 8])
    """

    block: nn.Conv2d

    def __init__(
        self,
        in_channels: PositiveInt,
        out_channels: PositiveInt,
        kernel_size: Size,
        stride: Size = 1,
        padding: NonNegativeInt | tuple[NonNegativeInt, NonNegativeInt] | Literal["same", "valid"] = 0,
        dilation: Size = 1,
        groups: PositiveInt = 1,
        bias: bool = True,
        padding_mode: PaddingMode = "zeros",
        activation: Callable[[Tensor], Tensor] | None = None,
        pool: Size | Callable[[Tensor], Tensor] | None = None,
        init: Init = "default",
        **plugins: Any,
    ) -> None:
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"groups must divide in_channels and out_channels, {in_channels} and {out_channels}, got {groups}"
            )
        sides = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
        check_memory("in_channels, out_channels and kernel_size", out_channels, in_channels // groups, *sides)
        self.splits = groups == 1
        super().__init__(
            Conv2d(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode),
            activation=nn.ReLU() if activation is None else activation,
            pool=MaxPool2d(pool) if isinstance(pool, int | tuple) else pool,
            **plugins,
        )
        if init == "he_uniform":
            he_uniform(self.block)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, without the initial weights."""
        block = block_of(self, nn.Conv2d)
        names = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups")
        options = {"bias": block.bias is not None, "padding_mode": block.padding_mode, "activation": self.activation}
        return {**{name: getattr(block, name) for name in names}, **options, **self._plugins()}

    def check_input(self, x: Tensor | LabeledInput) -> Tensor | LabeledInput:
        """Check the number of channels, and return maps in the faster memory layout.

        Args:
            x: Maps or a labeled input.
        """
        shape, channels = tuple(x.shape), x.shape[1] if len(x.shape) > 1 else 0
        if isinstance(x, LabeledInput) and len(shape) == 2:
            raise ValueError(
                "label_encoder must add channels for a convolution, such as "
                f"label_encoders.LearnedChannel(num_classes, size), got one that makes rows of shape {shape}"
            )
        if len(shape) != 4 or channels != self.block.in_channels:
            label = " (with the label channels)" if isinstance(x, LabeledInput) else ""
            raise ValueError(
                f"in_channels must be the input's number of channels, got {self.block.in_channels} for inputs "
                + (f"of {channels} channels{label}" if len(shape) == 4 else f"of shape {shape}")
            )
        return x if isinstance(x, LabeledInput) else self._laid_out(x)

    def split_forward(self, x: LabeledInput, affine: Affine) -> Tensor:
        """Return ``block(affine([image, code]))`` with one convolution for all codes of an image.

        Args:
            x: Images and their label maps.
            affine: The normalization, written as an affine map.

        Returns:
            ``(copies * batch, out_channels, height, width)``.
        """
        weight, bias = self.block.weight, self.block.bias
        scaled = scaled_weight(weight, affine)
        z = self._convolve(x.images, scaled[:, : x.images.shape[1]])
        maps = self._laid_out(self._response(x, weight, scaled, affine)).to(z.dtype)
        chosen = maps.permute(0, 2, 3, 1).index_select(0, x.index.flatten())  # sums of maps are fast in this layout
        copies = chosen.view(*x.index.shape, *chosen.shape[1:])
        z = add_to_all(copies, z.permute(0, 2, 3, 1)[None]).permute(0, 1, 4, 2, 3)
        if affine.row_scale is not None:
            z = z * affine.row_scale[..., None, None].to(z.dtype)
            if affine.row_shift is not None:
                ones = x.images.new_ones(1, x.features, *x.images.shape[2:])
                z = z + affine.row_shift[..., None, None].to(z.dtype) * self._convolve(ones, weight)
            if bias is not None:
                z = z + bias.view(1, -1, 1, 1).to(z.dtype)
        return z.flatten(0, 1)

    def affine_forward(self, x: Tensor, affine: Affine) -> Tensor:
        """Return ``block(affine(x))`` with the scales of channels applied to the weights.

        Args:
            x: Maps.
            affine: Scales and shifts of channels.

        Returns:
            ``(batch, out_channels, height, width)``.
        """
        weight, bias = self.block.weight, self.block.bias
        z = self._convolve(x, scaled_weight(weight, affine))
        if affine.column_shift is not None:
            shift = self._laid_out(self._response_to_shift(x, affine.column_shift, weight, bias)).to(z.dtype)
            return add_to_all(z.permute(0, 2, 3, 1), shift.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return z if bias is None else z + bias.view(1, -1, 1, 1).to(z.dtype)

    def _response_to_shift(self, maps: Tensor, shift: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Return the response to shifts of the channels, ``(1, out_channels, height, width)``.

        It is that of one map of ones, and not one number per filter, since the border is padded after the shift.
        """
        kernels = (weight * shift.view(1, -1, 1, 1)).sum(1, keepdim=True).to(weight.dtype)
        return self._convolve(maps.new_ones(1, 1, *maps.shape[2:], dtype=weight.dtype), kernels, bias)

    def _response(self, x: LabeledInput, weight: Tensor, scaled: Tensor, affine: Affine) -> Tensor:
        """Return the response to the label maps without images, ``(codes, out_channels, height, width)``."""
        bias = self.block.bias
        columns = affine.column_scale, affine.column_shift
        if x.responses and all(
            a is b or (a is not None and b is not None and torch.equal(a, b))
            for a, b in zip(columns, x.responses["columns"], strict=True)
        ):
            cached: Tensor = x.responses["maps"]
            return cached
        maps = self._convolve(x.codebook, scaled[:, x.columns])
        if affine.column_shift is not None:
            maps = maps + self._response_to_shift(x.images, affine.column_shift, weight)
        if affine.row_scale is None and bias is not None:
            maps = maps + bias.view(1, -1, 1, 1).to(maps.dtype)
        if x.responses is not None:
            x.responses.update(columns=columns, maps=maps)
        return maps

    def _convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Convolve with other weights, with this block's stride and padding."""
        out: Tensor = self.block._conv_forward(self._laid_out(x), weight, bias)
        return out

    def _laid_out(self, maps: Tensor) -> Tensor:
        """Return the maps with channels last in memory, if that is faster; later operations keep the layout."""
        if maps.device.type == "cpu" and self.block.groups == 1 and CHANNELS_LAST:
            # torch.channels_last in a form that torch.func.vmap supports
            return maps.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
        return maps
