"""PEPITA: two forward passes, the second on an input that the error has changed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from forwardforward._utils.checks import check_positive
from forwardforward._utils.modes import autocast_to
from forwardforward._utils.numerics import accumulator
from forwardforward.baselines.baseline import Baseline, Product, products
from forwardforward.layers.chain import skip_tensors

__all__ = ["Pepita"]


class Pepita(Baseline):
    r"""The stack trained by two forward passes, the second on an input that the output's error has changed.

    PEPITA ("present the error to perturb the input to modulate activity") has no backward pass. A first pass gives the
    activations :math:`h_1 \dots h_{L-1}` and the error :math:`e = \mathrm{softmax}(z_L) - \mathrm{onehot}(y)`; a second
    pass on :math:`h_0^{err} = x + F e`, with a fixed random matrix :math:`F`, gives :math:`h_l^{err}`. Weights go down
    along

    .. math::
        \Delta W_l = (h_l - h_l^{err}) (h_{l-1}^{err})^\top \quad (l < L), \qquad
        \Delta W_L = e \, (h_{L-1}^{err})^\top

    averaged over the batch, :math:`W \leftarrow W - \eta \Delta W` for plain gradient descent; any optimizer may follow
    these in the gradient's place. Learning turns the product of the weights against :math:`F`, so that :math:`h_l -
    h_l^{err}` comes to point where the gradient does.

    :math:`F` is uniform in :math:`\pm s \sqrt{6 / n}` for inputs of :math:`n` numbers, the range of He's initialization
    times ``scale`` :math:`s`, as in the authors' program. It depends on the inputs' size, which a stack of convolutions
    does not define, so the ``state_dict`` contains the seed of its draw; see :meth:`projection`.

    Where the paper does not say:

    - :math:`h_l` is what a layer's activation gives, before its pool; :math:`h_{l-1}^{err}` is what the block is
      applied to, after the pool of the layer before and a normalization in front.
    - A bias is a weight from an input of 1, :math:`\Delta b_l = h_l - h_l^{err}` (the authors' networks have none).
      Scales and shifts of a normalization have no rule and stay as they are, as in their program.
    - For a convolution the product is the gradient of its filters for the error :math:`h_l - h_l^{err}` at its output:
      summed over positions, averaged over the batch. The authors' program averages over positions too (and divides by
      the batch size twice), so its learning rates are others.
    - The output layer follows the first pass's :math:`e`, as their program does behind convolutions; for dense networks
      it takes the second pass's error.
    - Both passes are in the same mode and draw the same random numbers, so that dropout drops the same units, as in
      their program. Running statistics see both.

    Args:
        *layers: Those of :class:`Baseline`, each with one :class:`torch.nn.Linear` or :class:`torch.nn.Conv2d` at most,
            whose output has the shape of the layer's activations.
        num_classes: Number of classes.
        **options: Those of :class:`Baseline`: ``normalization``, ``preprocessing``, ``input_shape``.
        scale: Size of :math:`F`, :math:`s`.

    Raises:
        ValueError: If there are no layers, ``scale`` is not positive, a layer has
            several blocks with weights, weights elsewhere than in :class:`torch.nn.Linear` and
            :class:`torch.nn.Conv2d` or a pool before its activation, or, in training, its activations have another
            shape than its block's output.

    Source: Dellaferrera and Kreiman, Error-driven Input Modulation: Solving the Credit Assignment Problem without a
    Backward Pass (ICML 2022), arXiv 2201.11665, and their program.

    Example:
        >>> import torch, forwardforward as ff
        >>> model = Pepita(ff.FFLinear(784, 100), ff.FFLinear(100, 100), num_classes=10)
        >>> model.projection(torch.zeros(3, 784)).shape
        torch.Size([784, 10])
    """

    _projection: Tensor | None

    def __init__(self, *layers: nn.Module, num_classes: int, scale: float = 0.05, **options: Any) -> None:
        for i, layer in enumerate(layers):
            if len(products(layer, i, "PEPITA")) > 1:
                raise ValueError(f"layers must each have one nn.Linear or nn.Conv2d for PEPITA, but layer {i} has more")
        super().__init__(*layers, num_classes=num_classes, **options)
        for i, layer in enumerate(self.stack):
            if layer.pool is not None and layer.order.index("pool") < layer.order.index("activate"):
                raise ValueError(f"layers must pool after the activation for PEPITA, but layer {i} pools before it")
            layer.pool_first = False  # the rule compares activations before the pool
        self.scale = check_positive("scale", scale)
        self.seed = int(torch.randint(2**62, ()))
        self.register_buffer("_projection", None, persistent=False)

    def extra_repr(self) -> str:
        """Return the size of the projection."""
        return f"scale={self.scale}"

    def projection(self, images: Tensor) -> Tensor:
        """Return the matrix that takes errors to the input, ``(numbers in an image, classes)``.

        Args:
            images: ``(batch, ...)``, of which the shape, type and device count.
        """
        size = images[0].numel()
        if self._projection is None or len(self._projection) != size:
            generator = torch.Generator().manual_seed(self.seed)
            assert self.num_classes is not None
            draws = torch.rand(size, self.num_classes, generator=generator, device=generator.device)
            self._projection = ((2 * draws - 1) * self.scale * math.sqrt(6 / size)).to(images)
        return self._projection.to(images)

    def get_extra_state(self) -> Tensor:
        """Return the projection's entry of the state dict: its seed."""
        return torch.tensor(self.seed)

    def set_extra_state(self, state: Tensor) -> None:
        """Restore a projection's seed."""
        self.seed = int(state)
        self._projection = None

    def gradients(self, images: Tensor, labels: Tensor, autocast: torch.dtype | None = None) -> Tensor:
        """Add the updates of both passes to every parameter's ``grad``, and return the first pass's logits.

        Args:
            images: ``(batch, ...)``.
            labels: Class indices, ``(batch,)``.
            autocast: Compute precision.
        """
        devices = [images.device] if images.device.type == "cuda" else []
        with torch.random.fork_rng(devices), torch.no_grad(), autocast_to(autocast, images.device):
            x, activated, skips = images, [], skip_tensors(self.stack)
            for i, layer in enumerate(self.stack):
                values = layer.outputs(x, skips.get(i))
                x = values.output
                skips.store(i, x)
                activated.append(values.activation)
            assert self.output is not None
            logits: Tensor = self.output(x.flatten(1))
        error = logits.to(accumulator(logits)).softmax(1)
        assert self.num_classes is not None
        error = error - nn.functional.one_hot(labels, self.num_classes)
        x, skips = (
            images + (error.to(images.dtype) @ self.projection(images).T).view_as(images),
            skip_tensors(self.stack),
        )
        for i, layer in enumerate(self.stack):
            with _outputs_of(products(layer, i, "PEPITA")) as outputs, autocast_to(autocast, images.device):
                values = layer.outputs(x.detach(), skips.get(i))
                h, x = values.activation, values.output
                skips.store(i, x.detach())
            for product, z in outputs:
                if z.shape != h.shape:
                    raise ValueError(
                        f"layers must activate their block's output, in its shape, for PEPITA, but layer {i} computes "
                        f"{tuple(h.shape)} from {tuple(z.shape)}"
                    )
                _follow(product, z, (activated[i] - h) / len(images))
        with autocast_to(autocast, images.device):
            z = self.output(x.detach().flatten(1))
        _follow(self.output, z, error / len(images))
        return logits


@contextmanager
def _outputs_of(maps: list[Product]) -> Iterator[list[tuple[nn.Module, Tensor]]]:
    """Catch what the maps give meanwhile, each with its map, and cut its graph off from what comes after."""
    outputs: list[tuple[nn.Module, Tensor]] = []

    def catch(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        outputs.append((module, output))
        return output.detach()

    hooks = [one.register_forward_hook(catch) for one in maps]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()


def _follow(product: nn.Module, z: Tensor, error: Tensor) -> None:
    """Add to a map's gradients those of an error at its output ``z``."""
    learning = [p for p in product.parameters() if p.requires_grad]
    if learning:
        torch.autograd.backward(z, error.detach().to(z.dtype), inputs=learning)
