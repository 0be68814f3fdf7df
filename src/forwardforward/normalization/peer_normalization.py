"""Peer normalization: a term of the loss, not a normalization of a layer's input."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from forwardforward._utils.arguments import NonNegativeFloat, Probability, checked
from forwardforward._utils.shared_batch import mean_of_parts
from forwardforward.specs import LayerSpec


@checked
class PeerNormalization(nn.Module):
    r"""Hinton's peer normalization, which equalizes the mean activity of the units.

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

    Raises:
        ValueError: If an argument is out of range.

    Source: Hinton (2022), arXiv 2212.13345, and its Matlab program.

    Example:
        >>> peer = PeerNormalization()
        >>> peer(torch.ones(2, 3), torch.ones(2, 3))  # equally active units
        tensor(0.)
    """

    means: Tensor | None

    def __init__(self, strength: NonNegativeFloat = 0.03, decay: Probability = 0.9) -> None:
        super().__init__()
        self.strength = strength
        self.decay = decay
        self.register_buffer("means", None)

    def setup(self, spec: LayerSpec) -> None:
        """Create the running means.

        Args:
            spec: Shape of the activations.
        """
        if self.means is None or len(self.means) != spec.features:
            self.means = torch.full((spec.features,), 0.5)

    def forward(self, pre_activations: Tensor, activations: Tensor) -> Tensor:
        """Update the running means, in training, and return the term to add to the loss.

        Args:
            pre_activations: Of the positive samples, ``(batch, features, ...)``.
            activations: Of the positive samples, of the same shape.

        Returns:
            A scalar whose gradient reaches ``pre_activations`` only.
        """
        if self.means is None:  # used alone
            self.setup(LayerSpec.of(activations))
            self.to(activations.device)
        assert self.means is not None
        rest = [d for d in range(activations.dim()) if d != 1]
        with torch.no_grad():
            batch_means = mean_of_parts(activations.mean(rest, dtype=self.means.dtype))
            if self.training:
                # lerp_ has no batching rule for torch.vmap
                self.means.add_((batch_means - self.means) * (1 - self.decay))
            pull = 2 * self.strength * (self.means - self.means.mean())
        return (pre_activations.mean(rest, dtype=self.means.dtype) * pull).sum()

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        return f"strength={self.strength}, decay={self.decay}"
