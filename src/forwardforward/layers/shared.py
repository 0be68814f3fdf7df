"""One product with the images for all their labels, where the first operations of a layer are linear."""

from __future__ import annotations

from torch import Tensor

from forwardforward.batches import LabelledInput
from forwardforward.layers.layer import FFLayer
from forwardforward.normalization import Affine

__all__ = ["SharedInput"]


class SharedInput(FFLayer):
    """A layer that never joins a labelled input where the normalization in front of its block is affine."""

    #: Whether the block can be split into a part for the images and one for the codes.
    splits: bool = True

    def split_forward(self, x: LabelledInput, affine: Affine) -> Tensor:
        """Return ``block(affine([image, code]))`` with one product for all codes of an image.

        Args:
            x: Images and their codes.
            affine: The normalization, written as an affine map.

        Returns:
            ``(copies * batch, ...)``.
        """
        raise NotImplementedError

    def _join(self, x: LabelledInput, operations: tuple[str, ...]) -> tuple[Tensor, tuple[str, ...]]:
        if operations[:1] == ("transform",) and self.splits:
            return self.split_forward(x, Affine()), operations[1:]
        if operations[:2] == ("normalize", "transform") and self.splits:
            as_affine = getattr(self.normalization, "as_affine", None)
            if as_affine is not None or self.normalization is None:
                return self.split_forward(x, Affine() if as_affine is None else as_affine(x)), operations[2:]
        return super()._join(x, operations)
