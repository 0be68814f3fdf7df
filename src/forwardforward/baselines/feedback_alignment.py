"""Feedback alignment: errors go backward through fixed random weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.grad import conv2d_input

from forwardforward.baselines.baseline import Baseline, products

__all__ = ["FeedbackAlignment"]


class FeedbackAlignment(Baseline):
    r"""The stack trained end to end, errors going backward through fixed random weights.

    Backpropagation sends the error :math:`\delta_l = \partial L / \partial z_l` at the pre-activations :math:`z_l =
    W_l h_{l-1} + b_l` backward through the transposed weights. Here a random matrix :math:`B_l` of the weights' shape,
    which is never trained, stands in their place:

    .. math::
        \delta_{l-1} = (B_l^\top \delta_l) \odot f'(z_{l-1}), \qquad
        \nabla W_l = \delta_l h_{l-1}^\top, \qquad \nabla b_l = \delta_l

    For a convolution :math:`B_l` are filters, of the same stride, padding, dilation and groups. All else is exact given
    the error that arrives: activations, pools, normalization with its scales and shifts, biases. So is the update of
    the output layer, whose error is that of the cross-entropy.

    Each :math:`B_l` is drawn once, normal with mean 0 and the root mean square of the weights :math:`W_l` at that
    moment, so that errors keep the size that backpropagation's would have at the start; the paper draws uniformly from
    a range that it chooses by hand. They are the buffers ``feedback`` beside the weights and part of the
    ``state_dict``. The first layer's serves only what is trained in front of it, such as a normalization.

    Args:
        *layers: Those of :class:`Baseline`. Their dense and convolutional blocks are changed in place into ones with
            feedback weights, so they serve this model alone.
        num_classes: Number of classes.
        **options: Those of :class:`Baseline`: ``normalization``, ``preprocessing``, ``input_shape``.

    Raises:
        ValueError: If there are no layers, or a layer has weights elsewhere than in
            :class:`torch.nn.Linear` and :class:`torch.nn.Conv2d`.

    Source: Lillicrap et al., Random synaptic feedback weights support error backpropagation for deep learning (2016),
    Nature Communications 7:13276; they have dense layers. Fixed random filters for convolutions are the usual
    extension, such as in Bartunov et al. (2018), arXiv 1807.04587.

    Example:
        >>> import torch, forwardforward as ff
        >>> model = FeedbackAlignment(ff.FFLinear(784, 100), ff.FFLinear(100, 100), num_classes=10)
        >>> model.layers[1].block.feedback.shape
        torch.Size([100, 100])
    """

    def __init__(self, *layers: nn.Module, num_classes: int, **options: Any) -> None:
        super().__init__(*layers, num_classes=num_classes, **options)
        self._products = [products(layer, i, "feedback alignment") for i, layer in enumerate(layers)]
        if self.is_set_up:
            self._add_feedback()

    def setup(self, input_shape: Sequence[int]) -> None:
        """Set up every layer, create the output layer, and draw the feedback weights.

        Args:
            input_shape: Shape of one raw input.
        """
        was_set_up = self.is_set_up
        super().setup(input_shape)
        if not was_set_up and "_products" in self.__dict__:  # at the first batch; else the constructor continues
            self._add_feedback()

    def _add_feedback(self) -> None:
        assert self.output is not None
        for product in [*(product for layer in self._products for product in layer), self.output]:
            scale = float(product.weight.detach().square().mean().sqrt())
            product.register_buffer(
                "feedback", torch.empty_like(product.weight, requires_grad=False).normal_(std=scale)
            )
            product.__class__ = FeedbackLinear if isinstance(product, nn.Linear) else FeedbackConv2d


class FeedbackLinear(nn.Linear):
    """A dense map that sends errors backward through ``feedback`` in place of its weights."""

    feedback: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Return what a dense map returns."""
        return _send(x, super().forward(x.detach()), lambda error: error @ self.feedback.to(error.dtype))


class FeedbackConv2d(nn.Conv2d):
    """A convolution that sends errors backward through ``feedback`` in place of its filters."""

    feedback: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Return what a convolution returns."""
        padding: Any = self.padding
        if self.padding_mode != "zeros" or isinstance(padding, str):
            mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
            x = F.pad(x, self._reversed_padding_repeated_twice, mode=mode)
            padding = 0
        options = (self.stride, padding, self.dilation, self.groups)

        def send(error: Tensor) -> Tensor:
            sent: Tensor = conv2d_input(x.shape, self.feedback.to(error.dtype), error, *options)
            return sent

        return _send(x, F.conv2d(x.detach(), self.weight, self.bias, *options), send)


def _send(x: Tensor, y: Tensor, send: Callable[[Tensor], Tensor]) -> Tensor:
    """Return ``y``, computed from ``x`` without its graph, with a graph that takes errors at ``y`` to ``x`` too."""
    return _apply(x, y, send)


class _Send(torch.autograd.Function):
    """Two ways backward: autograd's to the weights behind ``y``, and ``send`` to ``x``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, send: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.send, ctx.dtype = send, x.dtype
        ctx.mark_dirty(y)  # the tensor itself goes on, neither a copy nor a view, which no later operation may change
        return y

    @staticmethod
    def backward(ctx: Any, error: Tensor) -> tuple[Tensor | None, Tensor, None]:
        sent = ctx.send(error).to(ctx.dtype) if ctx.needs_input_grad[0] else None
        return sent, error, None


_apply: Callable[[Tensor, Tensor, Callable[[Tensor], Tensor]], Tensor] = _Send.apply
