"""Convolutional layers: their operations in every order, and label maps that are convolved once per class."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

import forwardforward as ff
from forwardforward.batches import Batch, LabeledInput
from forwardforward.label_encoders import (
    Concatenation,
    LabelChannel,
    LabelEncoder,
    LearnedChannel,
    Overlay,
    RandomChannel,
    WaveChannel,
)
from forwardforward.layers import NORMALIZE_FIRST, TRANSFORM_FIRST, FFConv2d, Residual
from forwardforward.normalization import BatchNorm, GroupNorm, Identity, LayerNorm, PeerNormalization, RMSNorm

CWCOMP = ("transform", "add", "activate", "pool", "normalize", "goodness")
PREACTIVATION = ("normalize", "activate", "transform", "add", "pool", "goodness")
ORDERS = {"normalize first": NORMALIZE_FIRST, "transform first": TRANSFORM_FIRST, "CwComp's": CWCOMP}
SIZE = (5, 4)
CLOSE = {"rtol": 1e-10, "atol": 1e-10}

CONVOLUTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "padded": {"padding": 1},
    "strided": {"stride": 2, "padding": 1},
    "oblong": {"kernel_size": (3, 2), "stride": (1, 2), "padding": (2, 0)},
    "dilated": {"dilation": (1, 2), "padding": 2},
    "same": {"padding": "same"},
    "reflecting": {"padding": 1, "padding_mode": "reflect"},
    "grouped": {"groups": 2, "padding": 1},
    "no bias": {"bias": False, "padding": 1},
}


def randomized(module: nn.Module) -> None:
    """Change every parameter from its initial value, so that no bias is 0 and no scale is 1."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))


# The layer by itself


def double(**options: Any) -> FFConv2d:
    layer = FFConv2d(2, 4, **{"kernel_size": 3, "normalization": RMSNorm(), **options}).double()
    randomized(layer)
    return layer


@pytest.mark.parametrize("pool", [None, 2, (1, 2), nn.AvgPool2d(2)], ids=str)
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_operations_are_applied_in_the_layers_order(kind: str, order: str, pool: Any) -> None:
    layer = double(order=ORDERS[order], pool=pool, activation=nn.ELU(), **CONVOLUTIONS[kind])
    options = {"kernel_size": 3, **CONVOLUTIONS[kind]}
    plain = nn.Conv2d(2, 4, **options).double()
    plain.load_state_dict(layer.block.state_dict())
    x = torch.randn(3, 2, 8, 7, dtype=torch.float64)

    def normalize(maps: Tensor) -> Tensor:
        return maps / maps.square().mean((1, 2, 3), keepdim=True).add(1e-8).sqrt()

    def pooled(maps: Tensor) -> Tensor:
        if isinstance(pool, nn.Module):
            return pool(maps)
        return maps if pool is None else F.max_pool2d(maps, pool)

    outputs = layer.outputs(x)
    if order == "normalize first":
        z = plain(normalize(x))
        out = pooled(F.elu(z))
    elif order == "transform first":
        z = normalize(plain(x))
        out = pooled(F.elu(z))
    else:
        z = plain(x)
        out = normalize(pooled(F.elu(z)))
    for actual, expected in zip(outputs, (z, F.elu(z), out, out), strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)
    assert outputs.output is outputs.goodness_input
    torch.testing.assert_close(layer(x), outputs.output)


