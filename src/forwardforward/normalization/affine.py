"""Normalizations written as affine maps, so that a first layer can share its product among an image's labels."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from forwardforward.batches import LabelledInput

#: Torch's own default for what is added to a variance.
EPS = 1e-5


class Affine(NamedTuple):
    r"""A normalization written as :math:`\hat v = r \, (v \odot c + d) + s`, with ``None`` for "no effect".

    Attributes:
        row_scale: :math:`r`, ``(copies, batch, 1)``.
        row_shift: :math:`s`, ``(copies, batch, 1)``.
        column_scale: :math:`c`, ``(features,)``.
        column_shift: :math:`d`, ``(features,)``.
    """

    row_scale: Tensor | None = None
    row_shift: Tensor | None = None
    column_scale: Tensor | None = None
    column_shift: Tensor | None = None


class Identity(nn.Identity):
    """No normalization."""

    def as_affine(self, x: LabelledInput) -> Affine:
        """Return an affine map without effect."""
        return Affine()
