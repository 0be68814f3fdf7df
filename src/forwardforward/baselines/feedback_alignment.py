"""Feedback alignment: errors are propagated backward through fixed random weights."""

from __future__ import annotations

from forwardforward.baselines.baseline import Baseline, linear_modules
from forwardforward.layers import FFLayer
from forwardforward.layers.feedback import use_random_feedback

__all__ = ["FeedbackAlignment"]


class FeedbackAlignment(Baseline):
    r"""A network trained end to end, with errors propagated backward through fixed random weights.

    Backpropagation propagates the error :math:`\delta_l = \partial L / \partial z_l` at the pre-activations
    :math:`z_l = W_l h_{l-1} + b_l` through the transposed weights. Feedback alignment replaces them by a fixed random
    matrix :math:`B_l` of the same shape:

    .. math::
        \delta_{l-1} = (B_l^\top \delta_l) \odot f'(z_{l-1}), \qquad
        \nabla W_l = \delta_l h_{l-1}^\top, \qquad \nabla b_l = \delta_l

    For a convolution, :math:`B_l` has the shape of its kernel, and is used with the same stride, padding, dilation and
    groups. All other operations (activations, pooling, normalization) are differentiated exactly. The output layer
    receives the exact gradient of the loss.

    :math:`B_l` is drawn once, from a normal distribution with mean 0 and the root mean square of the weights
    :math:`W_l` at that time as its standard deviation, so that errors have the same magnitude as in backpropagation at
    the start of the training. (The paper draws from a uniform distribution whose range is chosen by hand.) It is stored
    in the buffer ``feedback`` of each module with weights. The ``feedback`` of the first layer is used only if a module
    in front of it has parameters, such as a normalization.

    Args:
        *layers: See :class:`Baseline`. The class of their :class:`torch.nn.Linear` and :class:`torch.nn.Conv2d` modules
            is changed in place, to one with feedback weights.
        num_classes: Number of outputs, such as classes.
        **options: Further arguments of :class:`Baseline`: ``loss``, ``normalization``, ``preprocessing``,
            ``input_shape``.

    Raises:
        ValueError: If there are no layers, a layer is part of a network already, or a layer has weights in modules
            other than :class:`torch.nn.Linear` and :class:`torch.nn.Conv2d`.

    Source: Lillicrap et al., Random synaptic feedback weights support error backpropagation for deep learning (2016),
    Nature Communications 7:13276, for dense layers. Fixed random kernels for convolutions are the usual extension, as
    in Bartunov et al. (2018), arXiv 1807.04587.

    Example:
        >>> import torch, forwardforward as ff
        >>> model = FeedbackAlignment(ff.FFLinear(784, 100), ff.FFLinear(100, 100), num_classes=10)
        >>> model.layers[1].block.feedback.shape
        torch.Size([100, 100])
    """

    def _check_layer(self, index: int, layer: FFLayer) -> None:
        linear_modules(layer, index, "feedback alignment")

    def _setup_feedback(self) -> None:
        """Draw the feedback weights."""
        assert self.output is not None
        layers = enumerate(self.stack)
        modules = [module for i, layer in layers for module in linear_modules(layer, i, "feedback alignment")]
        for module in [*modules, self.output]:
            use_random_feedback(module)
