"""One product with the images for all their labels, if the first operations of a layer are linear."""

from __future__ import annotations

from torch import Tensor

from forwardforward._utils.annotations import describe
from forwardforward.batches import LabeledInput
from forwardforward.layers.layer import FFLayer
from forwardforward.normalization import Affine, Normalization

__all__ = ["SharedInput"]


class SharedInput(FFLayer):
    """A layer that does not join a labeled input if the normalization before its block is affine.

    Positive, negative and candidate inputs of an image share the image, so the product with it is computed once:
    :math:`W [x, y] = W_x x + W_y y`. Of a pair objective's four products per weight (two forward, two in the gradient)
    the first layer saves nearly two; of classification over K labels, K - 1 of K.
    """

    #: Whether the block can be split into a part for the images and one for the codes.
    splits: bool = True

    def split_forward(self, x: LabeledInput, affine: Affine) -> Tensor:
        """Return ``block(affine([image, code]))`` with one product for all codes of an image.

        Args:
            x: Images and their codes.
            affine: The normalization, written as an affine map.

        Returns:
            ``(copies * batch, ...)``.
        """
        raise NotImplementedError

    def _join(self, x: LabeledInput, operations: tuple[str, ...]) -> tuple[Tensor, tuple[str, ...]]:
        if self.splits and operations[:1] == ("transform",):
            return self.split_forward(x, Affine()), operations[1:]
        if self.splits and operations[:2] == ("normalize", "transform"):
            affine: Affine | None = Affine() if self.normalization is None else None
            if isinstance(self.normalization, Normalization):
                affine = self.normalization.as_affine(x)
                if affine is not None and not isinstance(affine, Affine):
                    raise TypeError(
                        f"as_affine must return an Affine or None, got {describe(affine)} "
                        f"from {describe(self.normalization)}"
                    )
            if affine is not None:
                return self.split_forward(x, affine), operations[2:]
        return super()._join(x, operations)
