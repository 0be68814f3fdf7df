"""Direct feedback alignment and direct random target projection: fixed random maps from the output to every layer."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from forwardforward._utils.memory import check_memory
from forwardforward._utils.modes import autocast_to
from forwardforward._utils.numerics import accumulator
from forwardforward.baselines.baseline import Baseline
from forwardforward.layers.chain import layer_outputs
from forwardforward.targets import ClassProbabilities

__all__ = ["DirectFeedbackAlignment", "DirectRandomTargetProjection"]


class DirectFeedbackAlignment(Baseline):
    r"""A network whose layers receive the output's error through fixed random matrices, not through the layers above.

    With the error :math:`e = \mathrm{softmax}(z_L) - \mathrm{onehot}(y)` and a fixed random matrix :math:`B_l` per
    layer, the gradient at the layer's output :math:`h_{l+1}` is replaced by

    .. math:: \partial L / \partial h_{l+1} \approx B_l e

    Inside a layer (block, normalization, activation, pooling) gradients are exact; none crosses a border between
    layers. The output layer receives the exact gradient of the cross-entropy. The entries of :math:`B_l` are normal
    with standard deviation :math:`1 / \sqrt{K}` for :math:`K` classes, and stored in the buffer ``feedback_l``.

    Args:
        *layers: See :class:`Baseline`.
        num_classes: Number of classes.
        **options: Further arguments of :class:`Baseline`: ``normalization``, ``preprocessing``, ``input_shape``,
            ``views``.

    Raises:
        ValueError: If there are no layers, or a layer is part of a network already.

    Source: Nøkland, Direct Feedback Alignment Provides Learning in Deep Neural Networks (NeurIPS 2016), arXiv
    1609.01596, without its choice of a range by hand.

    Example:
        >>> import forwardforward as ff
        >>> model = DirectFeedbackAlignment(ff.FFLinear(784, 100), ff.FFLinear(100, 50), num_classes=10)
        >>> [matrix.shape for matrix in model.feedback]
        [torch.Size([100, 10]), torch.Size([50, 10])]
    """

    takes_loss = False

    def _setup_feedback(self) -> None:
        """Draw the feedback matrices."""
        assert self.num_classes is not None
        for index, shape in enumerate(self.output_shapes):
            size = math.prod(shape)
            check_memory("num_classes", size, self.num_classes)
            matrix = torch.randn(size, self.num_classes) / math.sqrt(self.num_classes)
            self.register_buffer(f"feedback_{index}", matrix.to(self.device, self.dtype))

    @property
    def feedback(self) -> list[Tensor]:
        """The feedback matrices, ``(size of a layer's output, classes)``."""
        return [self.get_buffer(f"feedback_{index}") for index in range(len(self.layers))]

    def signal(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return what is sent to every layer, ``(batch, classes)``.

        Args:
            logits: Of the output layer, ``(batch, classes)``.
            labels: Class indices, ``(batch,)``, or probabilities of the classes, ``(batch, classes)``.
        """
        return logits.to(accumulator(logits)).softmax(1) - _probabilities(labels, logits)

    def gradients(self, images: Tensor, labels: Tensor, autocast: torch.dtype | None = None) -> Tensor:
        """Accumulate the gradients in ``grad`` of the parameters, and return the detached logits.

        Args:
            images: Preprocessed images, ``(batch, ...)``.
            labels: Class indices, ``(batch,)``, or probabilities of the classes, ``(batch, classes)``.
            autocast: Compute precision.
        """
        assert self.output is not None
        with autocast_to(autocast, images.device):
            outputs = list(layer_outputs(self.stack, images))
            logits: Tensor = self.output(outputs[-1].detach().flatten(1))
        self.loss(logits, labels).backward()
        signal = self.signal(logits.detach(), labels) / len(labels)
        for output, matrix in zip(outputs, self.feedback, strict=True):
            if output.requires_grad:
                output.backward((signal.to(matrix.dtype) @ matrix.T).view_as(output).to(output.dtype))
        return logits.detach()


class DirectRandomTargetProjection(DirectFeedbackAlignment):
    r"""A network whose layers receive the label through fixed random matrices, before the output is known.

    As :class:`DirectFeedbackAlignment` with the one-hot label in place of the error,

    .. math:: \partial L / \partial h_{l+1} \approx - B_l \, \mathrm{onehot}(y)

    so that a layer can be updated in the forward pass.

    Args:
        *layers: See :class:`Baseline`.
        num_classes: Number of classes.
        **options: As for :class:`DirectFeedbackAlignment`.

    Raises:
        ValueError: If there are no layers, or a layer is part of a network already.

    Source: Frenkel, Lefebvre and Bol, Learning Without Feedback: Fixed Random Learning Signals Allow for Feedforward
    Training of Deep Neural Networks (2021), Frontiers in Neuroscience 15:629892, arXiv 1909.01311.

    Example:
        >>> import forwardforward as ff
        >>> model = DirectRandomTargetProjection(ff.FFLinear(16, 20), ff.FFLinear(20, 20), num_classes=3)
        >>> model.signal(torch.zeros(1, 3), torch.tensor([1]))
        tensor([[-0., -1., -0.]])
    """

    def signal(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the negative one-hot labels, ``(batch, classes)``.

        Args:
            logits: Of the output layer; only their shape is used.
            labels: Class indices, ``(batch,)``, or probabilities of the classes, ``(batch, classes)``.
        """
        return -_probabilities(labels, logits)


def _probabilities(labels: Tensor, logits: Tensor) -> Tensor:
    """Return the probabilities of the classes, of indices one-hot rows, in the precision of sums over the logits."""
    return ClassProbabilities().soften(labels, logits.shape[1]).to(accumulator(logits))
