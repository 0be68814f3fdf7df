"""Networks, data and comparisons for the tests of replicas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import forwardforward as ff

SEEDS = (3, 1, 4)
CLASSES = 3


def pair(**options: Any) -> ff.FFSequential:
    """A network with a pair objective, hard labels, a head, peer and batch normalization."""
    settings: dict[str, Any] = {
        "loss": ff.losses.Threshold(theta="width", learned=True, theta_schedule=ff.lr_schedules.Ramp(0.5, 1.0)),
        "normalization": ff.normalization.RMSNorm(),
        "peer": ff.normalization.PeerNormalization(),
        "negatives": ff.negatives.HardLabel(),
        "head": ff.heads.LinearHead(CLASSES, label="random"),
        "preprocessing": ff.preprocessing.Preprocessing(standardize=True),
    }
    return ff.FFSequential(
        ff.FFLinear(12, 8),
        ff.FFLinear(8, 7),
        goodness=ff.goodness.SumOfSquares(),
        label_encoder=ff.label_encoders.Overlay(CLASSES),
        **{**settings, **options},
    ).double()


def per_class() -> ff.FFSequential:
    """A network with a class objective, fixed random projections and batch normalization."""
    return ff.FFSequential(
        ff.FFLinear(12, 8),
        ff.FFLinear(8, 7),
        goodness=ff.goodness.RandomProjection(CLASSES),
        loss=ff.losses.CrossEntropy(),
        normalization=ff.normalization.BatchNorm(affine=True),
        head=ff.heads.LinearHead(CLASSES),
    ).double()


def words() -> ff.FFSequential:
    """A network on bags of indices with dropout."""
    return ff.FFSequential(
        ff.layers.FFEmbeddingBag(20, 8, dropout=0.4),
        ff.FFLinear(8, 7),
        goodness=ff.goodness.LearnedProjection(CLASSES),
        loss=ff.losses.CrossEntropy(),
        input_shape=(12,),
    ).double()


def learned_label() -> ff.FFSequential:
    """A convolutional network with a learned label."""
    return ff.FFSequential(
        ff.FFConv2d(2, 4, 3, padding=1, pool=2),
        ff.FFConv2d(4, 4, 3, padding=1),
        goodness=ff.goodness.MeanOfSquares(),
        loss=ff.losses.SymBa(),
        normalization=ff.normalization.BatchNorm(),
        label_encoder=ff.label_encoders.LearnedChannel(CLASSES, 4),
        negatives=ff.negatives.HardGoodness(),
        input_shape=(1, 4, 4),
    ).double()


def unlabeled() -> ff.FFSequential:
    """A network whose sampler makes the whole batch."""
    return ff.FFSequential(
        ff.FFLinear(12, 8),
        ff.FFLinear(8, 7),
        goodness=ff.goodness.MeanOfSquares(),
        loss=ff.losses.SymBa(),
        negatives=ff.negatives.SelfContrast(),
        num_classes=CLASSES,
    ).double()


NETWORKS: dict[str, Callable[..., ff.FFSequential]] = {
    "pair": pair,
    "per_class": per_class,
    "words": words,
    "learned_label": learned_label,
    "unlabeled": unlabeled,
}


def data(name: str, count: int = 37) -> tuple[Tensor, Tensor]:
    """Samples for a network."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % CLASSES
    if name == "words":
        return torch.randint(20, (count, 12), generator=generator), labels
    shape = (1, 4, 4) if name == "learned_label" else (12,)
    return torch.rand(count, *shape, generator=generator, dtype=torch.float64), labels


def sgd(**options: Any) -> ff.LocalOptimizer:
    """An optimizer."""
    return ff.LocalOptimizer(torch.optim.SGD, **{"lr": 0.05, "momentum": 0.9, "weight_decay": 0.01, **options})


def difference(a: nn.Module, b: nn.Module) -> float:
    """The largest difference of two models' weights and buffers."""
    states = a.state_dict(), b.state_dict()
    assert states[0].keys() == states[1].keys()
    pairs = [(value, states[1][name]) for name, value in states[0].items()]
    return max(float((x.double() - y.double()).abs().max()) for x, y in pairs if x.numel())


def alone(make: Callable[[], ff.FFSequential], seed: int, samples: Any, **options: Any) -> Any:
    """A network trained by itself, and its history."""
    torch.manual_seed(seed)
    model = make()
    history = ff.fit(model, samples, seed=seed, batch_size=8, progress=False, **options)
    return model, history