@pytest.mark.parametrize(("stride", "padding", "dilation", "groups"), [(1, 0, 1, 1), (2, 1, 1, 2), (1, 2, 2, 1)])
def test_a_convolution_equals_a_plain_loop(stride: int, padding: int, dilation: int, groups: int) -> None:
    layer = double(stride=stride, padding=padding, dilation=dilation, groups=groups, normalization=None)
    x = torch.randn(2, 2, 5, 4, dtype=torch.float64)
    maps = layer(x)
    images, weight, bias = x.tolist(), layer.block.weight.tolist(), layer.block.bias.tolist()
    inside = 2 // groups
    for n, image in enumerate(images):
        for o in range(4):
            first = o // (4 // groups) * inside  # first input channel of the filter's group
            for row in range(maps.shape[2]):
                for column in range(maps.shape[3]):
                    z = bias[o]
                    for i in range(inside):
                        for a in range(3):
                            for b in range(3):
                                y = row * stride + a * dilation - padding
                                x_ = column * stride + b * dilation - padding
                                if 0 <= y < 5 and 0 <= x_ < 4:
                                    z += weight[o][i][a][b] * image[first + i][y][x_]
                    assert maps[n, o, row, column].item() == pytest.approx(max(z, 0), rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("pool", [2, 3, (1, 2), nn.MaxPool2d(3, stride=2, padding=1)], ids=str)
@pytest.mark.parametrize("order", ORDERS)
def test_gradients_through_relu_and_max_pool(order: str, pool: Any) -> None:
    """Equal to those of torch's modules in turn, also if maxima tie and if sides are not multiples of the patch."""
    layer = double(order=ORDERS[order], pool=pool, padding=1, normalization=Identity())
    with torch.no_grad():  # multiples of 1/2 and a bias of 1/2, so that many sums are equal
        layer.block.weight.copy_((2 * layer.block.weight).round() / 2)
        layer.block.bias.fill_(0.5)
    plain = copy.deepcopy(layer.block)
    x = torch.randint(-1, 2, (3, 2, 8, 7)).double().requires_grad_()
    other = x.detach().clone().requires_grad_()
    maps = layer(x)
    activated = F.relu(plain(other))
    expected = pool(activated) if isinstance(pool, nn.Module) else F.max_pool2d(activated, pool)
    torch.testing.assert_close(maps, expected)
    weights = torch.randn_like(maps)
    (maps * weights).sum().backward(), (expected * weights).sum().backward()
    torch.testing.assert_close(x.grad, other.grad)
    torch.testing.assert_close(layer.block.weight.grad, plain.weight.grad)
    torch.testing.assert_close(layer.block.bias.grad, plain.bias.grad)


def test_pooled_layers_train_under_deterministic_algorithms() -> None:
    layer = FFConv2d(2, 4, 3, pool=2)
    torch.use_deterministic_algorithms(True)
    try:
        layer(torch.rand(3, 2, 6, 6)).sum().backward()
    finally:
        torch.use_deterministic_algorithms(False)


def test_weights_are_initialized_as_torchs() -> None:
    torch.manual_seed(5)
    plain = nn.Conv2d(3, 8, 5)
    torch.manual_seed(5)
    block = FFConv2d(3, 8, 5).block
    assert torch.equal(block.weight, plain.weight)
    assert torch.equal(block.bias, plain.bias)


@pytest.mark.parametrize(("order", "channels"), [(NORMALIZE_FIRST, 2), (TRANSFORM_FIRST, 4), (CWCOMP, 4)])
def test_plugins_are_set_up_for_the_channels_at_their_place_in_the_order(order: tuple[str, ...], channels: int) -> None:
    normalization = BatchNorm(affine=True)
    layer = FFConv2d(2, 4, 3, order=order, normalization=normalization, peer=PeerNormalization(), input_shape=(2, 6, 6))
    assert layer.normalization.weight.shape == (channels,)
    assert layer.peer.means.shape == (4,)
    layer(torch.randn(3, 2, 6, 6))


@pytest.mark.parametrize(("order", "goodness_input"), [(NORMALIZE_FIRST, "pooled"), (CWCOMP, "normalized")])
def test_the_objective_reads_the_value_at_its_place_in_the_order(order: tuple[str, ...], goodness_input: str) -> None:
    layer = double(order=order, pool=2, goodness=ff.goodness.SumOfSquares(), loss=ff.losses.SymBa())
    x = torch.randn(4, 2, 6, 6, dtype=torch.float64)
    out, goodness = layer.output_and_goodness(x)
    torch.testing.assert_close(goodness, out.square().sum((1, 2, 3)))
    if goodness_input == "normalized":  # all samples have the same length
        torch.testing.assert_close(goodness, torch.full_like(goodness, out[0].numel()), rtol=1e-6, atol=0)
    activations, local = layer.local_loss(x, Batch(x, has_negatives=True))
    torch.testing.assert_close(activations, out)
    torch.testing.assert_close(local.loss, F.softplus(-4 * (goodness[:2] - goodness[2:])).mean())


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (NORMALIZE_FIRST[:-1], "^order must contain each of normalize, transform, add, activate, pool, goodness once"),
        ((*NORMALIZE_FIRST, "pool"), "^order must contain each of"),
        (("norm", *NORMALIZE_FIRST[1:]), "^order must contain each of"),
        (("goodness", *NORMALIZE_FIRST[:-1]), "^order must have the goodness after the activation"),
    ],
    ids=["missing operation", "repeated operation", "unknown operation", "goodness first"],
)
def test_incomplete_orders_are_refused(order: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FFConv2d(2, 4, 3, order=order)


@pytest.mark.parametrize(("channels", "name"), [((0, 3), "in_channels"), ((3, 0), "out_channels")])
def test_channels_must_be_positive(channels: tuple[int, int], name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be at least 1, got 0$"):
        FFConv2d(*channels, 3)


@pytest.mark.parametrize("normalization", [None, BatchNorm])
def test_inputs_of_another_shape_are_refused(normalization: type[nn.Module] | None) -> None:
    layer = FFConv2d(3, 4, 3, normalization=normalization() if normalization else None)
    images, labels = torch.rand(2, 1, 5, 4), torch.tensor([0, 1])
    for x, end in (
        (torch.rand(2, 4, 6, 6), "of 4 channels"),
        (torch.rand(3, 6, 6), r"of shape \(3, 6, 6\)"),
        (torch.rand(2, 108), r"of shape \(2, 108\)"),
        (torch.rand(8), r"of shape \(8,\)"),
        (RandomChannel(3, SIZE)(images, labels), r"of 2 channels \(with the label channels\)"),
    ):
        with pytest.raises(
            ValueError, match=f"^in_channels must be the input's number of channels, got 3 for inputs {end}$"
        ):
            layer(x)
    for encoder, width in ((Overlay(3), 20), (Concatenation(3), 23)):
        end = rf"got one that makes rows of shape \(2, {width}\)$"
        with pytest.raises(ValueError, match=f"^label_encoder must add channels for a convolution, .* {end}"):
            layer(encoder(images, labels))


# Label maps: one convolution with them per class, for any number of samples


class Joining(FFConv2d):
    """The plain way: every sample is its image followed by its label's maps, joined one by one."""

    def check_input(self, x: Tensor | LabeledInput) -> Tensor | LabeledInput:
        if isinstance(x, LabeledInput):
            codes = x.index.expand(-1, len(x.images)).tolist()
            x = torch.stack([torch.cat([x.images[i], x.codebook[k]]) for row in codes for i, k in enumerate(row)])
        return super().check_input(x)


NORMS: dict[str, Callable[[], nn.Module | None]] = {
    "none": lambda: None,
    "identity": Identity,
    "rms": RMSNorm,
    "layer": LayerNorm,
    "batch": BatchNorm,
    "learned batch": partial(BatchNorm, affine=True),
    "running": partial(BatchNorm, statistics="running", affine=True),
    "group": partial(GroupNorm, 2),
}
ENCODERS: dict[str, Callable[[], LabelEncoder]] = {
    "random": partial(RandomChannel, 3, SIZE),
    "learned": partial(LearnedChannel, 3, SIZE, scale=0.5),
    "wave": partial(WaveChannel, 3, SIZE, scale=2.0),
    "image": lambda: LabelChannel(torch.rand(3, *SIZE)),
    "images": lambda: LabelChannel(torch.rand(3, 3, *SIZE)),
    "learned maps": lambda: LabelChannel(torch.randn(3, 3, *SIZE), learned=True),
}


def stacks(encoder: str, normalization: str, **options: Any) -> tuple[ff.FFSequential, ff.FFSequential]:
    """A network, and the same one with a first layer that joins the maps; an even number of channels with the maps."""
    label_encoder = ENCODERS[encoder]()

    def stack(kind: type[FFConv2d]) -> ff.FFSequential:
        arguments = {"kernel_size": 3, "padding": 1, **copy.deepcopy(options)}  # the two networks share no module
        first = kind(1 + label_encoder.codebook.shape[1], 4, **arguments)
        return ff.FFSequential(
            first,
            FFConv2d(4, 4, 2),
            goodness=ff.goodness.MeanOfSquares(),
            loss=ff.losses.SymBa(),
            normalization=NORMS[normalization](),
            label_encoder=copy.deepcopy(label_encoder),
            classifier=ff.classifiers.SumOverLayers(),
            input_shape=(1, *SIZE),
        ).double()

    shared, joined = stack(FFConv2d), stack(Joining)
    randomized(shared)
    joined.load_state_dict(shared.state_dict())
    return shared, joined


def agree(shared: ff.FFSequential, joined: ff.FFSequential) -> None:
    """Loss, gradients, classification and then weights and statistics agree."""
    images, labels = torch.rand(5, 1, *SIZE, dtype=torch.float64), torch.tensor([0, 2, 1, 1, 0])
    results = []
    for model in (shared, joined):
        optimizer = ff.LocalOptimizer(torch.optim.SGD, lr=0.1)
        results.append(model.step((images, labels), optimizer, generator=torch.Generator().manual_seed(0)))
    for layer in range(2):
        torch.testing.assert_close(results[0].layers[layer], results[1].layers[layer], **CLOSE)
    for (name, parameter), expected in zip(shared.named_parameters(), joined.parameters(), strict=True):
        assert expected.grad.abs().sum() > 0
        torch.testing.assert_close(parameter.grad, expected.grad, msg=lambda m, n=name: f"{n}: {m}", **CLOSE)
    with torch.no_grad():
        shared.eval(), joined.eval()
        torch.testing.assert_close(shared.layer_goodness(images), joined.layer_goodness(images), **CLOSE)
        torch.testing.assert_close(shared(images), joined(images), **CLOSE)  # under the neutral label
        shared.train(), joined.train()
        activations, expected = shared.activations(images, labels), joined.activations(images, labels)
        torch.testing.assert_close(activations, expected, **CLOSE)
    torch.testing.assert_close(shared.state_dict(), joined.state_dict(), **CLOSE)


@pytest.mark.parametrize("normalization", NORMS)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_the_shared_convolution_equals_the_joined_one(encoder: str, normalization: str) -> None:
    agree(*stacks(encoder, normalization))


FIRST = {
    **CONVOLUTIONS,
    "pooled": {"pool": 2},
    "residual": {"residual": Residual()},
    "residual, strided": {"stride": 2, "residual": Residual(2)},
    "peer": {"peer": PeerNormalization(0.5)},
}


@pytest.mark.parametrize("normalization", ["layer", "learned batch"])
@pytest.mark.parametrize("kind", FIRST)
def test_sharing_gives_the_same_result_for_any_convolution(kind: str, normalization: str) -> None:
    agree(*stacks("learned maps", normalization, **FIRST[kind]))


@pytest.mark.parametrize("normalization", ["none", "rms", "learned batch"])
@pytest.mark.parametrize(
    "order", [TRANSFORM_FIRST, CWCOMP, ("add", *TRANSFORM_FIRST[:2], *TRANSFORM_FIRST[3:])], ids=str
)
def test_sharing_gives_the_same_result_in_any_order(order: tuple[str, ...], normalization: str) -> None:
    agree(*stacks("learned", normalization, order=order))


@pytest.mark.parametrize(("order", "normalization"), [(PREACTIVATION, "rms"), (PREACTIVATION, "group")])
def test_an_activation_before_the_convolution_gives_the_same_result(order: tuple[str, ...], normalization: str) -> None:
    agree(*stacks("learned", normalization, order=order))


@pytest.mark.parametrize("layer", [FFConv2d(2, 4, 3, order=(PREACTIVATION[1], PREACTIVATION[0], *PREACTIVATION[2:]))])
def test_an_activation_before_all_else_gives_the_same_result(layer: FFConv2d) -> None:
    x = RandomChannel(3, SIZE)(torch.rand(2, 1, *SIZE), torch.tensor([0, 1]))
    torch.testing.assert_close(layer(x), layer(x.joined()))


@pytest.mark.parametrize("statistics", ["batch", "running"])
def test_shared_statistics_are_those_of_all_samples(statistics: str) -> None:
    """Positive and negative samples share them, and each label counts once per sample that has it."""
    labels = torch.tensor([[0, 2, 1, 1], [1, 1, 2, 0]])
    encoder = RandomChannel(3, SIZE).double()
    layer = FFConv2d(2, 3, 3, normalization=BatchNorm(momentum=1.0, statistics=statistics)).double()
    x = encoder(torch.rand(4, 1, *SIZE, dtype=torch.float64), labels)
    layer(x)
    joined = x.joined().transpose(0, 1).flatten(1)
    torch.testing.assert_close(layer.normalization.running_mean, joined.mean(1))
    variance = joined.var(1, correction=int(statistics == "batch"))
    torch.testing.assert_close(layer.normalization.running_var, variance)


def count_rows(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of maps in each following convolution."""
    rows: list[int] = []
    convolve = F.conv2d

    def counted(x: Tensor, *args: Any, **options: Any) -> Tensor:
        rows.append(len(x))
        return convolve(x, *args, **options)

    monkeypatch.setattr(F, "conv2d", counted)
    return rows


@pytest.mark.parametrize(
    ("normalization", "groups", "training", "classification"),
    [
        ("none", 1, 20 + 3, 20 + 3),
        ("rms", 1, 20 + 3, 20 + 3),
        ("layer", 1, 20 + 3 + 1, 20 + 3 + 1),  # and one of ones, for the shift at the border
        ("batch", 1, 20 + 3 + 1, 20 + 3 + 1),
        ("learned batch", 1, 20 + 3 + 1, 20 + 3 + 1),
        ("group", 1, 2 * 20, 3 * 20),
        ("none", 2, 2 * 20, 3 * 20),
    ],
)
def test_label_maps_are_convolved_once_per_class(
    monkeypatch: pytest.MonkeyPatch, normalization: str, groups: int, training: int, classification: int
) -> None:
    model = ff.FFSequential(
        FFConv2d(2, 4, 3, groups=groups),
        goodness=ff.goodness.MeanOfSquares(),
        loss=ff.losses.SymBa(),
        normalization=NORMS[normalization](),
        label_encoder=LearnedChannel(3, SIZE),
        input_shape=(1, *SIZE),
    )
    images, labels = torch.rand(20, 1, *SIZE), torch.arange(20) % 3
    rows = count_rows(monkeypatch)
    model.step((images, labels), ff.LocalOptimizer(torch.optim.SGD, lr=0.1))
    assert sum(rows) == training
    rows.clear()
    model.predict(images)
    assert sum(rows) == classification


@pytest.mark.parametrize("pool", [None, 2])
@pytest.mark.parametrize("order", [NORMALIZE_FIRST, ("transform", "pool", "normalize", "add", "activate", "goodness")])
@pytest.mark.parametrize("encoder", ["learned", "images"])
def test_no_map_in_classification_is_larger_than_the_chunk_size(
    encoder: str, order: tuple[str, ...], pool: int | None
) -> None:
    model, _ = stacks(encoder, "rms", pool=pool, kernel_size=3, order=order)
    model.chunk_size = 4 * 20 * 3 * 2  # channels, pixels, labels, images
    images = torch.rand(20, 1, *SIZE, dtype=torch.float64)
    with Largest() as maps:
        model.predict(images)
    assert 0 < maps.largest <= model.chunk_size


class Largest(TorchDispatchMode):
    """Measures the largest maps."""

    largest = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        for value in out if isinstance(out, tuple | list) else [out]:
            if isinstance(value, Tensor) and value.dim() > 3:
                self.largest = max(self.largest, value.numel())
        return out


@pytest.mark.parametrize("normalization", ["none", "rms", "layer", "learned batch"])
def test_autocast_convolves_in_bfloat16(normalization: str) -> None:
    layer = FFConv2d(2, 4, 3, padding=1, normalization=NORMS[normalization]())
    x = LearnedChannel(3, SIZE)(torch.rand(6, 1, *SIZE), torch.randint(3, (2, 6)))
    exact = copy.deepcopy(layer)(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        maps = layer(x)
        assert maps.dtype == torch.bfloat16
    torch.testing.assert_close(maps.float(), exact, rtol=0.05, atol=0.05)


def test_images_with_channels_last_in_memory_give_the_same_goodness() -> None:
    shared, _ = stacks("learned", "layer")
    images = torch.rand(5, 1, *SIZE, dtype=torch.float64)
    last = copy.deepcopy(shared).to(memory_format=torch.channels_last)
    images_last = images.to(memory_format=torch.channels_last)
    torch.testing.assert_close(last.layer_goodness(images_last), shared.layer_goodness(images), **CLOSE)


def test_a_dense_layer_reads_label_channels() -> None:
    """It does not share the maps, but its output is that of the joined rows."""
    encoder = RandomChannel(3, SIZE).double()
    layer = ff.FFLinear(40, 6, normalization=LayerNorm()).double()
    x = encoder(torch.rand(4, 1, *SIZE, dtype=torch.float64), torch.tensor([0, 1, 2, 0]))
    torch.testing.assert_close(layer(x), layer(x.joined()))
    with pytest.raises(ValueError, match=r"got 39 for inputs of 40 \(with the label\)"):
        ff.FFLinear(39, 6)(x)


@pytest.mark.parametrize("order", [TRANSFORM_FIRST, CWCOMP], ids=["transform first", "CwComp's"])
@pytest.mark.parametrize("normalization", [None, RMSNorm, BatchNorm])
def test_a_dense_layer_shares_in_any_order(order: tuple[str, ...], normalization: type[nn.Module] | None) -> None:
    layer = ff.FFLinear(12, 6, order=order, normalization=normalization() if normalization else None).double()
    x = Overlay(3).double()(torch.rand(4, 12, dtype=torch.float64), torch.randint(3, (2, 4)))
    torch.testing.assert_close(layer(x), layer(x.joined()), **CLOSE)
