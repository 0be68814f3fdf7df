"""What is inside a trained stack: the sizes of its weights, and its goodness of right and wrong labels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from benchmarks.cells import Content
from forwardforward.data import TensorData

__all__ = ["QUANTILES", "goodness", "weights"]

#: Which quantiles stand for a distribution.
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@torch.no_grad()
def weights(model: Any) -> Content:
    """Return the sizes of each dense layer's weights, without its bias.

    ``mean``, ``rms`` and ``largest`` are of their absolute values, ``quantiles`` too; ``growth`` is the root mean
    square over that of the first weights, which are drawn with a variance of one over the number of inputs.

    Args:
        model: A stack of dense layers, or a baseline of one.
    """
    sizes = [layer.block.weight.abs().double() for layer in model.layers]
    rms = [size.square().mean().sqrt() for size in sizes]
    return {
        "mean": _short(size.mean() for size in sizes),
        "rms": _short(rms),
        "growth": _short(one * size.shape[1] ** 0.5 for one, size in zip(rms, sizes, strict=True)),
        "largest": _short(size.max() for size in sizes),
        "quantiles": [_quantiles(size) for size in sizes],
    }


@torch.no_grad()
def goodness(model: Any, data: TensorData, seed: int = 0) -> Content:
    """Return each layer's goodness of images under their label and under a wrong one, and its scale and threshold.

    Args:
        model: A stack that learns from pairs, with a threshold.
        data: Labelled images.
        seed: Of the wrong labels, which are drawn evenly.
    """
    found, generator = [], torch.Generator().manual_seed(seed)
    for images, labels in data.batches(1000):
        assert labels is not None
        wrong = (labels + torch.randint(1, data.num_classes, labels.shape, generator=generator)) % data.num_classes
        device = next(model.parameters()).device
        every = model.layer_goodness(images.to(device)).cpu()
        both = torch.stack([labels, wrong], dim=1)[:, None].expand(-1, every.shape[1], -1)
        found.append(every.gather(2, both))
    layers = torch.cat(found).double().permute(1, 2, 0)
    objectives = [(layer.objective, layer.features) for layer in model.stack]
    scales = [float(one.goodness.scale(width)) for one, width in objectives]
    return {
        "positive": [_quantiles(positive) for positive, _ in layers],
        "negative": [_quantiles(negative) for _, negative in layers],
        "scale": scales,
        "threshold": _short(
            torch.as_tensor(one.loss.threshold(scale)) for (one, _), scale in zip(objectives, scales, strict=True)
        ),
    }


def _quantiles(values: Tensor) -> list[float]:
    """The quantiles of all values, by interpolation; sorted here, for ``torch.quantile`` takes 16 million at most."""
    ordered = values.flatten().sort().values
    places = torch.tensor(QUANTILES, dtype=torch.float64, device=ordered.device) * (len(ordered) - 1)
    below = places.floor().long()
    above = (below + 1).clamp(max=len(ordered) - 1)
    return _short(torch.lerp(ordered[below], ordered[above], places - below))


def _short(values: Any) -> list[float]:
    return [float(f"{float(value):.4g}") for value in values]
