"""Distributions of the goodness of true and wrong labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from forwardforward._utils.arguments import StrPath, checked
from forwardforward.data.batching import Data
from forwardforward.diagnostics._figure import new_figure, save
from forwardforward.training.arguments import checked_model
from forwardforward.training.evaluation import labeled_goodness

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["goodness_distributions"]


@checked
def goodness_distributions(model: nn.Module, data: Data, path: StrPath | None = None) -> tuple[Figure, Any]:
    """Plot, for each layer, the distributions of the goodness of the true label and of wrong labels.

    Args:
        model: An :class:`~forwardforward.FFSequential` whose layers classify.
        data: Labeled data as for :func:`~forwardforward.training.evaluate`; a few thousand images suffice.
        path: File to save the figure to; default: not saved.

    Returns:
        The figure and its array of axes.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If the network's goodness does not depend on labels, the data have none, or a goodness is NaN or
            infinite.

    Example:
        >>> import torch
        >>> import forwardforward as ff
        >>> model = ff.FFSequential(
        ...     ff.FFLinear(8, 6), goodness=ff.goodness.LearnedProjection(2), loss=ff.losses.CrossEntropy()
        ... )
        >>> figure, axes = goodness_distributions(model, (torch.rand(20, 8), torch.arange(20) % 2))
    """
    network = checked_model(model)
    goodness, labels = labeled_goodness(network, data, "for the goodness of true and wrong ones")
    goodness = goodness.float().cpu()
    true = network.target_kind.is_true(labels.cpu(), goodness.shape[2])[:, None].expand_as(goodness)
    depth = goodness.shape[1]
    figure = new_figure(3.2 * depth, 3)
    axes = figure.subplots(1, depth, squeeze=False)[0]
    for layer, axis in enumerate(axes):
        values = goodness[:, layer]
        edges = np.linspace(float(values.min()), float(values.max()), 51)
        for name, chosen, color in (("wrong labels", ~true, "#b35806"), ("true label", true, "#2166ac")):
            axis.hist(values[chosen[:, layer]].tolist(), edges, density=True, alpha=0.6, color=color, label=name)
        axis.set_title(f"layer {layer}")
        axis.set_xlabel("goodness")
        axis.set_yticks([])
    axes[0].legend()
    save(figure, path)
    return figure, axes
