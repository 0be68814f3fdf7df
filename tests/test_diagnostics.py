"""Tests of probes and distributions of trained networks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import forwardforward as ff
from forwardforward.diagnostics import goodness_distributions, layer_errors, probe

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
