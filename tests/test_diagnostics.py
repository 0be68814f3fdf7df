"""Tests of probes and distributions of trained networks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import forwardforward as ff
from forwardforward.baselines import Backpropagation, FeedbackAlignment, Pepita
from forwardforward.diagnostics import goodness_distributions, grad_cam, layer_errors, probe
from forwardforward.training.randomness import derive_generator

pytest.importorskip("matplotlib")


def network(convolutional: bool = False) -> ff.FFSequential:
    torch.manual_seed(0)
    layers = [ff.FFConv2d(1, 4, 3), ff.FFConv2d(4, 6, 3)] if convolutional else [ff.FFLinear(6, 8), ff.FFLinear(8, 8)]
    pool = ff.pooling.SpatialPool(1) if convolutional else None
    return ff.FFSequential(
        *layers,
        goodness=ff.goodness.LearnedProjection(3, pool=pool),
        loss=ff.losses.CrossEntropy(),
        input_shape=(1, 8, 8) if convolutional else (6,),
    )


def data(convolutional: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(60) % 3
    shape = (60, 1, 8, 8) if convolutional else (60, 6)
    return torch.randn(shape, generator=generator) + labels.view(-1, *[1] * (len(shape) - 1)), labels


@pytest.mark.parametrize("hidden", [0, 5])
@pytest.mark.parametrize("convolutional", [False, True])
@pytest.mark.slow
def test_a_probe_reads_each_layer_and_does_not_change_the_model(convolutional: bool, hidden: int) -> None:
    model, (x, y) = network(convolutional), data(convolutional)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = torch.get_rng_state()
    errors = probe(model, (x, y), (x, y), epochs=150, batch_size=20, lr=0.01, hidden=hidden)
    assert len(errors) == 2
    assert all(error < 35 for error in errors)  # of 67 by chance
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert probe(model, (x, y), (x, y), epochs=1) == probe(model, (x, y), (x, y), epochs=1)
    assert model.training


@pytest.mark.parametrize("kind", ["arrays", "loader"])
def test_data_are_read_as_in_an_evaluation(kind: str) -> None:
    x, y = data()
    pairs = torch.utils.data.TensorDataset(x, y)
    samples = (x.numpy(), y.numpy()) if kind == "arrays" else torch.utils.data.DataLoader(pairs, batch_size=20)
    model = network().double()
    assert len(probe(model, samples, samples, epochs=1)) == 2
    assert len(goodness_distributions(model, samples)[1]) == 2


def test_distributions_need_labels() -> None:
    with pytest.raises(ValueError, match="data must have labels for the goodness"):
        goodness_distributions(network(), data()[0])


def test_a_probe_needs_labels() -> None:
    with pytest.raises(ValueError, match="data must have labels for a probe"):
        probe(network(), ff.TensorData(data()[0]), data())


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"batch_size": 0}, {"hidden": -1}])
def test_a_probe_needs_whole_numbers(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
        probe(network(), data(), data(), **wrong)


def test_errors_are_drawn_beside_each_other(tmp_path: Path) -> None:
    evaluation = ff.evaluate(network(), data())
    path = tmp_path / "errors.png"
    _, axis = layer_errors(evaluation, (30.0, 20.0), path)
    assert [bar.get_height() for bar in axis.patches] == pytest.approx([*evaluation.layer_errors, 30.0, 20.0])
    assert path.stat().st_size > 0
    without_goodness = ff.training.Evaluation(10.0, None, None, None, None, 5)
    assert len(layer_errors(without_goodness, (1.0,))[1].patches) == 1
    with pytest.raises(ValueError, match="probes must be given if layers do not classify"):
        layer_errors(without_goodness)


def test_every_layers_goodness_is_counted_once(tmp_path: Path) -> None:
    _, axes = goodness_distributions(network(), data(), tmp_path / "goodness.png")
    assert [axis.get_title() for axis in axes] == ["layer 0", "layer 1"]
    for axis in axes:  # densities: the bars of each kind have area one
        for bars in axis.containers:
            assert sum(bar.get_height() * bar.get_width() for bar in bars) == pytest.approx(1)
    assert (tmp_path / "goodness.png").exists()


def with_nan(model: ff.network.Network, value: float) -> ff.network.Network:
    with torch.no_grad():
        next(iter(model.stack[0].block.parameters()))[0, 0] = value
    return model


def pairs(**plugins: Any) -> ff.FFSequential:
    defaults: dict[str, Any] = {
        "goodness": ff.goodness.MeanOfSquares(),
        "loss": ff.losses.SymBa(),
        "label_encoder": ff.label_encoders.Overlay(3),
    }
    return ff.FFSequential(ff.FFLinear(6, 8), ff.FFLinear(8, 7), **{**defaults, **plugins})


NETWORKS: dict[str, Callable[[], ff.network.Network]] = {
    "classes": network,
    "pairs": pairs,
    "pairs with a head": lambda: pairs(head=ff.heads.LinearHead(3)),
    "without labels": lambda: pairs(label_encoder=None, negatives=ff.negatives.SelfContrast(), num_classes=3),
    "embeddings": lambda: ff.FFSequential(
        ff.FFLinear(6, 8), ff.FFLinear(8, 7), loss=ff.losses.SupervisedContrastive(), num_classes=3
    ),
    "backpropagation": lambda: Backpropagation(ff.FFLinear(6, 8), ff.FFLinear(8, 7), num_classes=3),
    "feedback alignment": lambda: FeedbackAlignment(ff.FFLinear(6, 8), ff.FFLinear(8, 7), num_classes=3),
    "pepita": lambda: Pepita(ff.FFLinear(6, 8), ff.FFLinear(8, 7), num_classes=3),
}


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("kind", NETWORKS)
def test_every_measure_refuses_weights_that_are_not_finite(kind: str, value: float) -> None:
    model, samples = with_nan(NETWORKS[kind](), value), data()
    if model.head is not None:
        model.head.step(torch.rand(3, 7), samples[1][:3], ff.LocalOptimizer(torch.optim.SGD, lr=1.0).attach(model))
    measures: dict[str, Callable[[], Any]] = {
        "evaluate": lambda: ff.evaluate(model, samples),
        "predict": lambda: model.predict(samples[0]),
        "predict_proba": lambda: model.predict_proba(samples[0]),
        "scores": lambda: model.scores(samples[0]),
        "probe": lambda: probe(model, samples, samples, epochs=1),
    }
    if model.layers_classify:
        model.classifier = ff.classifiers.BestInterval()
        measures["distributions"] = lambda: goodness_distributions(model, samples)
        measures["choose_layers"] = lambda: ff.training.choose_layers(model, samples)
    for measure in measures.values():
        with pytest.raises(ValueError, match=r"^(scores|features) must be finite, got NaN or infinity"):
            measure()


def test_every_measure_refuses_a_head_and_a_classifier_that_return_nan() -> None:
    x, y = data()
    model = pairs(head=ff.heads.LinearHead(3))
    assert model.head is not None
    assert model.head.linear is not None
    nn.init.constant_(model.head.linear.weight, torch.nan)
    with pytest.raises(ValueError, match="^scores must be finite"):
        ff.evaluate(model, (x, y))
    for result, message in (
        (lambda goodness: goodness.sum(1) * torch.nan, "^classifier must return scores that are not NaN, got NaN from"),
        (lambda goodness: goodness.sum(2), r"^classifier must return scores of shape \(60, 3\), got \(60, 2\)"),
    ):
        model = pairs(classifier=result)
        for measure in (lambda model=model: ff.evaluate(model, (x, y)), lambda model=model: model.predict(x)):
            with pytest.raises(ValueError, match=message):
                measure()
    logarithms = pairs(classifier=lambda goodness: goodness.sum(1).argmax(1, keepdim=True).eq(torch.arange(3)).log())
    assert ff.evaluate(logarithms, (x, y)).error == ff.evaluate(pairs_like(logarithms), (x, y)).error


def pairs_like(model: ff.FFSequential) -> ff.FFSequential:
    """The same network with the sum over all layers as its classifier."""
    twin = pairs(classifier=ff.classifiers.SumOverLayers())
    twin.load_state_dict(model.state_dict())
    return twin


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_probe_reads_every_kind_of_network(kind: str) -> None:
    errors = probe(NETWORKS[kind](), data(), data(), epochs=30, lr=0.03)
    assert len(errors) == 2
    assert all(error < 60 for error in errors)  # of 67 by chance


def convolutions(channels: int = 1, **plugins: Any) -> ff.FFSequential:
    return ff.FFSequential(
        *(ff.FFConv2d(channels, 4, 3, padding=1, pool=2), ff.FFConv2d(4, 6, 3)),
        normalization=ff.normalization.BatchNorm(),
        input_shape=(1, 8, 8),
        **plugins,
    )


CONVOLUTIONS: dict[str, Callable[[], ff.network.Network]] = {
    "pairs with a label channel": lambda: convolutions(
        channels=2,
        goodness=ff.goodness.MeanOfSquares(),
        loss=ff.losses.SymBa(),
        label_encoder=ff.label_encoders.LearnedChannel(3, size=(8, 8)),
    ),
    "self-contrast by position": lambda: convolutions(
        goodness=ff.goodness.MeanOfSquaresByPosition(),
        loss=ff.losses.TwoThreshold(1.0, 2.0),
        negatives=ff.negatives.SelfContrast(),
    ),
    "embeddings": lambda: convolutions(loss=ff.losses.SupervisedContrastive()),
    "backpropagation": lambda: Backpropagation(ff.FFConv2d(1, 4, 3), ff.FFConv2d(4, 6, 3), num_classes=3),
    "replicas": lambda: ff.replicate(lambda: network(convolutional=True), [0, 1]),
}


@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_a_probe_reads_every_kind_of_convolutional_network(kind: str) -> None:
    samples = data(convolutional=True)
    errors = probe(CONVOLUTIONS[kind](), samples, samples, layers=[[0], [1], [0, 1]], epochs=30, lr=0.03)
    assert len(errors) == 3
    assert all(error < 60 for error in errors)  # of 67 by chance


def test_the_errors_of_replicas_are_means_over_the_members() -> None:
    replicas = ff.replicate(network, [3, 5])
    errors = probe(replicas, data(), data(), epochs=2)
    members = [probe(replicas.member(index), data(), data(), epochs=2) for index in range(2)]
    assert errors == pytest.approx([(a + b) / 2 for a, b in zip(*members, strict=True)])


@pytest.mark.parametrize("layers", [[[1, 0]], [[0], [1, 0]]], ids=["by itself", "with a layer in common"])
def test_a_classifier_of_several_layers_and_other_classes_is_that_of_a_loop(layers: list[list[int]]) -> None:
    model, (x, _) = network(), data()
    y, (x_test, y_test) = torch.arange(60) % 5, (x[::2] + 0.3, torch.arange(30) % 5)
    with torch.no_grad():
        rows, others = (
            [h / h.square().mean(1, keepdim=True).sqrt() for h in (model.activations(images)[i] for i in (1, 0))]
            for images in (x, x_test)
        )
    torch.manual_seed(7)
    classifier = nn.Linear(16, 5)
    optimizer = torch.optim.Adam(classifier.parameters(), lr=0.01)
    for epoch in range(4):
        order = torch.randperm(60, generator=derive_generator(7, epoch, "probe"))
        for start in range(0, 60, 25):
            chosen = order[start : start + 25]
            optimizer.zero_grad()
            logits = classifier(torch.cat([h[chosen] for h in rows], 1))
            nn.functional.cross_entropy(logits, y[chosen]).backward()
            optimizer.step()
    wrong = sum(int(a != b) for a, b in zip(classifier(torch.cat(others, 1)).argmax(1), y_test, strict=True))
    errors = probe(model, (x, y), (x_test, y_test), layers=layers, epochs=4, batch_size=25, lr=0.01, seed=7)
    assert errors[-1] == pytest.approx(100 * wrong / 30)
    assert len(errors) == len(layers)


@pytest.mark.parametrize("group", [[], [2], [0, 0]])
def test_a_classifier_needs_layers_of_the_network(group: list[int]) -> None:
    with pytest.raises(ValueError, match="layers must be different indices from 0 to 1 per classifier, got"):
        probe(network(), data(), data(), layers=[[0], group])


def test_a_probe_refuses_labels_below_0() -> None:
    x, y = data()
    with pytest.raises(ValueError, match="labels must be at least 0"):
        probe(network(), torch.utils.data.DataLoader([(a, b - 1) for a, b in zip(x, y, strict=True)]), (x, y))


def test_a_probe_reads_sequences() -> None:
    objective = ff.objectives.ClassObjective(
        ff.goodness.LearnedProjection(3, pool=ff.pooling.SequencePool(1)), ff.losses.CrossEntropy()
    )
    model = ff.FFSequential(ff.layers.FFEmbedding(9, 4), nn.Conv1d(4, 5, 3), objective=objective)
    words, labels = torch.randint(1, 9, (12, 8)), torch.arange(12) % 3
    samples = ff.TensorData(words, labels, num_embeddings=9)
    assert len(probe(model, samples, samples, epochs=1)) == 2


def test_the_map_of_every_layer_weighs_channels_by_the_gradient_of_its_goodness() -> None:
    torch.manual_seed(0)
    model = ff.FFSequential(
        ff.FFConv2d(2, 4, 3, padding=1, pool=2),
        ff.FFConv2d(4, 3, 3),
        ff.FFLinear(12, 5),
        goodness=ff.goodness.MeanOfSquares(),
        loss=ff.losses.SymBa(),
        normalization=ff.normalization.RMSNorm(),
        label_encoder=ff.label_encoders.RandomChannel(3, size=8),
    )
    images, labels = torch.rand(2, 1, 8, 8), torch.tensor([2, 0])
    found = grad_cam(model, images, labels)
    activations = model.activations(images, labels)
    assert set(found) == {0, 1}  # the last layer has rows, not maps
    for layer, maps in found.items():
        h = activations[layer].detach()
        channels, positions = h.shape[1], h.shape[2] * h.shape[3]
        for image in range(2):
            total = torch.zeros(h.shape[2:])
            for channel in range(channels):
                slope = sum(2 * value / (channels * positions) for value in h[image, channel].flatten().tolist())
                total += slope / positions * h[image, channel]
            torch.testing.assert_close(maps[image], total.clamp(min=0), rtol=1e-4, atol=1e-8)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_maps_of_goodness_per_class_and_networks_without_maps() -> None:
    torch.manual_seed(0)
    model = ff.FFSequential(
        ff.FFConv2d(1, 6, 3), goodness=ff.goodness.ClassGroups(3), loss=ff.losses.CrossEntropy(), input_shape=(1, 6, 6)
    )
    images = torch.rand(2, 1, 6, 6)
    h = model.activations(images)[0].detach()
    maps = grad_cam(model, images, torch.tensor([1, 0]))[0]
    slopes = 2 * h[0, 2:4].mean((1, 2)) / (2 * 16)  # the group of class 1
    torch.testing.assert_close(maps[0], (slopes[:, None, None] * h[0, 2:4]).sum(0).relu(), rtol=1e-4, atol=1e-8)
    assert grad_cam(pairs(), torch.rand(2, 6), torch.tensor([1, 0])) == {}
    unlabeled = pairs(label_encoder=None, negatives=ff.negatives.SelfContrast(), num_classes=3)
    with pytest.raises(ValueError, match="^model must have layers with a goodness of every class"):
        grad_cam(unlabeled, torch.rand(2, 6), torch.tensor([1, 0]))
    plain = ff.FFSequential(
        nn.Linear(6, 5), goodness=ff.goodness.ClassGroups(5), loss=ff.losses.CrossEntropy(), input_shape=(6,)
    )
    with pytest.raises(ValueError, match=r"^images must have shape \(6,\), as those of the setup, got \(4,\)$"):
        grad_cam(plain, torch.rand(2, 4), torch.tensor([1, 0]))
