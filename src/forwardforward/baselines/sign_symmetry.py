"""Sign symmetry: errors are propagated backward through the signs of the weights."""

from __future__ import annotations

from forwardforward.baselines.baseline import Baseline, linear_modules
from forwardforward.layers import FFLayer
from forwardforward.layers.feedback import use_sign_feedback

__all__ = ["SignSymmetry"]


class SignSymmetry(Baseline):
    r"""A network trained end to end, with errors propagated backward through the signs of the weights.

    As :class:`FeedbackAlignment`, with the matrix

    .. math:: B_l = \operatorname{rms}(W_l) \operatorname{sign}(W_l)

    of the current weights in place of a fixed random one: the backward pass needs the signs of the weights, and not
    their values.

    Args:
        *layers: See :class:`Baseline`. The class of their :class:`torch.nn.Linear` and :class:`torch.nn.Conv2d` modules
            is changed in place, to one with another input gradient.
        num_classes: Number of classes.
        **options: Further arguments of :class:`Baseline`: ``normalization``, ``preprocessing``, ``input_shape``,
            ``views``.

    Raises:
        ValueError: If there are no layers, a layer is part of a network already, or a layer has weights in modules
            other than :class:`torch.nn.Linear` and :class:`torch.nn.Conv2d`.

    Source: Liao, Leibo and Poggio, How Important Is Weight Symmetry in Backpropagation? (AAAI 2016), arXiv 1510.05067;
    Xiao et al., Biologically-Plausible Learning Algorithms Can Scale to Large Datasets (ICLR 2019), arXiv 1811.03567.

    Example:
        >>> import forwardforward as ff
        >>> model = SignSymmetry(ff.FFLinear(784, 100), ff.FFLinear(100, 100), num_classes=10)
        >>> bool((model.layers[1].block.feedback.sign() == model.layers[1].block.weight.sign()).all())
        True
    """

    def _check_layer(self, index: int, layer: FFLayer) -> None:
        linear_modules(layer, index, "sign symmetry")

    def _setup_feedback(self) -> None:
        """Let the gradient pass through the signs of the weights."""
        assert self.output is not None
        layers = enumerate(self.stack)
        for module in [module for i, layer in layers for module in linear_modules(layer, i, "sign symmetry")]:
            use_sign_feedback(module)
        use_sign_feedback(self.output)
