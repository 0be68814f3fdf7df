"""Fewer products for a layer whose first operations are linear: shared by labels, or none for a learned scale."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn

from forwardforward._utils.annotations import describe
from forwardforward.batches import LabeledInput
from forwardforward.layers.layer import FFLayer
from forwardforward.normalization import Affine, Normalization

__all__ = ["LinearBlockLayer", "add_to_all"]

#: Largest number of rows that are added one by one.
FEW_ROWS = 4


class LinearBlockLayer(FFLayer):
    """A layer whose block is linear, so that an affine normalization before it can be applied to its weights.

    A labeled input is not joined. Positive, negative and candidate inputs of an image share the image, so the product
    with it is computed once: :math:`W [x, y] = W_x x + W_y y`. Of a pair objective's four products per weight (two
    forward, two in the gradient) the first layer saves nearly two; of classification over K labels, K - 1 of K.

    In training, the learned scale of plain rows' normalization multiplies the weights. Its gradient then follows from
    theirs; otherwise it takes one more product, the gradient of the block's input.
    """

    #: Whether the block can be split into a part for the images and one for the codes.
    splits: bool = True

    def split_forward(self, x: LabeledInput, affine: Affine) -> Tensor:
        """Return ``block(affine([image, code]))`` with one product for all codes of an image.

        Args:
            x: Images and their codes.
            affine: The normalization, written as an affine map.

        Returns:
            ``(copies * batch, ...)``.
        """
        raise NotImplementedError

    def affine_forward(self, x: Tensor, affine: Affine) -> Tensor:
        """Return ``block(affine(x))`` with the scales of columns applied to the weights.

        Args:
            x: Plain rows, ``(batch, ...)``.
            affine: Scales and shifts of columns.

        Returns:
            ``(batch, ...)``.
        """
        raise NotImplementedError

    def _start(self, x: Tensor, operations: tuple[str, ...]) -> tuple[Tensor, tuple[str, ...]]:
        """Apply a learned scale and shift to the weights in training."""
        learns = self.training and torch.is_grad_enabled() and not x.requires_grad
        if learns and self.splits and operations[:2] == ("normalize", "transform"):
            normalization = self.normalization
            if isinstance(normalization, Normalization) and not (_has_hooks(normalization) or _has_hooks(self.block)):
                split = normalization.split_affine(x)
                if split is not None:
                    return self.affine_forward(*split), operations[2:]
        return x, operations

    def _join(self, x: LabeledInput, operations: tuple[str, ...]) -> tuple[Tensor, tuple[str, ...]]:
        if self.splits and operations[:1] == ("transform",):
            return self.split_forward(x, Affine()), operations[1:]
        if self.splits and operations[:2] == ("normalize", "transform"):
            affine: Affine | None = Affine() if self.normalization is None else None
            if isinstance(self.normalization, Normalization):
                affine = self.normalization.as_affine(x)
                if affine is not None and not isinstance(affine, Affine):
                    raise TypeError(
                        f"as_affine must return an Affine or None, got {describe(affine)} "
                        f"from {describe(self.normalization)}"
                    )
            if affine is not None:
                return self.split_forward(x, affine), operations[2:]
        return super()._join(x, operations)


def _has_hooks(module: nn.Module) -> bool:
    """Return whether a call of a module runs functions of users."""
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return any(hooks)


class _AddToAll(torch.autograd.Function):
    """The sum of each row and one row, with a faster sum over rows as its gradient."""

    generate_vmap_rule = True

    @staticmethod
    def forward(rows: Tensor, one: Tensor) -> Tensor:
        return rows + one

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        [grad] = grads
        if len(grad) <= FEW_ROWS:
            return grad, functools.reduce(torch.add, grad.unbind())[None]
        return grad, (grad.new_ones(1, len(grad)) @ grad.flatten(1)).view(1, *grad.shape[1:])


def add_to_all(rows: Tensor, one: Tensor) -> Tensor:
    """Return the sum of each row and one row of the same dtype.

    The gradient of the one row is a sum over rows. In bfloat16 on CPUs, torch's own sum takes up to eight times as long
    as that of two rows, or as the product with ones by which many rows are summed here.

    Args:
        rows: ``(rows, ...)``; their gradient should be contiguous.
        one: One row, ``(1, ...)``; dimensions of size 1 of the rows are expanded to its.
    """
    if torch.compiler.is_compiling() or rows.shape[1:] != one.shape[1:]:
        return rows + one
    total: Tensor = _AddToAll.apply(rows, one)
    return total
