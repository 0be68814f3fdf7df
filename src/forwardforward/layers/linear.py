"""Dense layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from forwardforward._utils.arguments import PositiveInt, checked
from forwardforward._utils.calls import has_stand_in
from forwardforward._utils.memory import check_memory
from forwardforward.batches import LabeledInput
from forwardforward.layers.block import block_of
from forwardforward.layers.initialization import Init, he_uniform
from forwardforward.layers.linear_block import LinearBlockLayer, add_to_all, scaled_weight
from forwardforward.normalization import Affine, Normalization

__all__ = ["FFLinear"]

#: Images are padded to the joined input's width if the code adds at most 1 / PADDED_SHARE of their width.
PADDED_SHARE = 8


@checked
class FFLinear(LinearBlockLayer):
    r"""A dense layer, ``activation(W normalize(x) + b)``, with a local objective.

    Inputs of more than two dimensions are flattened. If the normalization is affine (all of the library's but
    ``GroupNorm``), a labeled input is not joined: the product with the images is shared by all their labels, :math:`W
    [x, y] = W_x x + W_y y`.

    Args:
        in_features: Number of inputs, with the label's.
        out_features: Number of units.
        activation: Default: ReLU.
        bias: Whether there is a bias, which starts at 0.
        init: Initial weights, for :math:`n` inputs: ``"default"``, :math:`N(0, 1/n)`, or ``"he_uniform"``, He et al.'s
            :math:`U(-\sqrt{6 / n}, \sqrt{6 / n})`.
        **plugins: Those of :class:`FFLayer`.

    Raises:
        ValueError: If a size is not positive or, on forward, the input has another number of features.

    Example:
        >>> import forwardforward as ff
        >>> layer = FFLinear(64, 32, goodness=ff.goodness.MeanOfSquares(), loss=ff.losses.SymBa())
        >>> positive, negative = torch.rand(5, 64), torch.rand(5, 64)
        >>> x = torch.cat([positive, negative])
        >>> output, local = layer.local_loss(x, ff.Batch(x, has_negatives=True))
        >>> local.loss.backward()
    """

    block: nn.Linear

    def __init__(
        self,
        in_features: PositiveInt,
        out_features: PositiveInt,
        activation: Callable[[Tensor], Tensor] | None = None,
        bias: bool = True,
        init: Init = "default",
        **plugins: Any,
    ) -> None:
        check_memory("in_features and out_features", out_features, in_features)
        super().__init__(
            nn.Linear(in_features, out_features, bias=bias),
            activation=nn.ReLU() if activation is None else activation,
            **{"input_shape": (in_features,), **plugins},
        )
        if init == "he_uniform":
            he_uniform(self.block)
            return
        nn.init.normal_(self.block.weight, std=in_features**-0.5)
        if bias:
            nn.init.zeros_(self.block.bias)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, without the initial weights."""
        block = block_of(self, nn.Linear)
        sizes = {"in_features": block.in_features, "out_features": block.out_features, "bias": block.bias is not None}
        return {**sizes, "activation": self.activation, **self._plugins()}

    def check_input(self, x: Tensor | LabeledInput) -> Tensor | LabeledInput:
        """Check the number of features, and return rows.

        Args:
            x: Plain rows or a labeled input.
        """
        features = math.prod(x.shape[1:])
        if features != self.block.in_features:
            raise ValueError(
                f"in_features must be the input's number of features, got {self.block.in_features} for "
                f"inputs of {features}" + (" (with the label)" if isinstance(x, LabeledInput) else "")
            )
        if isinstance(x, LabeledInput):
            return x.joined().flatten(1) if x.images.dim() > 2 else x
        return x.flatten(1)

    def _start(self, x: Tensor, operations: tuple[str, ...]) -> tuple[Tensor, tuple[str, ...]]:
        """Apply the normalization to the weights in training, or rows' scales to the product where that is compiled.

        The compiler fuses these scales with what follows: the scaled rows, one per label in classification, are never
        written to memory.
        """
        if self.training:
            return super()._start(x, operations)
        if not torch.compiler.is_compiling() or operations[:2] != ("normalize", "transform"):
            return x, operations
        normalization = self.normalization
        if not (isinstance(normalization, Normalization) and has_stand_in(normalization, "row_scale")):
            return x, operations
        scale = normalization.row_scale(x) if self._is_linear() else None
        if scale is None:
            return x, operations
        z = F.linear(x, self.block.weight)
        z = z * scale.to(z.dtype)
        return (z if self.block.bias is None else z + self.block.bias.to(z.dtype)), operations[2:]

    def affine_forward(self, x: Tensor, affine: Affine) -> Tensor:
        """Return ``W affine(x) + b`` with the scales of columns applied to the weights.

        Args:
            x: Plain rows, ``(batch, in_features)``.
            affine: Scales and shifts of columns.

        Returns:
            ``(batch, out_features)``.
        """
        weight, bias = self.block.weight, self.block.bias
        scaled = scaled_weight(weight, affine)
        if affine.column_shift is not None:
            return F.linear(x, scaled, F.linear(affine.column_shift.to(weight.dtype), weight, bias))
        return F.linear(x, scaled, bias)

    def split_forward(self, x: LabeledInput, affine: Affine) -> Tensor:
        """Return ``W affine([image, code]) + b`` with one product for all codes of an image.

        Args:
            x: Images and their codes.
            affine: The normalization, written as an affine map.

        Returns:
            ``(copies * batch, out_features)``.
        """
        weight, bias = self.block.weight, self.block.bias
        scaled = scaled_weight(weight, affine)
        missing = x.features - x.images.shape[1]
        if missing <= x.images.shape[1] // PADDED_SHARE:
            # the gradient of a part of the weights would be copied into zeros of the size of all weights
            z = F.linear(F.pad(x.images, (0, missing)) if missing else x.images, scaled)
        else:
            z = F.linear(x.images, scaled[:, :-missing])
        code = F.linear(x.codes.to(z.dtype), scaled[:, x.columns])
        if affine.column_shift is not None:
            code = code + F.linear(affine.column_shift.to(weight.dtype), weight)
        if affine.row_scale is None and bias is not None:
            code = code + bias.to(code.dtype)  # the code's part has fewer rows than the sum
        z = add_to_all(code.to(z.dtype), z[None])
        if affine.row_scale is not None:
            row_scale = affine.row_scale.to(z.dtype)
            z = z * row_scale if bias is None else torch.addcmul(bias.to(z.dtype), row_scale, z)
        if affine.row_shift is not None:
            z = z + affine.row_shift.to(z.dtype) * weight.sum(1).to(z.dtype)
        return z.flatten(0, 1)
