"""Auxiliary classifiers on the features of each layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from forwardforward._utils.arguments import NonNegativeInt, PositiveFloat, PositiveInt, StrPath, checked
from forwardforward._utils.memory import check_memory
from forwardforward._utils.modes import eval_mode
from forwardforward.data.batching import Data
from forwardforward.diagnostics._figure import new_figure, save
from forwardforward.network import Network
from forwardforward.normalization import RMSNorm
from forwardforward.pooling import SequencePool, SpatialPool
from forwardforward.training import Evaluation
from forwardforward.training.arguments import checked_model
from forwardforward.training.randomness import derive_generator

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["layer_errors", "probe"]


@checked
def probe(
    model: nn.Module,
    train: Data,
    test: Data,
    *,
    epochs: PositiveInt = 10,
    batch_size: PositiveInt = 500,
    lr: PositiveFloat = 1e-3,
    hidden: NonNegativeInt = 0,
    pool: nn.Module | None = None,
    seed: NonNegativeInt = 0,
) -> tuple[float, ...]:
    """Train an auxiliary classifier on each layer's frozen features, and return the errors in percent.

    If labels are part of the input, the features are computed with the neutral label. Each sample's features are scaled
    to a mean square of one. The features of one layer for all samples are kept in memory.

    Args:
        model: An :class:`~forwardforward.FFSequential` or a baseline; it is not changed.
        train: Labeled data, of the kinds that :func:`~forwardforward.training.fit` accepts.
        test: Labeled data to evaluate on.
        epochs: Passes over the features.
        batch_size: Samples per step.
        lr: Learning rate of Adam.
        hidden: Number of hidden ReLU units of the classifier; 0 for a linear classifier.
        pool: Module from maps or sequences to rows; default: means over 2x2 patches of maps and 2 segments of
            sequences.
        seed: Random seed for the order of the samples and the classifier.

    Returns:
        One error per layer.

    Raises:
        TypeError: If ``epochs``, ``batch_size`` or ``hidden`` is not an integer.
        ValueError: If one of them is too small, the data have no labels, or a feature is NaN or infinite.

    Source: the auxiliary classifiers of Dooms et al., The Trifecta (2023), arXiv 2311.18130, figure 8.

    Example:
        >>> import forwardforward as ff
        >>> model = ff.FFSequential(
        ...     ff.FFLinear(8, 6), goodness=ff.goodness.LearnedProjection(2), loss=ff.losses.CrossEntropy()
        ... )
        >>> data = torch.rand(20, 8), torch.arange(20) % 2
        >>> len(probe(model, data, data, epochs=1))
        1
    """
    network = checked_model(model)
    device = network.device
    errors = []
    for layer in range(len(network)):
        (x, y), (x_test, y_test) = (_features(network, layer, pool, data) for data in (train, test))
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            with torch.device("cpu"):  # the same weights for every device
                classifier = _classifier(x.shape[1], hidden, int(y.max()) + 1)
            classifier.to(device)
        optimizer = torch.optim.Adam(classifier.parameters(), lr=lr)
        with torch.device("cpu"):  # where Adam counts its steps, whatever the default device is
            for epoch in range(epochs):
                order = torch.randperm(len(x), generator=derive_generator(seed, epoch, "probe")).to(device)
                for rows in order.split(batch_size):
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(classifier(x[rows]), y[rows]).backward()
                    optimizer.step()
        with torch.no_grad():
            errors.append(100 * float((classifier(x_test).argmax(1) != y_test).float().mean()))
    return tuple(errors)


def _classifier(features: int, hidden: int, classes: int) -> nn.Module:
    if not hidden:
        return nn.Linear(features, classes)
    check_memory("hidden", hidden, features)
    return nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, classes))


@torch.no_grad()
def _features(model: Network, layer: int, pool: nn.Module | None, data: Data) -> tuple[Tensor, Tensor]:
    rows: list[Tensor] = []
    labels: list[Tensor] = []
    normalization = RMSNorm()
    with eval_mode(model):
        for x, y in model.batches(data, 500).batches(None):
            if y is None:
                raise ValueError("data must have labels for a probe, got none")
            rows.append(normalization(_pooled(model.activations(x)[layer], pool)).float())
            labels.append(model.check_labels(x, y))
    features = torch.cat(rows)
    if not bool(features.isfinite().all()):
        raise ValueError(
            f"features must be finite, got NaN or infinity in layer {layer}: the data or the weights contain them"
        )
    return features, torch.cat(labels)


def _pooled(h: Tensor, pool: nn.Module | None) -> Tensor:
    """Return activations as rows: pooled, if they are maps or sequences."""
    if h.dim() == 2:
        return h
    if pool is None:
        pool = SpatialPool(2) if h.dim() == 4 else SequencePool(2)
    rows: Tensor = pool(h)
    return rows


@checked
def layer_errors(
    evaluation: Evaluation, probes: tuple[float, ...] | None = None, path: StrPath | None = None
) -> tuple[Figure, Any]:
    """Plot the error of every layer's own goodness, and of a probe on its features.

    Args:
        evaluation: As returned by :func:`~forwardforward.training.evaluate`.
        probes: Errors, as returned by :func:`probe`; default: not plotted.
        path: File to save the figure to; default: not saved.

    Returns:
        The figure and its axes.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If layers do not classify and no probes are given.

    Example:
        >>> figure, axis = layer_errors(Evaluation(2.5, (3.0, 2.75), (97.0, 97.25), (5.0, 4.0), None, samples=400))
    """
    known = (("by its own goodness", evaluation.layer_errors, "#2166ac"), ("probe", probes, "#b35806"))
    bars = [(name, values, color) for name, values, color in known if values is not None]
    if not bars:
        raise ValueError("probes must be given if layers do not classify by themselves, got None")
    figure = new_figure(6, 3.5)
    axis = figure.subplots()
    for number, (name, values, color) in enumerate(bars):
        positions = [layer + (number - (len(bars) - 1) / 2) * 0.4 for layer in range(len(values))]
        axis.bar(positions, values, 0.4, color=color, label=name)
    axis.axhline(evaluation.error, color="black", linewidth=1, label="model")
    axis.set_xticks(range(len(bars[0][1])))
    axis.set_xlabel("layer")
    axis.set_ylabel("error, %")
    axis.legend()
    save(figure, path)
    return figure, axis
