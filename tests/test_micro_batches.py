"""Tests of gradient accumulation: parts of a batch give the step of the whole batch, in float64."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import forwardforward as ff
from forwardforward.step import MicroBatches, WholeStep


def pair_network(**options: Any) -> ff.FFSequential:
    """A network with a pair objective."""
    plugins: dict[str, Any] = {
        "goodness": ff.goodness.SumOfSquares(),
        "loss": ff.losses.SymBa(),
        "normalization": ff.normalization.RMSNorm(),
        "label_encoder": ff.label_encoders.Concatenation(3),
        "input_shape": (8,),
    }
    return ff.FFSequential(ff.FFLinear(11, 7), ff.FFLinear(7, 6), ff.FFLinear(6, 5), **{**plugins, **options})


def class_network(**options: Any) -> ff.FFSequential:
    """A network with a class objective."""
    plugins: dict[str, Any] = {"goodness": ff.goodness.LearnedProjection(3), "loss": ff.losses.CrossEntropy()}
    layers = ff.FFLinear(8, 7), ff.FFLinear(7, 6), ff.FFLinear(6, 5)
    return ff.FFSequential(*layers, **{**plugins, **options})


def summed(goodness: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(goodness, targets, reduction="sum")


def hinges(positive: Tensor, negative: Tensor) -> Tensor:
    return torch.relu(1 - positive + negative).sum()


def convolutions() -> ff.FFSequential:
    block = nn.Sequential(nn.Unflatten(1, (2, 2, 2)), nn.Conv2d(2, 6, 2, padding=1))
    layer = ff.FFLayer(block, activation=nn.ReLU())
    return ff.FFSequential(layer, goodness=ff.goodness.ClassGroups(3), loss=ff.losses.CrossEntropy(), input_shape=(8,))


def with_head() -> ff.FFSequential:
    plugins: dict[str, Any] = {"negatives": ff.negatives.SelfContrast(), "num_classes": 3}
    layers = ff.FFLinear(8, 6), ff.FFLinear(6, 5)
    return ff.FFSequential(*layers, goodness=ff.goodness.SumOfSquares(), loss=ff.losses.Threshold(1.0), **plugins)


def learned_label() -> ff.FFSequential:
    first = ff.FFLayer(nn.Sequential(nn.Flatten(), nn.LazyLinear(6)), activation=nn.ReLU())
    plugins: dict[str, Any] = {"label_encoder": ff.label_encoders.LearnedChannel(3, size=(2, 4))}
    goodness, loss = ff.goodness.SumOfSquares(), ff.losses.SymBa()
    return ff.FFSequential(first, ff.FFLinear(6, 5), goodness=goodness, loss=loss, input_shape=(1, 2, 4), **plugins)


def with_objective(network: Any, objective: ff.objectives.Objective, **options: Any) -> ff.FFSequential:
    return network(goodness=None, loss=None, objective=objective, **options)


SUMMED_PAIRS = ff.objectives.PairObjective(ff.goodness.MeanOfSquares(), hinges)
SUMMED_CLASSES = ff.objectives.ClassObjective(ff.goodness.LearnedProjection(3), summed)
NETWORKS: dict[str, Any] = {
    "pair": pair_network,
    "pair, hard negatives and head": lambda: pair_network(negatives=ff.negatives.HardLabel()),
    "pair, sum": lambda: with_objective(pair_network, SUMMED_PAIRS),
    "pair without labels, head": with_head,
    "class": class_network,
    "class, sum": lambda: with_objective(class_network, SUMMED_CLASSES),
    "convolution": convolutions,
    "learned label": learned_label,
}
GROUPS: dict[str, Any] = {
    "single layers": lambda depth: None,
    "one group": lambda depth: [range(depth)],
    "overlapping": lambda depth: [range(max(0, i - 1), i + 1) for i in range(depth)],
}


@pytest.mark.parametrize(
    ("groups", "form"), [("single layers", "layerwise"), ("overlapping", "layerwise"), ("one group", "whole")]
)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_in_parts_is_the_step_of_the_whole_batch(name: str, groups: str, form: str) -> None:
    torch.manual_seed(0)
    images, labels = torch.rand(10, 8, dtype=torch.float64), torch.randint(3, (10,))
    images = images.view(-1, 1, 2, 4) if name == "learned label" else images
    whole = NETWORKS[name]().double()
    parts = copy.deepcopy(whole)
    results = []
    for model, micro_batches in ((whole, None), (parts, MicroBatches(3))):  # parts of 3, 3 and 4 samples
        optimizer = ff.LocalOptimizer(torch.optim.SGD, lr=0.1, momentum=0.9)
        for seed in (0, 1):
            result = model.step(
                (images, labels), optimizer, groups=GROUPS[groups](len(model)), monitor=True,
                generator=torch.Generator().manual_seed(seed), micro_batches=micro_batches,
                whole_step=WholeStep() if form == "whole" else None,
            )  # fmt: skip
        results.append(result)
    for key, value in whole.state_dict().items():
        torch.testing.assert_close(parts.state_dict()[key], value, rtol=1e-10, atol=1e-12, msg=key)
    expected, got = results
    for layer, local in expected.layers.items():
        for figure in ("loss", "positive", "negative", "accuracy"):
            torch.testing.assert_close(getattr(got.layers[layer], figure), getattr(local, figure), msg=figure)
        torch.testing.assert_close(got.gradient_norms[layer], expected.gradient_norms[layer])
    assert (got.head is None) == (expected.head is None)


def test_fit_in_parts_gives_the_same_training() -> None:
    torch.manual_seed(0)
    data = ff.TensorData(torch.rand(50, 8, dtype=torch.float64), torch.arange(50) % 3)
    model = pair_network(negatives=ff.negatives.HardLabel()).double()
    other = copy.deepcopy(model)
    options: dict[str, Any] = {"epochs": 2, "batch_size": 20, "progress": False}
    history = ff.fit(model, data, **options)
    in_parts = ff.fit(other, data, micro_batch_size=6, **options)
    for key, value in model.state_dict().items():
        torch.testing.assert_close(other.state_dict()[key], value, rtol=1e-9, atol=1e-11)
    assert in_parts[-1]["layers"][0]["loss"] == pytest.approx(history[-1]["layers"][0]["loss"])


@pytest.mark.slow
def test_compiled_parts_give_the_same_training() -> None:
    torch.manual_seed(0)
    data = ff.TensorData(torch.rand(40, 8, dtype=torch.float64), torch.arange(40) % 3)
    model = class_network().double()
    other = copy.deepcopy(model)
    ff.fit(model, data, epochs=2, batch_size=20, progress=False)
    ff.fit(other, data, epochs=2, batch_size=20, progress=False, compile=True, micro_batch_size=5)
    for key, value in model.state_dict().items():
        torch.testing.assert_close(other.state_dict()[key], value, rtol=1e-9, atol=1e-11)


def test_peer_means_are_updated_once_per_part() -> None:
    torch.manual_seed(0)
    model = pair_network(peer=ff.normalization.PeerNormalization(), loss=ff.losses.Threshold(1.0))
    batch = torch.rand(6, 8), torch.arange(6) % 3
    reference = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(0)
    optimizer = ff.LocalOptimizer(torch.optim.SGD, lr=0.0)
    model.step(batch, optimizer, generator=generator, micro_batches=MicroBatches(2))
    expected = torch.full((7,), 0.5)
    positive = reference.label_encoder(*batch)
    for part in positive.part(slice(0, 2)), positive.part(slice(2, 4)), positive.part(slice(4, 6)):
        expected = 0.9 * expected + 0.1 * reference[0].outputs(part).activation.mean(0)
    torch.testing.assert_close(model[0].peer.means, expected)


WEIGHTED = ff.objectives.ClassObjective(
    ff.goodness.LearnedProjection(3), nn.CrossEntropyLoss(torch.tensor([1.0, 2.0, 3.0]))
)


def mixed() -> ff.FFSequential:
    goodness, loss = ff.goodness.LearnedProjection(3), ff.losses.CrossEntropy()
    return ff.FFSequential(ff.FFLinear(8, 7, objective=SUMMED_CLASSES), ff.FFLinear(7, 7, goodness=goodness, loss=loss))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (
            lambda: class_network(goodness=None, loss=ff.losses.SupervisedContrastive(), num_classes=3),
            "got SupervisedContrastive in layer 0, which compares the samples of a batch",
        ),
        (
            lambda: with_objective(class_network, WEIGHTED),
            "got CrossEntropyLoss in layer 0, which compares the samples of a batch",
        ),
        (mixed, "got a sum in layer 0 and a mean in layer 1"),
        (
            lambda: with_objective(pair_network, SUMMED_PAIRS, peer=ff.normalization.PeerNormalization()),
            "peer normalization, whose term is one, got a sum in layer 0",
        ),
    ],
)
def test_losses_that_parts_would_change_are_refused(network: Any, message: str) -> None:
    torch.manual_seed(0)
    model = network()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        ff.fit(model, (torch.rand(12, 8), torch.arange(12) % 3), micro_batch_size=4, epochs=1, progress=False)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_a_loss_that_is_zero_at_first_is_measured_where_it_is_not() -> None:
    def late(goodness: Tensor, targets: Tensor) -> Tensor:
        return torch.relu(goodness - 1.2).sum()

    objective = ff.objectives.ClassObjective(lambda h: h[:, :3], late)
    model = class_network(goodness=None, loss=None, objective=objective)
    micro_batches = MicroBatches(2)
    model.step((torch.rand(6, 8), torch.arange(6) % 3), ff.LocalOptimizer(torch.optim.SGD, lr=0.1),
               micro_batches=micro_batches)  # fmt: skip
    assert set(micro_batches._measured.values()) == {"sum"}


def test_only_the_steps_of_layers_are_divided() -> None:
    data = torch.rand(12, 8), torch.arange(12) % 3
    baseline = ff.baselines.Backpropagation(ff.FFLinear(8, 6), num_classes=3)
    for model in (baseline, ff.replicate(class_network, [0, 1])):
        with pytest.raises(ValueError, match="micro_batch_size must be None for"):
            ff.fit(model, data, micro_batch_size=4, progress=False)


def test_a_part_of_a_batch_keeps_samples_with_their_negatives() -> None:
    images, labels = torch.rand(5, 4), torch.tensor([0, 1, 2, 0, 1])
    encoder = ff.label_encoders.Concatenation(3)
    labeled = ff.Batch(encoder(images, torch.stack([labels, (labels + 1) % 3])), labels, has_negatives=True)
    plain = ff.Batch(labeled.inputs.joined(), labels, has_negatives=True)
    part = labeled.part(slice(2, 5))
    assert (labeled.samples, part.samples) == (5, 3)
    expected = torch.cat([plain.inputs[2:5], plain.inputs[7:10]])
    assert torch.equal(part.inputs.joined(), expected)
    assert torch.equal(plain.part(slice(2, 5)).inputs, expected)
    assert part.targets.tolist() == [2, 0, 1]
