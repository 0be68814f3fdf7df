"""PEPITA: two forward passes, the second on an input modulated by the output error."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from forwardforward._utils.arguments import PositiveFloat, checked
from forwardforward._utils.memory import check_memory
from forwardforward._utils.modes import autocast_to
from forwardforward._utils.numerics import accumulator
from forwardforward.baselines.baseline import Baseline, LinearModule, linear_modules
from forwardforward.layers import FFLayer
from forwardforward.layers.chain import skip_tensors

__all__ = ["Pepita"]


@checked
class Pepita(Baseline):
    r"""A network trained with two forward passes, the second on an input modulated by the output error.

    PEPITA ("present the error to perturb the input to modulate activity") has no backward pass. The first forward pass
    computes the activations :math:`h_1 \dots h_{L-1}` and the error :math:`e = \mathrm{softmax}(z_L) -
    \mathrm{onehot}(y)`. The second one computes :math:`h_l^{err}` from the modulated input :math:`h_0^{err} = x + F e`,
    with a fixed random matrix :math:`F`. The weight updates are

    .. math::
        \Delta W_l = (h_l - h_l^{err}) (h_{l-1}^{err})^\top \quad (l < L), \qquad
        \Delta W_L = e \, (h_{L-1}^{err})^\top

    averaged over the batch. They are used as gradients: :math:`W \leftarrow W - \eta \Delta W` for SGD, and any other
    optimizer can be used. During training the product of the weight matrices becomes anti-aligned with
    :math:`F`, so that :math:`h_l - h_l^{err}` aligns with the gradient.

    :math:`F` is drawn from a uniform distribution in :math:`\pm s \sqrt{6 / n}`, the range of He initialization for
    inputs with :math:`n` values, times ``scale`` :math:`s`, as in the authors' code. It is the buffer ``projection``
    ``(n, classes)``, created by :meth:`setup`.

    Details that the paper does not specify:

    - :math:`h_l` is the output of a layer's activation, before pooling. :math:`h_{l-1}^{err}` is the input of the
      block, after the previous layer's pooling and the layer's normalization.
    - A bias is updated like a weight whose input is 1: :math:`\Delta b_l = h_l - h_l^{err}` (the authors' networks have
      no biases). The scale and shift of a normalization are not trained, as in their code.
    - For a convolution, :math:`\Delta W_l` is the gradient of the kernel for the output gradient
      :math:`h_l - h_l^{err}`: summed over positions, averaged over the batch. The authors' code also averages over
      positions (and divides by the batch size twice), so its learning rates are not comparable.
    - The output layer is updated with the error of the first pass, as in their code for convolutional networks; for
      dense networks their code uses the error of the second pass.
    - Both passes run in the same mode and use the same random numbers, so that dropout drops the same units, as in
      their code. Running statistics are updated in both passes.

    Args:
        *layers: See :class:`Baseline`. Each can have at most one :class:`torch.nn.Linear` or :class:`torch.nn.Conv2d`,
            whose output has the shape of the layer's activations.
        num_classes: Number of classes.
        scale: Scale :math:`s` of :math:`F`.
        **options: Further arguments of :class:`Baseline`: ``normalization``, ``preprocessing``, ``input_shape``.

    Raises:
        ValueError: If there are no layers, a layer is part of a network already, ``scale`` is not positive, or a layer
            has more than one module with weights, weights in modules other than :class:`torch.nn.Linear` and
            :class:`torch.nn.Conv2d`, or pooling before its activation. In training, if activations have another shape
            than the block's output.

    Source: Dellaferrera and Kreiman, Error-driven Input Modulation: Solving the Credit Assignment Problem without a
    Backward Pass (ICML 2022), arXiv 2201.11665, and the authors' code.

    Example:
        >>> import torch, forwardforward as ff
        >>> model = Pepita(ff.FFLinear(784, 100), ff.FFLinear(100, 100), num_classes=10)
        >>> model.projection.shape
        torch.Size([784, 10])
    """

    takes_loss = False
    projection: Tensor

    def __init__(self, *layers: nn.Module, num_classes: int, scale: PositiveFloat = 0.05, **options: Any) -> None:
        self.scale = scale  # before the base class, whose constructor may call setup
        super().__init__(*layers, num_classes=num_classes, **options)
        for layer in self.stack:
            layer.pool_first = False  # activations are compared before pooling

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "scale": self.scale}

    def _check_layer(self, index: int, layer: FFLayer) -> None:
        if len(linear_modules(layer, index, "PEPITA")) > 1:
            raise ValueError(
                f"layers must have at most one nn.Linear or nn.Conv2d for PEPITA, but layer {index} has more"
            )
        if layer.pool is not None and layer.order.index("pool") < layer.order.index("activate"):
            raise ValueError(f"layers must pool after the activation for PEPITA, but layer {index} pools before it")

    def _setup_feedback(self) -> None:
        """Draw the projection."""
        assert self.num_classes is not None
        assert self.input_shape is not None
        size = math.prod(self.preprocessing.output_shape(self.input_shape))
        check_memory("num_classes", size, self.num_classes)
        bound = self.scale * math.sqrt(6 / size)
        projection = torch.empty(size, self.num_classes).uniform_(-bound, bound)
        self.register_buffer("projection", projection.to(self.device, self.dtype))

    def extra_repr(self) -> str:
        """Return the scale of the projection."""
        return f"scale={self.scale}"

    def gradients(self, images: Tensor, labels: Tensor, autocast: torch.dtype | None = None) -> Tensor:
        """Accumulate the updates in ``grad`` of the parameters, and return the logits of the first pass.

        Args:
            images: Preprocessed images, ``(batch, ...)``.
            labels: Class indices, ``(batch,)``, or the probabilities of the classes.
            autocast: Compute precision.
        """
        assert self.output is not None
        assert self.num_classes is not None
        devices = [images.device] if images.device.type == "cuda" else []
        with torch.random.fork_rng(devices), torch.no_grad(), autocast_to(autocast, images.device):
            x, activations, skips = images, [], skip_tensors(self.stack)
            for i, layer in enumerate(self.stack):
                values = layer.outputs(x, skips.get(i))
                x = values.output
                skips.store(i, x)
                activations.append(values.activation)
            logits: Tensor = self.output(x.flatten(1))
        expected = self.target_kind.soften(labels, self.num_classes)
        error = logits.to(accumulator(logits)).softmax(1) - expected.to(accumulator(logits))
        x, skips = images + (error.to(images.dtype) @ self.projection.T).view_as(images), skip_tensors(self.stack)
        for i, layer in enumerate(self.stack):
            modules = linear_modules(layer, i, "PEPITA")
            with _detached_outputs(modules) as outputs, autocast_to(autocast, images.device):
                values = layer.outputs(x.detach(), skips.get(i))
                h, x = values.activation, values.output
                skips.store(i, x.detach())
            for module, z in outputs:
                if z.shape != h.shape:
                    raise ValueError(
                        "layers must have activations of the shape of their block's output for PEPITA, but layer "
                        f"{i} has activations {tuple(h.shape)} and output {tuple(z.shape)}"
                    )
                _accumulate_gradients(module, z, (activations[i] - h) / len(images))
        with autocast_to(autocast, images.device):
            z = self.output(x.detach().flatten(1))
        _accumulate_gradients(self.output, z, error / len(images))
        return logits


@contextmanager
def _detached_outputs(modules: list[LinearModule]) -> Iterator[list[tuple[nn.Module, Tensor]]]:
    """Context manager that records the outputs of modules, and detaches them from the following operations.

    Yields:
        Pairs of a module and its output with its graph, filled when the modules are called.
    """
    outputs: list[tuple[nn.Module, Tensor]] = []

    def record(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        outputs.append((module, output))
        return output.detach()

    handles = [module.register_forward_hook(record) for module in modules]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def _accumulate_gradients(module: nn.Module, output: Tensor, gradient: Tensor) -> None:
    """Accumulate the gradients of a module's parameters for a gradient of its output."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    if parameters:
        torch.autograd.backward(output, gradient.detach().to(output.dtype), inputs=parameters)
