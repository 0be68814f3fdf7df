"""Backpropagation."""

from __future__ import annotations

from forwardforward.baselines.baseline import Baseline

__all__ = ["Backpropagation"]


class Backpropagation(Baseline):
    """A network trained end to end with the exact gradient of the loss.

    Args:
        *layers: See :class:`Baseline`.
        num_classes: Number of outputs, such as classes.
        **options: Further arguments of :class:`Baseline`: ``loss``, ``normalization``, ``preprocessing``,
            ``input_shape``.

    Raises:
        ValueError: If there are no layers, or a layer is part of a network already.

    Example:
        >>> import torch, forwardforward as ff
        >>> model = Backpropagation(ff.FFLinear(784, 100), ff.FFLinear(100, 100), num_classes=10)
        >>> model.predict(torch.zeros(3, 784)).shape
        torch.Size([3])
    """
