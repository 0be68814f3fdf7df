"""Test-time averaging: views of an image whose scores are averaged in classification.

A network with ``views`` classifies by the mean of the goodness (or logits) of several views of each image, such as the
image and its mirror image. Training does not use them. Any callable from raw images ``(batch, ...)`` to a list of
batches of the same shape can be used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from forwardforward._utils.annotations import describe
from forwardforward._utils.arguments import NonNegativeInt, checked
from forwardforward._utils.plugins import calling

__all__ = ["Mirror", "Views", "mean_over_views"]

#: ``images -> views``, each of the images' shape.
Views = Callable[[Tensor], Sequence[Tensor]]


@checked
class Mirror:
    r"""Each image and its mirror image, optionally also moved by some pixels.

    With ``shift`` :math:`s`, the image and its mirror image are also moved by :math:`(-s, -s)` and :math:`(s, s)`
    pixels, with reflection at the border: six views instead of two, and three times the time.

    Args:
        shift: Number of pixels; 0 for no moved views.

    Raises:
        ValueError: If ``shift`` is negative or, when called, the images have no two dimensions or are too small.

    Source: the multi-crop evaluation of Jordan (2024), 94% on CIFAR-10 in 3.29 seconds on a single GPU, arXiv
    2404.00498, with equal weights.

    Example:
        >>> [view.tolist() for view in Mirror()(torch.tensor([[[[1, 2]]]]))]
        [[[[[1, 2]]]], [[[[2, 1]]]]]
        >>> len(Mirror(shift=1)(torch.rand(5, 3, 8, 8)))
        6
    """

    def __init__(self, shift: NonNegativeInt = 0) -> None:
        self.shift = shift

    @checked
    def __call__(self, images: Tensor) -> list[Tensor]:
        """Return the views.

        Args:
            images: ``(batch, channels, height, width)``.
        """
        if images.dim() != 4:
            raise ValueError(f"images must be (batch, channels, height, width) for views, got {tuple(images.shape)}")
        moved = [images] if self.shift == 0 else [images, *(_moved(images, s) for s in (-self.shift, self.shift))]
        return [view for image in moved for view in (image, image.flip(3))]

    def __repr__(self) -> str:
        """Return the constructor call."""
        return f"Mirror(shift={self.shift})" if self.shift else "Mirror()"


def _moved(images: Tensor, shift: int) -> Tensor:
    """Return images moved along both axes, with reflection at the border."""
    for dim in (2, 3):
        size = images.shape[dim]
        if abs(shift) >= size:
            raise ValueError(f"shift must be below the images' height and width, {size}, got {abs(shift)}")
        places = (torch.arange(size, device=images.device) - shift).abs()
        places = (size - 1) - (size - 1 - places).abs()
        images = images.index_select(dim, places)
    return images


@checked
def mean_over_views(views: Views | None, images: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the mean of a function's results over the views of images.

    Args:
        views: The views; None for the images alone.
        images: Raw images, ``(batch, ...)``.
        function: From images to a tensor.

    Raises:
        TypeError: If ``views`` does not return a list of batches of the images' shape, or ``function`` no tensor.

    Example:
        >>> mean_over_views(Mirror(), torch.tensor([[[[1.0, 2.0]]]]), lambda images: images[:, 0, 0])
        tensor([[1.5000, 1.5000]])
    """
    if views is None:
        return _result(function, images)
    with calling("views", views, "images -> list of images"):
        batches = views(images)
    valid = isinstance(batches, list | tuple) and len(batches) > 0
    if not valid or any(not isinstance(view, Tensor) or view.shape != images.shape for view in batches):
        raise TypeError(
            f"views must return a list of batches of the images' shape {tuple(images.shape)}, got {describe(batches)}"
        )
    total = _result(function, batches[0])
    for view in batches[1:]:
        total = total + _result(function, view)
    return total / len(batches)


def _result(function: Callable[[Tensor], Tensor], view: Tensor) -> Tensor:
    result = function(view)
    if not isinstance(result, Tensor):
        raise TypeError(f"function must return a tensor, got {describe(result)}")
    return result
