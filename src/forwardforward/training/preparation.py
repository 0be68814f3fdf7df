"""What a network takes from its training data before the first step: shapes, and the statistics of preprocessing."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import torch
from torch import Tensor

from forwardforward.data.batching import Pair, Source, tensors_of
from forwardforward.layers import FFEmbeddingBag
from forwardforward.network import Network
from forwardforward.targets import ClassIndices, ClassProbabilities, RealValues, TargetScaling
from forwardforward.training.randomness import derive_generator, seed_global_generators

__all__ = ["is_prepared", "prepare_network"]


def is_prepared(model: Network) -> bool:
    """Return whether a network needs nothing from its training data: neither shapes nor statistics.

    Args:
        model: The network.
    """
    scaling = model.target_scaling
    return model.is_set_up and not model.needs_fit and (scaling is None or not scaling.needs_fit)


def prepare_network(model: Network, data: Source, seed: int) -> None:
    """Set up a network's shapes and fit its preprocessing on the training data, and check their labels.

    Args:
        model: The network.
        data: The training data.
        seed: The run's seed.
    """
    if not model.is_set_up:  # first, so that weights are drawn from the caller's random state
        model.prepare(data.some()[0], validate=False)
    # Targets and indices are checked here and by the source, so that no step waits for the device.
    draws_labels = model.uses_negatives and model.layers_classify
    data.check_targets(model.target_kind, model.num_classes, warn_of_absent=draws_labels)
    if model.preprocessing.needs_fit:
        seed_global_generators(seed, 0, "preprocessing")  # data sets may draw random numbers
        order = derive_generator(seed, 0, "preprocessing")
        model.preprocessing.fit(images for images, _ in data.batches(order))
    for layer in model.stack[:1]:
        if isinstance(layer, FFEmbeddingBag) and layer.needs_fit:
            layer.fit(_classes(model, data, seed))
    if model.target_scaling is not None and model.target_scaling.needs_fit:
        _fit_scaling(model, model.target_scaling, data, seed)


def _classes(model: Network, data: Source, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the training inputs with the probabilities of their classes."""
    kind, classes = model.target_kind, model.num_classes
    if not isinstance(kind, ClassIndices | ClassProbabilities) or classes is None:
        raise ValueError(f"weighting of FFEmbeddingBag needs classes as targets, got {kind!r}")
    seed_global_generators(seed, 0, "preprocessing")
    for inputs, targets in data.batches(derive_generator(seed, 0, "preprocessing")):
        if targets is None:
            raise ValueError("train must have labels for the weighting of FFEmbeddingBag, got none")
        checked = kind.check(targets, len(inputs), classes)
        yield inputs, ClassProbabilities().soften(checked, classes)


def _fit_scaling(model: Network, scaling: TargetScaling, data: Source, seed: int) -> None:
    """Fit the scaling of real-valued targets on the training data."""
    tensors = tensors_of(data)
    if tensors is not None:
        batches: Iterator[Pair] = iter([(tensors.inputs, tensors.targets)])
    else:
        seed_global_generators(seed, 0, "preprocessing")
        batches = data.batches(derive_generator(seed, 0, "preprocessing"))
    kind, outputs = model.target_kind, model.num_classes
    targets = [kind.check(y, len(x), outputs) for x, y in batches if y is not None]
    if not targets:
        raise ValueError("train must have targets that are real numbers, got none")
    scaling.fit(targets)
    if isinstance(kind, RealValues) and (outside := kind.count_outside(scaling(torch.cat(targets)))):
        warnings.warn(
            f"train has {outside} of {sum(map(len, targets))} targets beyond the outer bins, which are {kind.low} and "
            f"{kind.high} standard deviations from the mean; they are learned as if they were at these: set the loss's "
            "low= and high=",
            stacklevel=2,
        )
