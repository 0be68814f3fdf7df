"""Parts of a layer that depend on the other samples of a batch are refused by name where a batch is divided."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import forwardforward as ff
from forwardforward.distributed import DataParallel, process_group
from forwardforward.step.independence import check_independence
from tests.replicas.cases import data


class ByDeviation(ff.normalization.Normalization):
    """Divides by the standard deviation of the whole batch."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalized batch."""
        return x / (x.std() + 1)


class ByRunningMean(ff.normalization.Normalization):
    """Divides by a running mean of the batches before."""

    def __init__(self, in_place: bool) -> None:
        super().__init__()
        self.in_place = in_place
        self.register_buffer("mean", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalized batch."""
        output = x / (self.mean + 1)
        if self.training and self.in_place:
            self.mean.lerp_(x.detach().abs().mean(), 0.1)
        elif self.training:
            self.mean = self.mean.lerp(x.detach().abs().mean(), 0.1)
        return output


class Centered(nn.Module):
    """A block that subtracts the mean of the batch in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(12, 8)

    def forward(self, x: Tensor) -> Tensor:
        """Return the centered batch."""
        y: Tensor = self.linear(x)
        return y - y.mean(0) if self.training else y


class Dropping(Centered):
    """A block with dropout that is no module."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        return F.dropout(self.linear(x), 0.5, self.training)


class Skipping(Centered):
    """A block that leaves its layer out at random, by numbers of Python."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        return self.linear(x) * (random.random() if self.training else 0.5)


def centered_goodness(activations: Tensor) -> Tensor:
    """A goodness that compares the samples of a batch."""
    return activations.sum(1) - activations.sum(1).mean()


def pair(*layers: nn.Module, **options: Any) -> ff.FFSequential:
    """A network with a pair objective, whose first layer shares the product with both labels."""
    settings: dict[str, Any] = {
        "goodness": ff.goodness.SumOfSquares(),
        "loss": ff.losses.Threshold(theta=2.0),
        "normalization": ff.normalization.RMSNorm(),
        "label_encoder": ff.label_encoders.Overlay(3),
        "input_shape": (12,),
    }
    layers = layers or (ff.FFLinear(12, 8), ff.FFLinear(8, 7))
    return ff.FFSequential(*layers, **{**settings, **options}).double()


def per_class(*layers: nn.Module, **options: Any) -> ff.FFSequential:
    """A network with a class objective."""
    goodness, loss = ff.goodness.LearnedProjection(3), ff.losses.CrossEntropy()
    return pair(*layers, **{"goodness": goodness, "loss": loss, "label_encoder": None, **options})


def skipping() -> ff.FFSequential:
    """A network with a skip connection."""
    residual = ff.layers.SkipConnection(2)
    layers = (ff.FFLinear(12, 8), ff.FFLinear(8, 8), ff.FFLinear(8, 8, residual=residual))
    return pair(*layers, normalization=ff.normalization.BatchNorm())


REFUSED: dict[str, tuple[Callable[[], ff.FFSequential], str]] = {
    "normalization": (lambda: pair(normalization=ByDeviation()), r"normalization of layer 0 .* got ByDeviation\(\)"),
    "function": (
        lambda: per_class(normalization=lambda x: x / (x.std() + 1)),
        "normalization of layer 0 .* got the function <lambda>",
    ),
    "second layer": (
        lambda: pair(ff.FFLinear(12, 8), ff.FFLinear(8, 7, normalization=ByDeviation())),
        "normalization of layer 1 ",
    ),
    "block": (lambda: per_class(ff.FFLayer(Centered(), activation=nn.ReLU())), r"block of layer 0 .* got Centered\("),
    "activation": (
        lambda: pair(ff.FFLayer(nn.Linear(12, 8), activation=lambda y: y - y.amax())),
        "activation of layer 0 .* got the function <lambda>",
    ),
    "goodness": (lambda: pair(goodness=centered_goodness), "goodness of layer 0 .* got the function centered_goodness"),
    "buffer": (lambda: pair(normalization=ByRunningMean(True)), "normalization.mean of layer 0 .* got ByRunningMean"),
    "new buffer": (lambda: pair(normalization=ByRunningMean(False)), "normalization.mean of layer 0 "),
}

ACCEPTED: dict[str, Callable[[], ff.FFSequential]] = {
    "dropout": lambda: per_class(ff.FFLayer(nn.Sequential(nn.Linear(12, 8), nn.Dropout(), nn.ReLU()))),
    "functional dropout": lambda: pair(ff.FFLayer(Dropping(), activation=nn.ReLU())),
    "stochastic depth": lambda: per_class(ff.FFLayer(Skipping(), activation=nn.ReLU())),
    "spectral norm": lambda: per_class(ff.FFLayer(nn.utils.parametrizations.spectral_norm(nn.Linear(12, 8)))),
    "shared statistics of labeled inputs": lambda: pair(normalization=ff.normalization.BatchNorm()),
    "shared statistics": lambda: per_class(
        normalization=ff.normalization.BatchNorm(affine=True), peer=ff.normalization.PeerNormalization()
    ),
    "shared running statistics": lambda: per_class(normalization=ff.normalization.BatchNorm(statistics="running")),
    "shared statistics in a block": lambda: per_class(
        ff.FFLayer(nn.Sequential(nn.Linear(12, 8), ff.normalization.BatchNorm(), nn.ReLU()))
    ),
    "scripted": lambda: per_class(ff.FFLayer(torch.jit.script(nn.Sequential(nn.Linear(12, 8), nn.ReLU())))),
    "float32": lambda: pair().float(),
    "skip connection": skipping,
}


def fit(model: ff.FFSequential, **options: Any) -> None:
    """Train for an epoch."""
    images, labels = data("pair")
    ff.fit(model, (images.to(model.dtype), labels), epochs=1, batch_size=8, progress=False, **options)


@pytest.mark.parametrize("case", REFUSED)
def test_a_part_that_depends_on_the_batch_is_refused_by_name(case: str) -> None:
    make, words = REFUSED[case]
    with process_group() as ranks, pytest.raises(ValueError, match=f"^{words}") as caught:
        fit(make(), parallel=DataParallel(ranks))
    assert "must not depend on the other samples of a batch, which is divided among processes" in str(caught.value)
    with pytest.raises(ValueError, match=f"^{words}") as caught:
        fit(make(), micro_batch_size=4)
    assert "which is divided among micro-batches" in str(caught.value)


@pytest.mark.parametrize("case", ACCEPTED)
@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*")
def test_other_parts_are_accepted_and_unchanged(case: str) -> None:
    torch.manual_seed(0)
    model = ACCEPTED[case]().eval()
    model.layers[0].train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes, generator = [module.training for module in model.modules()], torch.get_rng_state()
    images, labels = data("pair")
    generator_of_negatives = torch.Generator().manual_seed(0)
    samples, _, _ = model.samples((images[:2].to(model.dtype), labels[:2]), generator_of_negatives)
    check_independence(model.stack, samples, "parts")
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    fit(model, micro_batch_size=4)


def test_the_trial_compares_training_mode_within_rounding() -> None:
    """In bfloat16 too; batch normalization of torch, an exception of micro-batches, is not tried."""
    model = per_class(ff.FFLayer(nn.Sequential(nn.Linear(12, 8), nn.BatchNorm1d(8), nn.ReLU()))).float()
    fit(model, micro_batch_size=4, precision="bf16")
    assert int(model[0].block[1].num_batches_tracked) == 9  # two parts of each of four batches, and the last
