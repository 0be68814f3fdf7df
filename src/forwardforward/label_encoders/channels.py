"""Labels as channels of the input, for convolutions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from forwardforward._utils.arguments import NumClasses, PositiveFloat, PositiveInt, checked
from forwardforward._utils.memory import check_memory
from forwardforward.label_encoders.encoder import LabelEncoder

#: Height and width, or one number for both.
Size = PositiveInt | tuple[PositiveInt, PositiveInt]


@checked
class LabelChannel(LabelEncoder):
    """One map per class, such as a drawn symbol, concatenated to the images as additional channels.

    Every position of a convolution receives the label, whereas a code in a corner reaches only a few positions. In a
    first layer :class:`~forwardforward.FFConv2d`, the convolution of the maps is computed once per class instead of
    once per sample.

    Args:
        maps: One map per class, ``(classes, height, width)`` or ``(classes, channels, height, width)``.
        learned: Whether the maps are parameters, trained with the gradients at the first layer's input.
        scale: Factor on the maps; one pixel at full intensity is 1.

    Raises:
        ValueError: If the maps have another shape or are fewer than 2 or, on encoding, if height and width of the
            images differ from those of the maps.

    Example:
        >>> LabelChannel(torch.rand(2, 4, 4))(torch.rand(3, 1, 4, 4), torch.tensor([0, 1, 1])).joined().shape
        torch.Size([3, 2, 4, 4])
    """

    def __init__(self, maps: Tensor, learned: bool = False, scale: PositiveFloat = 1.0) -> None:
        if maps.dim() not in (3, 4) or not maps.is_floating_point():
            raise ValueError(
                "maps must be floats of shape (classes, height, width) or (classes, channels, height, width), "
                f"got {maps.dtype} {tuple(maps.shape)}"
            )
        codebook = (maps.unsqueeze(1) if maps.dim() == 3 else maps) * scale
        super().__init__(len(maps), scale, nn.Parameter(codebook) if learned else codebook)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        learned = isinstance(self.codebook, nn.Parameter)
        return {"maps": self.codebook.detach() / self.scale, "learned": learned, "scale": self.scale}

    def place(self, images: Tensor) -> tuple[Tensor, Tensor, int]:
        """Return the images unchanged, followed by the maps."""
        size = tuple(self.codebook.shape[2:])
        if images.dim() != 4 or tuple(images.shape[2:]) != size:
            raise ValueError(
                f"images must be (batch, channels, {size[0]}, {size[1]}), as the label maps are, "
                f"got {tuple(images.shape)}"
            )
        channels = images.shape[1]
        features = channels + self.codebook.shape[1]
        return images, torch.arange(channels, features, device=images.device), features

    def extra_repr(self) -> str:
        """Return the constructor's arguments."""
        size = "x".join(str(n) for n in self.codebook.shape[2:])
        return f"{super().extra_repr()}, {size}"


@checked
class RandomChannel(LabelChannel):
    """A fixed random map per class, every pixel drawn from N(0, 1): a one-hot label times a random matrix.

    Args:
        num_classes: Number of classes ``K``.
        size: Height and width of the images, or one number for square images.
        scale: Factor on the maps.

    Source: Dooms et al., The Trifecta (2023), arXiv 2311.18130, for networks without overlapping updates.

    Example:
        >>> RandomChannel(10, size=32).codebook.shape
        torch.Size([10, 1, 32, 32])
    """

    def __init__(self, num_classes: NumClasses, size: Size, scale: PositiveFloat = 1.0) -> None:
        super().__init__(_random_maps(num_classes, size), scale=scale)
        self.size = size


@checked
class LearnedChannel(LabelChannel):
    """A learned map per class, every pixel starting from N(0, 1): a one-hot label times a learned matrix.

    The maps are trained with the gradients of the update group that contains the first layer.

    Args:
        num_classes: Number of classes ``K``.
        size: Height and width of the images, or one number for square images.
        scale: Factor on the initial maps.

    Source: Dooms et al., The Trifecta (2023), arXiv 2311.18130, for networks with overlapping updates.

    Example:
        >>> LearnedChannel(10, size=32).codebook.requires_grad
        True
    """

    def __init__(self, num_classes: NumClasses, size: Size, scale: PositiveFloat = 1.0) -> None:
        check_memory("num_classes and size", 3, num_classes, *_pair(size))  # maps, gradient and momentum
        super().__init__(_random_maps(num_classes, size), learned=True, scale=scale)
        self.size = size


@checked
class WaveChannel(LabelChannel):
    r"""For each class, a plane wave over the whole image.

    .. math:: c_k(x, y) = \sqrt 2 \cos\left(2 \pi (u x / W + v y / H) + \varphi\right)

    Classes :math:`2m` and :math:`2m + 1` share the :math:`m`-th wave vector :math:`(u, v)` of the discrete Fourier
    transform, shortest first, with phases :math:`\varphi` of 0 and :math:`\pi / 2`. Over the image, waves have mean
    zero, mean square one and are orthogonal to each other.

    Args:
        num_classes: Number of classes ``K``.
        size: Height and width of the images, or one number for square images.
        scale: Factor on the waves.

    Raises:
        ValueError: If the image has fewer waves than there are classes.

    Source: Scodellaro et al., Training convolutional neural networks with the Forward-Forward algorithm (2023), arXiv
    2312.14924, which adds the waves to the images; here they are an additional channel.

    Example:
        >>> waves = WaveChannel(4, size=8).codebook.flatten(1)
        >>> bool((waves @ waves.T / 64).allclose(torch.eye(4), atol=1e-5))
        True
    """

    def __init__(self, num_classes: NumClasses, size: Size, scale: PositiveFloat = 1.0) -> None:
        height, width = _pair(size)
        check_memory("num_classes and size", num_classes, height, width)
        vectors = [
            (u, v)
            for u in range((width + 1) // 2)
            for v in range(-((height - 1) // 2), (height + 1) // 2)
            if u > 0 or v > 0  # one of each pair of opposite vectors
        ]
        vectors.sort(key=lambda vector: (vector[0] ** 2 + vector[1] ** 2, vector))
        if num_classes > 2 * len(vectors):
            raise ValueError(
                f"num_classes must be at most {2 * len(vectors)} for waves over {height}x{width} pixels, "
                f"got {num_classes}"
            )
        y, x = torch.meshgrid(torch.arange(height) / height, torch.arange(width) / width, indexing="ij")
        waves = [
            2**0.5 * torch.cos(2 * torch.pi * (u * x + v * y) + phase * torch.pi / 2)
            for u, v in vectors[: (num_classes + 1) // 2]
            for phase in (0, 1)
        ]
        super().__init__(torch.stack(waves[:num_classes]) if waves else torch.zeros(0, height, width), scale=scale)
        self.size = size


def _random_maps(num_classes: int, size: Size) -> Tensor:
    shape = (num_classes, *_pair(size))
    check_memory("num_classes and size", *shape)
    return torch.randn(shape)


def _pair(size: Size) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size
