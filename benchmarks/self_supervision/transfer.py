"""What a cell measures beside the accuracy on its task: transfer by linear classifiers, and a map of the features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.cells import Content, load_splits
from benchmarks.self_supervision.methods import REFERENCES
from forwardforward.baselines import Backpropagation
from forwardforward.data import TensorData
from forwardforward.diagnostics import probe
from forwardforward.network import Network
from forwardforward.normalization import RMSNorm
from forwardforward.pooling import SpatialPool
from forwardforward.runs import Run

__all__ = ["measure"]

#: Passes of the linear classifiers, without a choice by any data.
PROBE_EPOCHS = 10

#: Number of test images in the map of the features.
MAPPED = 500


def measure(run: Run, model: Network) -> Content:
    """Return the transfer to the images' own classes, and for seed 0 a map of the last layer's features.

    Transfer is the accuracy of linear classifiers on each layer's frozen features and on those of all layers. The same
    of untrained features and of pixels is measured once per network.
    """
    splits = load_splits(run.config.data, run.config.data_dir, None)
    train, test = splits.train_and_validation, splits.test
    result = {"transfer": transfer(model, train, test)}
    if run.config.recipe in REFERENCES:
        untrained = run.model().to(model.device)
        untrained.preprocessing = model.preprocessing
        pixels = Backpropagation(nn.Flatten(), num_classes=train.num_classes).to(model.device)
        result["untrained"] = transfer(untrained, train, test)
        result["pixels"] = transfer(pixels, train, test)[:1]
    if run.config.seed == 0:
        result |= feature_map(model, test[: min(MAPPED, len(test))])
    return result


def transfer(model: Network, train: TensorData, test: TensorData) -> list[float]:
    """Return the accuracies of linear classifiers on the features of each layer, and on those of all layers."""
    layers = range(len(model))
    errors = probe(model, train, test, layers=[*([layer] for layer in layers), layers], epochs=PROBE_EPOCHS)
    return [round(100 - error, 2) for error in errors]


@torch.no_grad()
def feature_map(model: Network, test: TensorData) -> Content:
    """Return t-SNE's map of the last layer's features and the images' classes; nothing without scikit-learn."""
    try:
        from sklearn.manifold import TSNE
    except ImportError:
        return {}
    features = last_features(model, test.inputs)
    perplexity = min(30.0, (len(test) - 1) / 3)
    points = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(features.numpy())
    assert test.targets is not None
    return {"map": [[round(float(x), 1) for x in point] for point in points], "map_classes": test.targets.tolist()}


def last_features(model: Network, images: Tensor) -> Tensor:
    """Return the last layer's features as a probe reads them, ``(images, features)``."""
    training = model.training
    activations = model.eval().activations(images)[len(model) - 1]
    model.train(training)
    rows = activations if activations.dim() == 2 else SpatialPool(2)(activations)
    return RMSNorm()(rows).float().cpu()
