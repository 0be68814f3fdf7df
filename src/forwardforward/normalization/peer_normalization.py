"""Peer normalization: a term of the loss, not a normalization of a layer's input."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from forwardforward._utils.checks import check_not_negative


class PeerNormalization(nn.Module):
    r"""Hinton's peer normalization: hidden units share the activity.

    Running means :math:`m_j \leftarrow 0.9 m_j + 0.1 \, \overline{h_j}` of the positive samples' activations,
    which start at 0.5, pull each unit towards the mean over the layer: Hinton's program adds :math:`\lambda
    (\bar m - m_j)` to the ascent direction with respect to the pre-activation :math:`z_j`, for positive
    samples and not gated by the ReLU, so that dead units revive. Written as a term of the loss,

    .. math:: 2 \lambda \sum_j (m_j - \bar m) \, \overline{z_j}

    with the gradient stopped through the means. The factor 2 belongs to the squares: the program follows
    :math:`(1 - p) h` where the gradient of the threshold loss over a sum of squares is :math:`2 (1 - p) h`,
    so ``strength=0.03`` weighs as in the program.

    Args:
        strength: :math:`\lambda`, at least 0.
        decay: Weight of the old running mean.
        features: Number of units (channels); taken from the layer where that knows its width.

    Raises:
        ValueError: If an argument is out of range or the layer's width is unknown.

    Source: Hinton (2022), arXiv 2212.13345, and its Matlab program.
    """

    means: Tensor

    def __init__(self, strength: float = 0.03, decay: float = 0.9, features: int | None = None) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be in [0, 1), got {decay}")
        self.strength = check_not_negative("strength", strength)
        self.decay = decay
        self.features = features
        if features is not None:
            self.bind(features)

    def bind(self, features: int | None) -> None:
        """Shape the running means for a layer of ``features`` units; called by the layer."""
        if features is None:
            raise ValueError("features must be given, PeerNormalization(features=...), for a block of unknown width")
        self.features = features
        self.register_buffer("means", torch.full((features,), 0.5))

    def forward(self, pre_activations: Tensor, activations: Tensor) -> Tensor:
        """Update the running means, in training, and return the term to add to the loss.

        Args:
            pre_activations: Of the positive samples, ``(batch, features, ...)``.
            activations: Of the positive samples, of the same shape.

        Returns:
            A scalar whose gradient reaches ``pre_activations`` alone.
        """
        rest = [d for d in range(activations.dim()) if d != 1]
        with torch.no_grad():
            now = activations.mean(rest, dtype=self.means.dtype)
            if self.training:
                self.means.lerp_(now, 1 - self.decay)
            pull = 2 * self.strength * (self.means - self.means.mean())
        return (pre_activations.mean(rest, dtype=self.means.dtype) * pull).sum()

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"strength={self.strength}, decay={self.decay}, features={self.features}"
