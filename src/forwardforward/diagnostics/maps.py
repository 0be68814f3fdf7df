"""Grad-CAM of every layer: the positions of an image that its goodness comes from."""

from __future__ import annotations

import torch
from torch import Tensor

from forwardforward._utils.arguments import checked
from forwardforward._utils.modes import eval_mode
from forwardforward.batches import LabeledInput
from forwardforward.layers import FFLayer
from forwardforward.layers.chain import run_layers
from forwardforward.preprocessing import Array
from forwardforward.sequential import FFSequential

__all__ = ["grad_cam"]


@checked
def grad_cam(model: FFSequential, images: Array, labels: Array) -> dict[int, Tensor]:
    r"""Return, for each layer of maps, a map of the positions that its goodness of a label comes from.

    A network trained by local objectives has a goodness in every layer, so every layer has its own map,

    .. math:: M = \mathrm{ReLU}\Big(\sum_c \beta_c \, h_c\Big), \qquad
        \beta_c = \frac{1}{P} \sum_p \frac{\partial g}{\partial h_{c, p}}

    for the goodness :math:`g` of the label as a function of the layer's activations :math:`h_{c, p}` in channels
    :math:`c` at :math:`P` positions :math:`p`. Evaluation mode is used; no gradient enters another layer.

    Args:
        model: A network whose layers classify.
        images: Raw images, ``(batch, channels, height, width)``.
        labels: Class indices, ``(batch,)``, such as the true or the predicted classes.

    Returns:
        Maps ``(batch, layer's height, layer's width)`` by the layer's index; layers of rows have none.

    Raises:
        ValueError: If the network's goodness does not depend on labels, or a label is out of range.

    Source: Selvaraju et al., Grad-CAM (2019), arXiv 1610.02391; proposed for the layers of Forward-Forward networks by
    Dooms et al., The Trifecta (2023), arXiv 2311.18130.

    Example:
        >>> import forwardforward as ff
        >>> layers = ff.recipes.get("trifecta-s").replace(widths=(4, 6)).layers((1, 8, 8), num_classes=3)
        >>> model = ff.FFSequential(
        ...     *layers,
        ...     goodness=ff.goodness.MeanOfSquares(),
        ...     loss=ff.losses.SymBa(),
        ...     label_encoder=ff.label_encoders.RandomChannel(3, size=8),
        ... )
        >>> [tuple(maps.shape) for maps in grad_cam(model, torch.rand(2, 1, 8, 8), torch.tensor([0, 2])).values()]
        [(2, 4, 4), (2, 4, 4)]
    """
    if not model.layers_classify:
        raise ValueError("model must have layers with a goodness of every class, got one without")
    x = model.prepare(images)
    classes = model.check_labels(x, labels)

    def map_of(layer: FFLayer, value: Tensor | LabeledInput, skip: Tensor | None) -> tuple[Tensor, Tensor | None]:
        with torch.no_grad():
            outputs = layer.outputs(value, skip)
        return outputs.output, _map(layer, outputs.goodness_input, classes)

    with eval_mode(model), model.naming_shape(images), torch.inference_mode(False):
        inputs: Tensor | LabeledInput = x if model.label_encoder is None else model.label_encoder(x, classes)
        maps = enumerate(run_layers(model.stack, inputs, map_of))
        return {index: value for index, value in maps if value is not None}


def _map(layer: FFLayer, activations: Tensor, classes: Tensor) -> Tensor | None:
    """Return the map of one layer, None if its activations are rows."""
    if activations.dim() != 4:
        return None
    assert layer.objective is not None
    with torch.enable_grad():
        h = activations.detach().clone().requires_grad_()
        goodness = layer.objective.goodness_of(h)
        assert goodness is not None
        if goodness.dim() == 2:
            goodness = goodness.gather(1, classes[:, None])
        [gradient] = torch.autograd.grad(goodness.sum(), h)
    return (gradient.mean((2, 3), keepdim=True) * h.detach()).sum(1).relu()
