"""Measures of a trained network: the sizes of its weights, and its goodness of correct and wrong labels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from benchmarks.cells import Content
from forwardforward import FFSequential
from forwardforward.data import TensorData
from forwardforward.network import Network

__all__ = ["QUANTILES", "goodness", "weights"]

#: Quantiles that represent a distribution.
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@torch.no_grad()
def weights(model: Network, initial: Network) -> Content:
    """Return the sizes of each layer's weights, without its bias, as lists with one entry per layer.

    ``mean``, ``rms``, ``largest`` and ``quantiles`` describe the absolute values; ``growth`` is the root mean square
    divided by that of the initial weights.

    Args:
        model: A network of dense layers or convolutions, or a baseline of them.
        initial: The same network before its training.
    """
    sizes = _sizes(model)
    rms = [_root_mean_square(size) for size in sizes]
    before = [_root_mean_square(size) for size in _sizes(initial)]
    return {
        "mean": _rounded(size.mean() for size in sizes),
        "rms": _rounded(rms),
        "growth": _rounded(value / start for value, start in zip(rms, before, strict=True)),
        "largest": _rounded(size.max() for size in sizes),
        "quantiles": [_quantiles(size) for size in sizes],
    }


def _sizes(model: Network) -> list[Tensor]:
    """Return the absolute weights of every layer."""
    layers: list[Any] = list(model.layers)
    return [layer.block.weight.abs().double().cpu() for layer in layers]


def _root_mean_square(values: Tensor) -> Tensor:
    return values.square().mean().sqrt()


@torch.no_grad()
def goodness(model: FFSequential, data: TensorData, seed: int = 0) -> Content:
    """Return quantiles of each layer's goodness under the correct and a wrong label, and its scale and threshold.

    Args:
        model: A network with a pair objective and a threshold.
        data: Labeled images.
        seed: Random seed of the wrong labels, which are uniform.
    """
    batches, generator = [], torch.Generator().manual_seed(seed)
    for images, labels in data.batches(1000):
        assert labels is not None
        wrong = (labels + torch.randint(1, data.num_classes, labels.shape, generator=generator)) % data.num_classes
        every_label = model.layer_goodness(images.to(model.device)).cpu()
        labels = torch.stack([labels, wrong], dim=1)[:, None].expand(-1, every_label.shape[1], -1)
        batches.append(every_label.gather(2, labels))
    values = torch.cat(batches).double().permute(1, 2, 0)
    layers: list[Any] = list(model)
    return {
        "positive": [_quantiles(positive) for positive, _ in values],
        "negative": [_quantiles(negative) for _, negative in values],
        "scale": [layer.objective.goodness.scale(len(layer.block.weight)) for layer in layers],
        "threshold": _rounded(layer.objective.loss.threshold for layer in layers),
    }


def _quantiles(values: Tensor) -> list[float]:
    """Return the quantiles by interpolation; ``torch.quantile`` accepts 16 million values at most."""
    ordered = values.flatten().sort().values
    positions = torch.tensor(QUANTILES, dtype=torch.float64, device=ordered.device) * (len(ordered) - 1)
    below = positions.floor().long()
    above = (below + 1).clamp(max=len(ordered) - 1)
    return _rounded(torch.lerp(ordered[below], ordered[above], positions - below))


def _rounded(values: Iterable[Tensor | float]) -> list[float]:
    return [float(f"{float(value):.4g}") for value in values]
