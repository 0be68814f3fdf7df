"""Augmentation that mixes images of a batch, and their targets with them.

A mixing augmentation is called as ``augment.mix(images, targets, generator)`` with floating-point targets, such as
one-hot rows, which :func:`~forwardforward.fit` makes of class indices.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated

import torch
from torch import Tensor

from forwardforward._utils.arguments import Range, checked
from forwardforward.data.augmentation import Augmentation

__all__ = ["CutMix", "Mixup"]

#: A parameter of the beta distribution; beyond the limit, all shares are equal to the rounding of float32.
Alpha = Annotated[float, Range(1e-6, 1e6)]


class _Mixing(Augmentation):
    """Base of the augmentations that mix each image with another one of the batch."""

    mixes_targets = True

    def __init__(self, alpha: Alpha) -> None:
        self.alpha = alpha

    def augment(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        """Refuse images without targets, which would then be wrong."""
        raise TypeError(f"{self!r} mixes targets too: call mix(images, targets, generator)")

    def _mix(self, images: Tensor, targets: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        if not images.numel():
            return images, targets
        partner = torch.randperm(len(images), generator=generator, device=images.device)
        share = _beta(len(images), self.alpha, images.device, generator)
        mixed, share = self._mixed(images, images[partner], share, generator)
        share = share.to(targets.dtype).view(-1, *[1] * (targets.dim() - 1))
        return mixed, share * targets + (1 - share) * targets[partner]

    @abstractmethod
    def _mixed(
        self, images: Tensor, others: Tensor, share: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Return the mixed images, and the share of the first image in each, ``(batch,)``."""
        raise NotImplementedError


@checked
class Mixup(_Mixing):
    r"""Means of two images and of their targets, with a random share of each.

    .. math:: x' = \lambda x + (1 - \lambda) \tilde x, \qquad y' = \lambda y + (1 - \lambda) \tilde y,
              \qquad \lambda \sim \mathrm{Beta}(\alpha, \alpha)

    with another image :math:`\tilde x` of the batch, by a random permutation, and one :math:`\lambda` per image. Class
    indices become probabilities, which the losses of class objectives accept; several labels per sample and real values
    are mixed as they are. Pair objectives refuse it: a mixture of classes has no wrong label.

    Args:
        alpha: :math:`\alpha`; the larger, the nearer to equal shares.

    Raises:
        ValueError: If ``alpha`` is not in [1e-6, 1e6].

    Source: Zhang et al., mixup: Beyond Empirical Risk Minimization (2018), arXiv 1710.09412.

    Example:
        >>> images, targets = Mixup(0.4).mix(torch.rand(8, 1, 4, 4), torch.eye(8))
        >>> bool(torch.allclose(targets.sum(1), torch.ones(8)))
        True
    """

    def __init__(self, alpha: Alpha = 0.2) -> None:
        super().__init__(alpha)

    def _mixed(
        self, images: Tensor, others: Tensor, share: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        weight = share.to(images.dtype).view(-1, *[1] * (images.dim() - 1))
        return weight * images + (1 - weight) * others, share


@checked
class CutMix(_Mixing):
    r"""A rectangle of each image is replaced by that of another image, and the targets are mixed by its area.

    The rectangle has the image's proportions, the share :math:`1 - \lambda` of its area and a uniform center, with
    :math:`\lambda \sim \mathrm{Beta}(\alpha, \alpha)`. What extends over the border is cut off, and the targets are
    mixed by the area that remains. For classes, labels and values as of :class:`Mixup`.

    Args:
        alpha: :math:`\alpha`; 1 for areas with a uniform distribution.

    Raises:
        ValueError: If ``alpha`` is not in [1e-6, 1e6].

    Source: Yun et al., CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features (2019),
    arXiv 1905.04899.

    Example:
        >>> images, targets = CutMix().mix(torch.rand(8, 1, 4, 4), torch.eye(8))
        >>> bool(torch.allclose(targets.sum(1), torch.ones(8)))
        True
    """

    def __init__(self, alpha: Alpha = 1.0) -> None:
        super().__init__(alpha)

    def _mixed(
        self, images: Tensor, others: Tensor, share: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        if images.dim() != 4:
            raise ValueError(f"images must have shape (batch, channels, height, width), got {tuple(images.shape)}")
        center = torch.rand(len(images), 2, generator=generator, device=images.device, dtype=torch.float32)
        side = (1 - share).sqrt()
        rows, columns = (self._covered(center[:, i], side, size) for i, size in enumerate(images.shape[2:]))
        inside = rows[:, :, None] & columns[:, None]
        remaining = 1 - inside.flatten(1).float().mean(1)
        return torch.where(inside[:, None], others, images), remaining

    @staticmethod
    def _covered(center: Tensor, side: Tensor, size: int) -> Tensor:
        """Return which of ``size`` rows or columns the rectangles cover, ``(batch, size)``."""
        middle, length = (center * size).floor(), (side * size).round()
        first = middle - (length / 2).floor()
        position = torch.arange(size, device=center.device)
        return (position >= first[:, None]) & (position < (first + length)[:, None])


def _beta(count: int, alpha: float, device: torch.device, generator: torch.Generator | None) -> Tensor:
    r"""Sample from Beta(alpha, alpha), ``(count,)``.

    Torch's public Beta distribution draws from the global generator only. A share is :math:`G_1 / (G_1 + G_2)` of two
    gamma variables, computed from their logarithms :math:`\log G = \log G' + \log(U) / \alpha` with :math:`G'` of
    parameter :math:`\alpha + 1`, since :math:`G` itself is rounded to 0 for a small parameter.
    """
    gamma = torch._standard_gamma(torch.full((2, count), alpha + 1, device=device), generator)
    uniform = 1 - torch.rand(2, count, generator=generator, device=device)  # not 0
    first, second = gamma.log() + uniform.log() / alpha
    share: Tensor = (first - second).sigmoid()
    return share
