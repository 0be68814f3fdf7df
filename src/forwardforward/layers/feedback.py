"""Linear layers and convolutions whose errors are propagated backward through fixed random weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.grad import conv2d_input

__all__ = ["FeedbackConv2d", "FeedbackLinear", "use_random_feedback", "use_sign_feedback"]


def use_random_feedback(module: nn.Linear | nn.Conv2d) -> None:
    """Draw a module's feedback weights, and change its class in place to one that uses them.

    They are drawn from a normal distribution whose standard deviation is the root mean square of the weights at this
    time, so that errors have the same magnitude as with the exact gradient, and stored in the buffer ``feedback``.
    """
    scale = float(module.weight.detach().square().mean().sqrt())
    module.register_buffer("feedback", torch.empty_like(module.weight, requires_grad=False).normal_(std=scale))
    module.__class__ = FeedbackLinear if isinstance(module, nn.Linear) else FeedbackConv2d


def use_sign_feedback(module: nn.Linear | nn.Conv2d) -> None:
    """Change a module's class in place to one whose feedback weights are the signs of its weights.

    They are scaled by the root mean square of the weights, so that errors keep their magnitude.
    """
    module.__class__ = _SignLinear if isinstance(module, nn.Linear) else _SignConv2d


class FeedbackLinear(nn.Linear):
    """A linear layer whose input gradient is computed with ``feedback`` instead of ``weight``."""

    feedback: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of :class:`torch.nn.Linear`."""
        return _with_input_gradient(
            x, super().forward(x.detach()), lambda gradient: gradient @ self.feedback.to(gradient.dtype)
        )


class FeedbackConv2d(nn.Conv2d):
    """A convolution whose input gradient is computed with ``feedback`` instead of ``weight``."""

    feedback: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of :class:`torch.nn.Conv2d`."""
        padding: Any = self.padding
        if self.padding_mode != "zeros" or isinstance(padding, str):
            mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
            x = F.pad(x, self._reversed_padding_repeated_twice, mode=mode)
            padding = 0
        options = (self.stride, padding, self.dilation, self.groups)

        def input_gradient(gradient: Tensor) -> Tensor:
            result: Tensor = conv2d_input(x.shape, self.feedback.to(gradient.dtype), gradient, *options)
            return result

        return _with_input_gradient(x, F.conv2d(x.detach(), self.weight, self.bias, *options), input_gradient)


class _SignLinear(FeedbackLinear):
    @property
    def feedback(self) -> Tensor:  # type: ignore[override]
        return _signs(self.weight)


class _SignConv2d(FeedbackConv2d):
    @property
    def feedback(self) -> Tensor:  # type: ignore[override]
        return _signs(self.weight)


def _signs(weight: Tensor) -> Tensor:
    detached = weight.detach()
    return detached.sign() * detached.square().mean().sqrt()


class _InputGradient(torch.autograd.Function):
    """Return ``output``; its gradient is passed to ``output`` unchanged, and to ``x`` through ``input_gradient``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, output: Tensor, input_gradient: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.input_gradient, ctx.dtype = input_gradient, x.dtype
        ctx.mark_dirty(output)  # returned as it is: later in-place operations could not modify a view
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, None]:
        of_input = ctx.input_gradient(gradient).to(ctx.dtype) if ctx.needs_input_grad[0] else None
        return of_input, gradient, None


def _with_input_gradient(x: Tensor, output: Tensor, input_gradient: Callable[[Tensor], Tensor]) -> Tensor:
    """Return a module's output with another gradient of its input.

    Args:
        x: The input.
        output: The output, computed from ``x.detach()``.
        input_gradient: Function from the output's gradient to the input's gradient.
    """
    result: Tensor = _InputGradient.apply(x, output, input_gradient)  # type: ignore[no-untyped-call, unused-ignore]
    return result
