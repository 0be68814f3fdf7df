"""Any module as the block of a layer: recurrent, attention, residual and lazy blocks, tuples and mappings."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import forwardforward as ff
from forwardforward.goodness import LearnedProjection
from forwardforward.layers import FFLayer
from forwardforward.pooling import SequencePool, SpatialPool
from forwardforward.step import WholeStep

TIME, FEATURES, CLASSES, SAMPLES = 5, 8, 3, 22
SEQUENCE = (TIME, FEATURES)
IMAGE = (2, 6, 6)


class ResNetBlock(nn.Module):
    """Two convolutions with batch normalization, and a skip connection of its own."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(out_channels)
        self.second = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(out_channels)
        self.skip = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out = self.second_norm(self.second(self.first_norm(self.first(x)).relu()))
        return out + self.skip(x)


class WithExtras(nn.Module):
    """A dense block that returns its output first, and other values after it."""

    def __init__(self, in_features: int, out_features: int, wrap: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, out_features)
        self.wrap = wrap

    def forward(self, x: Tensor) -> Any:
        return self.wrap(self.linear(x))


def as_tuple(x: Tensor) -> tuple[Tensor, None, Tensor]:
    return x, None, x.new_zeros(7)


def as_list(x: Tensor) -> list[Tensor]:
    return [x, -x]


def as_mapping(x: Tensor) -> dict[str, Tensor]:
    return {"hidden": x, "negated": -x}


#: Name to the shape of one input, and a function that makes the blocks.
BLOCKS: dict[str, tuple[tuple[int, ...], Callable[[], Sequence[nn.Module]]]] = {
    "LSTM": (
        SEQUENCE,
        lambda: [nn.LSTM(FEATURES, 6, batch_first=True), nn.LSTM(6, 4, bidirectional=True, batch_first=True)],
    ),
    "GRU": (
        SEQUENCE,
        lambda: [nn.GRU(FEATURES, 6, batch_first=True), nn.GRU(6, 4, num_layers=2, batch_first=True)],
    ),
    "MultiheadAttention": (
        SEQUENCE,
        lambda: [nn.MultiheadAttention(FEATURES, heads, batch_first=True) for heads in (2, 4)],
    ),
    "TransformerEncoderLayer": (
        SEQUENCE,
        lambda: [nn.TransformerEncoderLayer(FEATURES, heads, 16, batch_first=True) for heads in (2, 4)],
    ),
    "TransformerEncoderLayer without dropout": (
        SEQUENCE,
        lambda: [nn.TransformerEncoderLayer(FEATURES, heads, 16, 0.0, batch_first=True) for heads in (2, 4)],
    ),
    "ResNet": (IMAGE, lambda: [ResNetBlock(2, 4), ResNetBlock(4, 6, stride=2)]),
    "behind Flatten": (
        IMAGE,
        lambda: [nn.Conv2d(2, 4, 3), nn.Sequential(nn.Flatten(), nn.Linear(4 * 4 * 4, 6)), nn.Linear(6, 6)],
    ),
    "LazyLinear": (IMAGE, lambda: [nn.Sequential(nn.Flatten(), nn.LazyLinear(7)), nn.LazyLinear(6)]),
    "tuple": ((FEATURES,), lambda: [WithExtras(FEATURES, 6, as_tuple), WithExtras(6, 5, as_tuple)]),
    "list": ((FEATURES,), lambda: [WithExtras(FEATURES, 6, as_list), WithExtras(6, 5, as_list)]),
    "mapping": ((FEATURES,), lambda: [WithExtras(FEATURES, 6, as_mapping), WithExtras(6, 5, as_mapping)]),
}


def make_model(kind: str, **options: Any) -> ff.FFSequential:
    return ff.FFSequential(
        *(FFLayer(block) for block in BLOCKS[kind][1]()),
        goodness=LearnedProjection(CLASSES),
        loss=ff.losses.CrossEntropy(),
        normalization=ff.normalization.LayerNorm(),
        **options,
    )


def make_data(kind: str) -> tuple[Tensor, Tensor]:
    return torch.rand(SAMPLES, *BLOCKS[kind][0]), torch.arange(SAMPLES) % CLASSES


