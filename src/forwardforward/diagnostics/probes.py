"""Auxiliary classifiers on the features of each layer."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import torch
from torch import Tensor, nn

from forwardforward._utils.arguments import NonNegativeInt, PositiveInt, Range, StrPath, checked
from forwardforward._utils.checks import all_finite, check_labels
from forwardforward._utils.memory import check_memory
from forwardforward._utils.modes import eval_mode
from forwardforward.data.batching import Data
from forwardforward.data.tensors import TensorData, batch_slices
from forwardforward.diagnostics._figure import new_figure, save
from forwardforward.network import Network
from forwardforward.normalization import RMSNorm
from forwardforward.pooling import SequencePool, SpatialPool
from forwardforward.replicas import Replicas
from forwardforward.training import Evaluation
from forwardforward.training.arguments import checked_model
from forwardforward.training.randomness import derive_generator

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["layer_errors", "probe"]

#: Samples per batch without a gradient.
EVALUATED = 500


@checked
def probe(
    model: nn.Module,
    train: Data,
    test: Data,
    *,
    layers: Sequence[Sequence[NonNegativeInt]] | None = None,
    epochs: PositiveInt = 10,
    batch_size: PositiveInt = 500,
    lr: Annotated[float, Range(above=0, highest=1e38)] = 1e-3,
    hidden: NonNegativeInt = 0,
    pool: nn.Module | None = None,
    seed: NonNegativeInt = 0,
) -> tuple[float, ...]:
    """Train an auxiliary classifier on each layer's frozen features, and return the errors in percent.

    The classes are those of the data, which may differ from the model's: the error of a linear classifier on classes
    that the model was not trained for is its transfer error. If labels are part of the input, the features are computed
    with the neutral label. Each sample's features of each layer are scaled to a mean square of one. The features that a
    classifier reads are kept in memory for all samples, and those of all classifiers if some read the same layer.

    Args:
        model: An :class:`~forwardforward.FFSequential`, a baseline or :class:`~forwardforward.Replicas`; it is not
            changed.
        train: Labeled data, of the kinds that :func:`~forwardforward.training.fit` accepts.
        test: Labeled data to evaluate on.
        layers: For each classifier, the indices of the layers whose features it reads side by side, such as
            ``[[0], [1], range(2)]``; default: one classifier for each layer.
        epochs: Passes over the features.
        batch_size: Samples per step.
        lr: Learning rate of Adam.
        hidden: Number of hidden ReLU units of the classifier; 0 for a linear classifier.
        pool: Module from maps or sequences to rows; default: means over 2x2 patches of maps and 2 segments of
            sequences.
        seed: Random seed for the order of the samples and the classifier.

    Returns:
        One error per classifier; of replicas the means over the members.

    Raises:
        TypeError: If ``epochs``, ``batch_size``, ``hidden`` or a layer's index is not an integer.
        ValueError: If one of them is out of range, the data have no labels, or a feature is NaN or infinite.

    Source: the auxiliary classifiers of Dooms et al., The Trifecta (2023), arXiv 2311.18130, figure 8; the transfer
    error of A Study of Forward-Forward Algorithm for Self-Supervised Learning (2023), arXiv 2309.11955.

    Example:
        >>> import forwardforward as ff
        >>> model = ff.FFSequential(
        ...     *(ff.FFLinear(8, 6), ff.FFLinear(6, 5)),
        ...     goodness=ff.goodness.LearnedProjection(2),
        ...     loss=ff.losses.CrossEntropy(),
        ... )
        >>> data = torch.rand(20, 8), torch.arange(20) % 4
        >>> len(probe(model, data, data, epochs=1))
        2
        >>> len(probe(model, data, data, layers=[range(2)], epochs=1))
        1
    """
    network = checked_model(model)
    groups = [(layer,) for layer in range(len(network))] if layers is None else _checked_groups(layers, len(network))
    options: dict[str, Any] = {"epochs": epochs, "batch_size": batch_size, "lr": lr, "hidden": hidden, "seed": seed}
    if isinstance(network, Replicas):
        members = [probe(member, train, test, layers=groups, pool=pool, **options) for member in network.members]
        return tuple(statistics.fmean(errors) for errors in zip(*members, strict=True))
    needed = sorted({layer for group in groups for layer in group})
    computed: Sequence[_Features] = ()
    if len(needed) < sum(map(len, groups)):  # a layer that several classifiers read is computed once
        computed = [_features(network, needed, pool, data) for data in (train, test)]
    errors = []
    for group in groups:
        samples, others = computed or [_features(network, group, pool, data) for data in (train, test)]
        errors.append(_error(group, samples, others, **options))
    return tuple(errors)


def _checked_groups(layers: Sequence[Sequence[int]], depth: int) -> list[tuple[int, ...]]:
    groups = [tuple(group) for group in layers]
    for group in groups:
        if not group or max(group) >= depth or len(set(group)) < len(group):
            raise ValueError(f"layers must be different indices from 0 to {depth - 1} per classifier, got {group}")
    return groups


@dataclass(frozen=True)
class _Features:
    """The features of some layers for all samples, and the labels."""

    rows: dict[int, Tensor]
    labels: Tensor

    def batch(self, group: Sequence[int], samples: Tensor | slice) -> Tensor:
        """Return the features of a group of layers side by side."""
        return torch.cat([self.rows[layer][samples] for layer in group], dim=1)


def _error(
    group: Sequence[int],
    train: _Features,
    test: _Features,
    *,
    epochs: int,
    batch_size: int,
    lr: float,
    hidden: int,
    seed: int,
) -> float:
    """Train a classifier on the features of a group of layers, and return its error in percent."""
    device = train.labels.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        with torch.device("cpu"):  # the same weights for every device
            width = sum(train.rows[layer].shape[1] for layer in group)
            # the number of classes is that of the data, which one stray label does not determine
            classes = TensorData(train.rows[group[0]], train.labels).num_classes
            classifier = _classifier(width, hidden, classes)
        classifier.to(device)
    optimizer = torch.optim.Adam(classifier.parameters(), lr=lr)
    with torch.device("cpu"):  # where Adam counts its steps, whatever the default device is
        for epoch in range(epochs):
            order = torch.randperm(len(train.labels), generator=derive_generator(seed, epoch, "probe")).to(device)
            for samples in order.split(batch_size):
                optimizer.zero_grad()
                logits = classifier(train.batch(group, samples))
                nn.functional.cross_entropy(logits, train.labels[samples]).backward()
                optimizer.step()
    wrong = 0
    with torch.no_grad():
        for part in batch_slices(len(test.labels), EVALUATED):
            wrong += int((classifier(test.batch(group, part)).argmax(1) != test.labels[part]).sum())
    return 100 * wrong / len(test.labels)


def _classifier(features: int, hidden: int, classes: int) -> nn.Module:
    if not hidden:
        return nn.Linear(features, classes)
    check_memory("hidden", hidden, features)
    return nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, classes))


@torch.no_grad()
def _features(model: Network, layers: Sequence[int], pool: nn.Module | None, data: Data) -> _Features:
    rows: dict[int, list[Tensor]] = {layer: [] for layer in layers}
    labels: list[Tensor] = []
    normalization = RMSNorm()
    with eval_mode(model):
        for x, y in model.batches(data, EVALUATED).batches(None):
            if y is None:
                raise ValueError("data must have labels for a probe, got none")
            activations = model.activations(x)
            for layer, values in rows.items():
                values.append(normalization(_pooled(activations[layer], pool)).float())
            labels.append(model.check_labels(x, y, validate=False))  # their number may differ from the model's
    check_labels(every := torch.cat(labels), None)
    features = {layer: torch.cat(values) for layer, values in rows.items()}
    for layer, feature in features.items():
        if not all_finite(feature):
            raise ValueError(
                f"features must be finite, got NaN or infinity in layer {layer}: the data or the weights contain them"
            )
    return _Features(features, every)


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
    axis.set_ylabel(", ".join(filter(None, (evaluation.metric, evaluation.unit))))
    axis.legend()
    save(figure, path)
    return figure, axis
