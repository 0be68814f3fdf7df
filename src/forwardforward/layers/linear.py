"""Dense layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from forwardforward._utils.checks import check_whole
from forwardforward.batches import LabelledInput
from forwardforward.layers.shared import SharedInput
from forwardforward.normalization import Affine

__all__ = ["FFLinear"]


class FFLinear(SharedInput):
    r"""A dense layer, ``activation(W normalize(x) + b)``, with a local objective.

    Inputs of more than two dimensions are flattened. A labelled input is never joined where the normalization
    is affine (all of ours but ``GroupNorm``): the product with the images is shared by all their labels,
    :math:`W [x, y] = W_x x + W_y y`.

    Args:
        in_features: Number of inputs, label code included.
        out_features: Number of units.
        activation: A ReLU unless given.
        bias: Whether there is a bias, which starts at 0; the weights start as :math:`N(0, 1/in\_features)`.
        **plugins: Those of :class:`FFLayer`.

    Raises:
        ValueError: If a size is not positive or, on forward, the input has another number of features.
    """

    block: nn.Linear

    def __init__(
        self,
        in_features: int,
        out_features: int,
        activation: nn.Module | None = None,
        bias: bool = True,
        **plugins: Any,
    ) -> None:
        check_whole("in_features", in_features, 1)
        check_whole("out_features", out_features, 1)
        super().__init__(
            nn.Linear(in_features, out_features, bias=bias),
            activation=nn.ReLU() if activation is None else activation,
            in_features=in_features,
            features=out_features,
            **plugins,
        )
        nn.init.normal_(self.block.weight, std=in_features**-0.5)
        if bias:
            nn.init.zeros_(self.block.bias)

    def pre_activations(self, x: Tensor | LabelledInput) -> Tensor:
        """Return ``W normalize(x) + b``, ``(rows, out_features)``."""
        shared = isinstance(x, LabelledInput)
        features = x.images[0, 0].numel() * x.features if isinstance(x, LabelledInput) else x[0].numel()
        if features != self.block.in_features:
            raise ValueError(
                f"in_features must be the input's number of features, got {self.block.in_features} for "
                f"inputs of {features}" + (" (label code included)" if shared else "")
            )
        if isinstance(x, LabelledInput) and x.images.dim() > 2:
            x = x.joined()
        return super().pre_activations(x if isinstance(x, LabelledInput) else x.flatten(1))

    def split_forward(self, x: LabelledInput, affine: Affine) -> Tensor:
        """Return ``W affine([image, code]) + b`` with one product for all codes of an image.

        Args:
            x: Images and their codes.
            affine: The normalization, written as an affine map.

        Returns:
            ``(copies * batch, out_features)``.
        """
        weight, bias = self.block.weight, self.block.bias
        scaled = weight if affine.column_scale is None else weight * affine.column_scale
        width = x.images.shape[1]
        z = F.linear(x.images, scaled if width == x.features else scaled[:, :width])
        code = F.linear(x.codes.to(z.dtype), scaled[:, x.columns])
        if affine.column_shift is not None:
            code = code + F.linear(affine.column_shift.to(weight.dtype), weight)
        if affine.row_scale is None and bias is not None:
            code = code + bias.to(code.dtype)  # a row of the code's part is a row less to add to than one of the whole
        z = z + code
        if affine.row_scale is not None:
            row_scale = affine.row_scale.to(z.dtype)
            z = z * row_scale if bias is None else torch.addcmul(bias.to(z.dtype), row_scale, z)
        if affine.row_shift is not None:
            z = z + affine.row_shift.to(z.dtype) * weight.sum(1).to(z.dtype)
        return z.flatten(0, 1)
