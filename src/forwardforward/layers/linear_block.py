"""Layers whose block is linear: one product for all labels of an image, and learned scales applied to the weights."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from forwardforward._utils.annotations import describe
from forwardforward._utils.calls import has_stand_in, runs_only
from forwardforward.batches import LabeledInput
from forwardforward.layers.layer import FFLayer
from forwardforward.normalization import Affine, Normalization

__all__ = ["LinearBlockLayer", "add_to_all", "scaled_weight"]

#: Largest number of rows that are added one by one.
FEW_ROWS = 4


class LinearBlockLayer(FFLayer):
    """A layer whose block is linear, so that an affine normalization before it can be applied to its weights.

    A labeled input is not joined. Positive, negative and candidate inputs of an image share the image, so the product
    with it is computed once: :math:`W [x, y] = W_x x + W_y y`. Of a pair objective's four products per weight (two
    forward, two in the gradient) the first layer saves nearly two; of classification over K labels, K - 1 of K.

    In training on inputs without labels, the weights are multiplied by the learned scale of the normalization. Its
    gradient then follows from theirs; otherwise it takes one more product, the gradient of the block's input.

    A block or a normalization with another ``forward`` or with hooks is called as it is.
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
        if learns and self._is_linear() and operations[:2] == ("normalize", "transform"):
            normalization = self.normalization
            if isinstance(normalization, Normalization) and has_stand_in(normalization, "split_affine"):
                split = normalization.split_affine(x)
                if split is not None:
                    return self.affine_forward(*_checked_split(split, normalization)), operations[2:]
        return x, operations

    def _is_linear(self) -> bool:
        """Return whether the block is applied by its weights alone, and can be divided."""
        return self.splits and runs_only(self.block, nn.Linear.forward, nn.Conv2d.forward)

    def _join(self, x: LabeledInput, operations: tuple[str, ...]) -> tuple[Tensor, tuple[str, ...]]:
        is_linear = self._is_linear()
        if is_linear and operations[:1] == ("transform",):
            return self.split_forward(x, Affine()), operations[1:]
        if is_linear and operations[:2] == ("normalize", "transform"):
            affine: Affine | None = Affine() if self.normalization is None else None
            if isinstance(self.normalization, Normalization) and has_stand_in(self.normalization, "as_affine"):
                affine = self.normalization.as_affine(x)
                if affine is not None and not isinstance(affine, Affine):
                    raise TypeError(
                        f"as_affine must return an Affine or None, got {describe(affine)} "
                        f"from {describe(self.normalization)}"
                    )
            if affine is not None:
                return self.split_forward(x, affine), operations[2:]
        return super()._join(x, operations)


def _checked_split(split: object, normalization: Normalization) -> tuple[Tensor, Affine]:
    """Return what ``split_affine`` returned.

    Raises:
        TypeError: If it is something else.
        ValueError: If it scales or shifts rows.
    """
    if not (
        isinstance(split, tuple) and len(split) == 2 and isinstance(split[0], Tensor) and isinstance(split[1], Affine)
    ):
        raise TypeError(
            f"split_affine must return a tensor and an Affine, or None, got {describe(split)} "
            f"from {describe(normalization)}"
        )
    x, affine = split
    if affine.row_scale is not None or affine.row_shift is not None:
        raise ValueError(
            "split_affine must return an Affine of columns, got scales or shifts of rows "
            f"from {describe(normalization)}"
        )
    return x, affine


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
        if 0 < len(grad) <= FEW_ROWS:
            return grad, functools.reduce(torch.add, grad.unbind())[None]
        return grad, (grad.new_ones(1, len(grad)) @ grad.flatten(1)).view(1, *grad.shape[1:])

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        rows, one = tangents
        return rows + one


def scaled_weight(weight: Tensor, affine: Affine) -> Tensor:
    """Return weights with the scales of their input's columns, or channels, applied to them.

    Args:
        weight: ``(out, in, ...)``.
        affine: The scales.
    """
    if affine.column_scale is None:
        return weight
    return (weight * affine.column_scale.view(1, -1, *[1] * (weight.dim() - 2))).to(weight.dtype)


def add_to_all(rows: Tensor, one: Tensor) -> Tensor:
    """Return the sum of each row and one row of the same dtype.

    The gradient of the one row is a sum over rows. In bfloat16 on CPUs, torch's own sum takes up to eight times as long
    as that of two rows, or as the product with ones by which many rows are summed here.

    Args:
        rows: ``(rows, ...)``; their gradient should be contiguous.
        one: One row, ``(1, ...)``; dimensions of size 1 of the rows are expanded to its.
    """
    if torch.compiler.is_compiling() or rows.device.type != "cpu" or rows.shape[1:] != one.shape[1:]:
        return rows + one
    return _apply(rows, one)


_apply: Callable[[Tensor, Tensor], Tensor] = _AddToAll.apply