@pytest.mark.parametrize("shape_known", [False, True], ids=["first batch", "input_shape"])
@pytest.mark.parametrize("kind", BLOCKS)
def test_any_block_is_trained_predicts_and_is_evaluated(kind: str, shape_known: bool) -> None:
    data = make_data(kind)
    model = make_model(kind, input_shape=BLOCKS[kind][0] if shape_known else None)
    assert model.is_set_up == shape_known
    model.predict(data[0][:1])  # so that all parameters exist
    before = copy.deepcopy(model)
    history = ff.fit(model, data, epochs=1, batch_size=8, progress=False)
    assert len(history) == 1
    for layer, layer_before in zip(model, before, strict=True):
        parameters = dict(layer_before.named_parameters())
        assert parameters
        for name, parameter in layer.named_parameters():
            assert parameter.isfinite().all()
            assert not torch.equal(parameter, parameters[name]), name
    predictions = model.predict(data[0])
    assert predictions.shape == (SAMPLES,)
    torch.testing.assert_close(model.predict_proba(data[0]).sum(1), torch.ones(SAMPLES))
    evaluation = ff.evaluate(model, data, batch_size=7)
    assert evaluation.samples == SAMPLES
    assert evaluation.error == pytest.approx(100 * (predictions != data[1]).double().mean().item())
    assert len(evaluation.layer_errors) == len(model)


@pytest.mark.parametrize("kind", BLOCKS)
def test_a_network_of_any_block_is_trained_by_fit_from_its_first_batch(kind: str) -> None:
    model = make_model(kind)
    ff.fit(model, make_data(kind), epochs=1, batch_size=8, progress=False)
    assert model.is_set_up
    assert model.predict(make_data(kind)[0]).shape == (SAMPLES,)


@pytest.mark.parametrize("kind", BLOCKS)
def test_no_gradient_flows_from_a_block_to_the_one_before(kind: str) -> None:
    """Each block's gradient is that of its own loss on the detached output of the block before."""
    data = make_data(kind)
    model = make_model(kind, input_shape=BLOCKS[kind][0]).eval()
    plain = copy.deepcopy(model)
    x = data[0]
    for layer in plain:
        x, local = layer.local_loss(x.detach(), ff.Batch(x, data[1]))
        local.loss.backward()
    model.step(data, ff.LocalOptimizer(torch.optim.SGD, lr=0.0))
    for parameter, expected in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, expected.grad)


@pytest.mark.parametrize("kind", BLOCKS)
def test_the_state_dict_restores_a_network_of_any_block(kind: str) -> None:
    model = make_model(kind, input_shape=BLOCKS[kind][0])
    other = make_model(kind, input_shape=BLOCKS[kind][0])
    other.load_state_dict(model.state_dict())
    images, _ = make_data(kind)
    torch.testing.assert_close(other.layer_goodness(images), model.layer_goodness(images))


@pytest.mark.parametrize("kind", sorted(set(BLOCKS) - {"TransformerEncoderLayer"}))
def test_the_whole_step_and_the_layerwise_step_agree_for_any_block(kind: str) -> None:
    model = make_model(kind, input_shape=BLOCKS[kind][0])
    other = copy.deepcopy(model)
    data = make_data(kind)
    model.step(data, ff.LocalOptimizer(torch.optim.SGD, lr=0.1))
    other.step(data, ff.LocalOptimizer(torch.optim.SGD, lr=0.1), whole_step=WholeStep())
    torch.testing.assert_close(other.state_dict(), model.state_dict())


@pytest.mark.parametrize("make", [as_tuple, as_list, as_mapping])
def test_of_several_values_the_first_is_the_blocks_output(make: Callable[[Tensor], Any]) -> None:
    block = WithExtras(4, 3, make)
    x = torch.rand(2, 4)
    torch.testing.assert_close(FFLayer(block, activation=nn.ReLU())(x), block.linear(x).relu())


@pytest.mark.parametrize("make", [lambda x: (None, x), lambda x: {}, lambda x: None], ids=["tuple", "mapping", "None"])
def test_a_block_without_a_tensor_as_its_first_value_is_refused(make: Callable[[Tensor], Any]) -> None:
    message = "^block must return a tensor, or a tuple or mapping that begins with one, got None$"
    with pytest.raises(TypeError, match=message):
        FFLayer(WithExtras(4, 3, make), input_shape=(4,))


