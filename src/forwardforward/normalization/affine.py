"""Base of the normalizations, and their form as affine maps."""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

from torch import Tensor, nn

from forwardforward.batches import LabeledInput
from forwardforward.specs import Plugin

#: Torch's default for the number added to a variance.
EPS = 1e-5


class Affine(NamedTuple):
    r"""A normalization as an affine map, :math:`\hat v = r \, (v \odot c + d) + s`; None means no effect.

    Attributes:
        row_scale: :math:`r`, ``(copies, batch, 1)``.
        row_shift: :math:`s`, ``(copies, batch, 1)``.
        column_scale: :math:`c`, ``(features,)``.
        column_shift: :math:`d`, ``(features,)``.

    Example:
        >>> import torch, forwardforward as ff
        >>> labeled = ff.label_encoders.Concatenation(2).neutral(torch.ones(4, 3))
        >>> ff.normalization.RMSNorm().as_affine(labeled).row_scale.shape
        torch.Size([1, 4, 1])
    """

    row_scale: Tensor | None = None
    row_shift: Tensor | None = None
    column_scale: Tensor | None = None
    column_shift: Tensor | None = None


class Normalization(Plugin, nn.Module):
    """Base of the normalizations, from ``(batch, ...)`` to the same shape.

    Any module of this form serves as a normalization. One that derives from this class may implement :meth:`as_affine`,
    so that a linear first layer multiplies its weights with each image once for all the image's labels, and
    :meth:`split_affine` if it learns a scale. They are not used if a subclass overrides ``forward`` without them.

    Example:
        >>> import torch
        >>> class Halved(Normalization):
        ...     def forward(self, x):
        ...         return x / 2
        >>> Halved()(torch.ones(1, 2))
        tensor([[0.5000, 0.5000]])
    """

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` normalized, of the same shape."""
        raise NotImplementedError

    def as_affine(self, x: LabeledInput) -> Affine | None:
        """Return the affine map that this normalization applies to a labeled input; None if it is not affine.

        Args:
            x: Images and their label codes.
        """
        return None

    def split_affine(self, x: Tensor) -> tuple[Tensor, Affine] | None:
        """Return plain rows normalized without the learned scale and shift, and these; None if there are none.

        Linear layers call it in training instead of ``forward`` where their input needs no gradient, and apply the
        scale to their weights: the gradient of the scale follows from theirs, so that no product is computed for the
        gradient of the normalized rows.

        Args:
            x: Plain rows, ``(batch, ...)``.

        Returns:
            The rows, of the same shape, and an :class:`Affine` with a scale and a shift of columns only.
        """
        return None

    def row_scale(self, x: Tensor) -> Tensor | None:
        """Return the factors ``(batch, 1)`` if this normalization only scales rows, None if it does more.

        Args:
            x: Plain rows, ``(batch, features)``.
        """
        return None


class Identity(Normalization):
    """No normalization.

    Example:
        >>> import torch
        >>> Identity()(torch.ones(1, 2))
        tensor([[1., 1.]])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x``."""
        return x

    def as_affine(self, x: LabeledInput) -> Affine:
        """Return an affine map without effect."""
        return Affine()
