"""Augmentation by kornia's transforms, which draw their own random numbers for each image of a batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from forwardforward._utils.arguments import checked
from forwardforward._utils.extras import import_extra
from forwardforward.data.augmentation import Augmentation

__all__ = ["Kornia"]

#: Beginnings of the names of kornia's transforms that put parts of other samples into an image.
MIXING = ("RandomMixUp", "RandomCutMix", "RandomMosaic", "RandomTransplantation")


@checked
class Kornia(Augmentation):
    """Transforms of ``kornia.augmentation`` in order, with independent random numbers for every image.

    Crops that change the scale, changes of color and other transforms that this library does not have. They run on the
    device of the images. The package is imported when the first batch is augmented.

    Args:
        transforms: Options of each transform by the name of its class.

    Raises:
        ValueError: If there is no transform of a name, it mixes images of several samples, or it does not accept its
            options.
        ImportError: When called, if kornia is not installed.

    Example:
        >>> augment = Kornia(
        ...     {
        ...         "RandomResizedCrop": {"size": (32, 32), "scale": (0.4, 1.0)},
        ...         "ColorJitter": {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.1, "p": 0.8},
        ...     }
        ... )
        >>> list(augment.transforms)
        ['RandomResizedCrop', 'ColorJitter']
    """

    def __init__(self, transforms: Mapping[str, Mapping[str, Any]]) -> None:
        self.transforms = {name: dict(options) for name, options in transforms.items()}
        self._pipeline: nn.Sequential | None = None

    def augment(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return the transformed images.

        Args:
            images: Floating-point images with values from 0 to 1, ``(batch, channels, height, width)``.
            generator: Source of randomness, from which the transforms' generators are seeded.
        """
        if self._pipeline is None:
            self._pipeline = self._new_pipeline()
        seed = int(torch.randint(2**31, (), generator=generator, device=images.device))
        devices = [images.device] if images.device.type == "cuda" else []
        with torch.random.fork_rng(devices), torch.no_grad():
            torch.manual_seed(seed)
            transformed: Tensor = self._pipeline(images)
        return transformed

    def _new_pipeline(self) -> nn.Sequential:
        module = import_extra("kornia.augmentation", "the augmentation Kornia", "kornia")
        steps = []
        for name, options in self.transforms.items():
            if name.startswith(MIXING):
                raise ValueError(
                    f"transforms must not mix images, whose labels it would leave unchanged, got {name!r}: use "
                    "ff.data.Mixup or ff.data.CutMix"
                )
            kind = getattr(module, name, None)
            if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
                raise ValueError(f"transforms must be names of classes of kornia.augmentation, got {name!r}")
            try:
                steps.append(kind(**options))
            except (TypeError, ValueError) as error:
                raise ValueError(f"transforms[{name!r}] must be options of this transform: {error}") from error
        return nn.Sequential(*steps)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for copies, which make their own transforms."""
        return {**self.__dict__, "_pipeline": None}