def test_an_attention_block_attends_to_its_input() -> None:
    block = nn.MultiheadAttention(FEATURES, 2, batch_first=True)
    x = torch.rand(3, *SEQUENCE)
    torch.testing.assert_close(FFLayer(block)(x), block(x, x, x)[0])


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.LSTM(FEATURES, 6),
        lambda: nn.GRU(FEATURES, 6),
        lambda: nn.RNN(FEATURES, 6),
        lambda: nn.MultiheadAttention(FEATURES, 2),
        lambda: nn.TransformerEncoderLayer(FEATURES, 2, 16),
        lambda: nn.Sequential(nn.Linear(FEATURES, FEATURES), nn.LSTM(FEATURES, 6)),
    ],
    ids=["LSTM", "GRU", "RNN", "MultiheadAttention", "TransformerEncoderLayer", "inside a sequence"],
)
def test_blocks_without_the_batch_first_are_refused(make: Callable[[], nn.Module]) -> None:
    with pytest.raises(ValueError, match="^block must be constructed with batch_first=True, got "):
        FFLayer(make())
    with pytest.raises(ValueError, match="^block must be constructed with batch_first=True, got "):
        ff.FFSequential(make(), goodness=LearnedProjection(CLASSES), loss=ff.losses.CrossEntropy())


@pytest.mark.parametrize(
    ("pool", "rows", "values"),
    [
        (None, lambda h: h.flatten(1), TIME * 6),
        (SequencePool(channels_last=True), lambda h: h.mean(1), 6),
        (SequencePool(kind="max", channels_last=True), lambda h: h.amax(1), 6),
    ],
    ids=["flattened", "mean over time", "maximum over time"],
)
def test_a_projection_reads_sequences(pool: nn.Module | None, rows: Callable[[Tensor], Tensor], values: int) -> None:
    layer = FFLayer(
        nn.LSTM(FEATURES, 6, batch_first=True),
        goodness=LearnedProjection(CLASSES, pool=pool),
        loss=ff.losses.CrossEntropy(),
    )
    model = ff.FFSequential(layer, input_shape=SEQUENCE)
    weight = model[0].objective.goodness.weight
    assert weight.shape == (CLASSES, values)
    images, labels = torch.rand(SAMPLES, *SEQUENCE), torch.arange(SAMPLES) % CLASSES
    expected = rows(model(images)) @ weight.T
    torch.testing.assert_close(model.layer_goodness(images)[:, 0], expected.detach())
    ff.fit(model, (images, labels), epochs=1, batch_size=8, progress=False)
    assert ff.evaluate(model, (images, labels)).samples == SAMPLES


def test_a_pooled_projection_accepts_sequences_of_any_length() -> None:
    pooled = LearnedProjection(CLASSES, pool=SequencePool(channels_last=True))
    model = ff.FFSequential(
        nn.GRU(FEATURES, 6, batch_first=True), goodness=pooled, loss=ff.losses.CrossEntropy(), input_shape=SEQUENCE
    )
    assert model.predict(torch.rand(4, 2 * TIME, FEATURES)).shape == (4,)
    flat = ff.FFSequential(
        nn.GRU(FEATURES, 6, batch_first=True),
        goodness=LearnedProjection(CLASSES),
        loss=ff.losses.CrossEntropy(),
        input_shape=SEQUENCE,
    )
    with pytest.raises(ValueError, match=r"^activations must have 30 values per sample, got 60; pool="):
        flat.predict(torch.rand(4, 2 * TIME, FEATURES))


def test_residual_blocks_learn_from_pairs_with_label_channels_and_a_head() -> None:
    model = ff.FFSequential(
        FFLayer(ResNetBlock(3, 4), activation=nn.ReLU(), pool=nn.MaxPool2d(2)),
        FFLayer(ResNetBlock(4, 6), activation=nn.ReLU()),
        goodness=ff.goodness.MeanOfSquares(),
        loss=ff.losses.SymBa(),
        label_encoder=ff.label_encoders.RandomChannel(CLASSES, 6),
        peer=ff.normalization.PeerNormalization(),
        head=ff.heads.LinearHead(CLASSES, pool=SpatialPool(1)),
    )
    data = make_data("ResNet")
    ff.fit(model, data, epochs=1, batch_size=8, progress=False)
    evaluation = ff.evaluate(model, data)
    assert evaluation.samples == SAMPLES
    assert 0 <= evaluation.head_error <= 100
    assert len(evaluation.layer_accuracies) == 2
