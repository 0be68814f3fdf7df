"""Residual connections inside a layer and from earlier layers, and the memory of deep networks."""

from __future__ import annotations

import copy
import itertools
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import forwardforward as ff
from forwardforward.layers import FFConv2d, FFLayer, Residual, SkipConnection
from forwardforward.layers.skip import SkipTensors
from forwardforward.recipes import architectures
from forwardforward.step import WholeStep
from forwardforward.update_schedules import EndToEnd, Group, Joint, Overlapping

# Inside a layer


@pytest.mark.parametrize(
    ("stride", "start", "end"),
    [
        (1, (3, 4, 5), (3, 4, 5)),
        (1, (2, 4, 5), (5, 4, 5)),
        (2, (2, 4, 6), (2, 2, 3)),
        (2, (2, 5, 7), (3, 3, 4)),  # a padded convolution of stride 2 over odd sides
        (3, (1, 7, 4), (2, 3, 2)),
    ],
    ids=str,
)
def test_a_residual_adds_the_averaged_input_to_the_first_channels(
    stride: int, start: tuple[int, ...], end: tuple[int, ...]
) -> None:
    x, source = torch.randn(2, *end, dtype=torch.float64), torch.randn(2, *start, dtype=torch.float64)
    total = Residual(stride)(x, source)
    for n in range(2):
        for c, y, q in itertools.product(*map(range, end)):
            expected = x[n, c, y, q].item()
            if c < start[0]:
                patch = source[n, c, stride * y : stride * y + stride, stride * q : stride * q + stride]
                expected += patch.sum().item() / patch.numel()
            assert total[n, c, y, q].item() == pytest.approx(expected, rel=1e-12)


def test_a_residual_of_a_dense_layer_adds_its_input_before_the_activation() -> None:
    layer = ff.FFLinear(3, 5, residual=Residual()).double()
    x = torch.randn(4, 3, dtype=torch.float64)
    z = x @ layer.block.weight.T + layer.block.bias
    z[:, :3] += x
    torch.testing.assert_close(layer(x), z.clamp(min=0))
    torch.testing.assert_close(layer.outputs(x).pre_activation, z)


def test_a_strided_convolution_and_its_residual_have_the_same_size() -> None:
    for side in range(3, 10):
        x = torch.randn(2, 2, side, side)
        layer = FFConv2d(2, 4, 3, stride=2, padding=1, residual=Residual(2))
        assert layer(x).shape == layer.block(x).shape


def test_gradients_flow_through_a_residual() -> None:
    layer = ff.FFLinear(3, 3, residual=Residual(), activation=nn.Identity()).double()
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    layer(x).sum().backward()
    torch.testing.assert_close(x.grad, (1 + layer.block.weight.detach().sum(0)).expand(4, 3))


@pytest.mark.parametrize(
    ("stride", "start", "end"),
    [
        (1, (2, 4, 4, 4), (2, 3, 4, 4)),
        (1, (2, 4, 4, 4), (2, 4, 2, 2)),
        (2, (2, 4, 4, 4), (2, 4, 4, 4)),
        (2, (2, 4, 5, 5), (2, 4, 1, 1)),
        (1, (2, 4, 1, 1), (2, 4, 3, 3)),
        (1, (2, 5), (2, 4)),
    ],
    ids=str,
)
def test_a_residual_to_another_shape_is_refused(stride: int, start: tuple[int, ...], end: tuple[int, ...]) -> None:
    with pytest.raises(
        ValueError, match=r"^a residual connection needs at least as many channels of the same size, got"
    ):
        Residual(stride)(torch.rand(end), torch.rand(start))


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Residual(0), "stride"),
        (lambda: SkipConnection(0), "distance"),
        (lambda: SkipConnection(1, pool=0), "pool"),
    ],
    ids=["stride", "distance", "pool"],
)
def test_arguments_out_of_range_are_refused(make: Any, name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be (at least 1|in .1, 4096.), got 0"):
        make()


def test_repr_shows_the_constructors_arguments() -> None:
    assert repr(Residual()) == "Residual()"
    assert repr(Residual(2)) == "Residual(stride=2)"
    assert repr(SkipConnection(3, 2, concatenate=True)) == "SkipConnection(distance=3, pool=2, concatenate=True)"


# From an earlier layer


@pytest.mark.parametrize("concatenate", [False, True])
@pytest.mark.parametrize("pool", [1, 2])
def test_a_skip_connection_adds_or_concatenates_the_earlier_output(pool: int, concatenate: bool) -> None:
    earlier = torch.randn(2, 3, 4, 6, dtype=torch.float64)
    x = torch.randn(2, 3, 4 // pool, 6 // pool, dtype=torch.float64)
    total = SkipConnection(1, pool, concatenate)(x, earlier)
    assert total.shape == (2, 6 if concatenate else 3, *x.shape[2:])
    for n, c, y, q in itertools.product(range(2), range(3), *map(range, x.shape[2:])):
        mean = earlier[n, c, pool * y : pool * y + pool, pool * q : pool * q + pool].mean().item()
        value = x[n, c, y, q].item()
        if concatenate:
            assert total[n, c, y, q].item() == value
            assert total[n, 3 + c, y, q].item() == pytest.approx(mean, rel=1e-12)
        else:
            assert total[n, c, y, q].item() == pytest.approx(value + mean, rel=1e-10)


def classes(*layers: FFLayer, labels: int = 4, **options: Any) -> ff.FFSequential:
    return ff.FFSequential(
        *layers,
        goodness=ff.goodness.ClassGroups(labels),
        loss=ff.losses.CrossEntropy(),
        normalization=ff.normalization.RMSNorm(),
        **options,
    )


@pytest.mark.parametrize("index", [0, 1])
def test_a_skip_connection_must_begin_inside_the_network(index: int) -> None:
    layers = [FFConv2d(4, 4, 3, padding=1) for _ in range(3)]
    layers[index].residual = SkipConnection(index + 1)
    message = f"^distance must be at most {index} for a skip connection of layer {index}, got {index + 1}$"
    with pytest.raises(ValueError, match=message):
        classes(*layers)
    model = classes(FFConv2d(4, 4, 3, padding=1))
    with pytest.raises(ValueError, match="^distance must be at most 1 for a skip connection of layer 1, got 2$"):
        model.append(FFConv2d(4, 4, 3, padding=1, residual=SkipConnection(2)))
    assert len(model) == 1


def test_a_layer_with_a_skip_connection_needs_the_earlier_output() -> None:
    layer = ff.FFLinear(3, 3, residual=SkipConnection(1))
    with pytest.raises(
        ValueError, match="^skip must be given for a layer with a SkipConnection as residual, got None$"
    ):
        layer(torch.ones(1, 3))
    x, earlier = torch.rand(2, 3), torch.rand(2, 3)
    torch.testing.assert_close(layer(x, earlier), (layer.block(x) + earlier).relu())


def test_a_skip_connection_of_distance_one_adds_the_layers_own_input() -> None:
    layers = [ff.FFLinear(8, 8), ff.FFLinear(8, 8, residual=SkipConnection(1))]
    model = classes(*layers)
    residual = classes(ff.FFLinear(8, 8), ff.FFLinear(8, 8, residual=Residual()))
    residual.load_state_dict(model.state_dict())
    x = torch.randn(5, 8)
    torch.testing.assert_close(model(x), residual(x))


def bridged(depth: int = 3) -> ff.FFSequential:
    """Dense layers; the output of the first one is added to the input of the last one's activation."""
    layers = [ff.FFLinear(8, 8) for _ in range(depth - 1)]
    return classes(*layers, ff.FFLinear(8, 8, residual=SkipConnection(depth - 1))).double()


def test_a_skip_connection_is_part_of_the_step_and_of_every_pass() -> None:
    model = bridged()
    x = torch.randn(5, 8, dtype=torch.float64)

    def rms(h: Tensor) -> Tensor:
        return h / h.square().mean(1, keepdim=True).add(1e-8).sqrt()

    first, second, third = (layer.block for layer in model)
    begin = first(rms(x)).relu()
    end = (third(rms(second(rms(begin)).relu())) + begin).relu()
    torch.testing.assert_close(model(x), end)
    goodness = end.square().view(5, 4, 2).mean(2)
    torch.testing.assert_close(model.layer_goodness(x)[:, -1], goodness)
    model.chunk_size = 8  # one image per chunk
    torch.testing.assert_close(model.layer_goodness(x)[:, -1], goodness)
    targets = torch.tensor([0, 1, 2, 3, 0])
    loss = nn.functional.cross_entropy(goodness, targets)
    torch.testing.assert_close(model.local_losses((x, targets))[2].loss, loss)
    result = model.step((x, targets), ff.LocalOptimizer(torch.optim.SGD, lr=5.0))
    torch.testing.assert_close(result.layers[2].loss, loss)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("groups", [[range(0, 3)], [Group(range(0, 3), range(2, 3))]], ids=["all", "last"])
def test_no_gradient_flows_along_a_skip_connection(groups: list[Any], whole: bool) -> None:
    """Even if both ends are in one group."""
    model = bridged()
    x, targets = torch.randn(5, 8, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 0])
    plain = copy.deepcopy(model)
    activations = [x]
    losses = []
    for i, layer in enumerate(plain):
        h = layer.normalization(activations[-1])
        z = layer.block(h)
        activations.append((z + activations[1].detach() if i == 2 else z).relu())
        losses.append(nn.functional.cross_entropy(layer.objective.goodness(activations[-1]), targets))
    (sum(losses) if isinstance(groups[0], range) else losses[2]).backward()
    optimizer = ff.LocalOptimizer(torch.optim.SGD, lr=0.0)
    model.step((x, targets), optimizer, groups=groups, whole_step=WholeStep() if whole else None)
    for parameter, expected in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, expected.grad, rtol=1e-10, atol=1e-12)


def test_a_step_that_ends_before_the_skip_connection_leaves_nothing_for_the_next_pass() -> None:
    model = bridged()
    fresh = copy.deepcopy(model)
    x = torch.randn(5, 8, dtype=torch.float64)
    model.step((x, torch.arange(5) % 4), ff.LocalOptimizer(torch.optim.SGD, lr=0.0), groups=[range(1, 2)])
    torch.testing.assert_close(model(-x[:2]), fresh(-x[:2]))
    assert list(model.state_dict()) == [f"layers.{i}.block.{name}" for i in range(3) for name in ("weight", "bias")]


def test_a_head_may_read_layers_before_the_end_of_a_skip_connection() -> None:
    model = ff.FFSequential(
        ff.FFLinear(6, 5), ff.FFLinear(5, 5, residual=SkipConnection(1)),
        goodness=ff.goodness.MeanActivation(), loss=ff.losses.SymBa(), label_encoder=ff.label_encoders.Concatenation(2),
        head=ff.heads.LinearHead(2, layers=slice(0, 1)), input_shape=(4,),
    )  # fmt: skip
    assert model.head_logits(torch.rand(3, 4)).shape == (3, 2)


def test_skip_tensors_keep_an_output_until_its_last_reader_only() -> None:
    skips = SkipTensors([None, Residual(), SkipConnection(2), SkipConnection(3)])
    outputs = [torch.rand(1, 3) for _ in range(2)]
    references = [weakref.ref(output) for output in outputs]
    for index, output in enumerate(outputs):
        skips.store(index, output)
    expected = outputs[0].clone()
    del output, outputs
    assert references[1]() is None  # no layer reads it
    assert skips.get(0) is None
    assert torch.equal(skips.get(2), expected)
    assert references[0]() is not None
    assert torch.equal(skips.get(3), expected)
    assert references[0]() is None


def test_a_skip_connection_over_odd_sides_that_a_stride_halves() -> None:
    """A padded convolution of stride 2 leaves 4 of 7 pixels, as from 28 for the third time."""
    assert SkipConnection(2, pool=2)(torch.zeros(2, 3, 4, 4), torch.ones(2, 3, 8, 8)).sum() == 2 * 3 * 16


@pytest.mark.parametrize("side", [5, 7])
def test_a_skip_connection_averages_odd_sides_as_a_strided_convolution(side: int) -> None:
    convolution = nn.Conv2d(3, 3, 3, stride=2, padding=1)
    x = torch.rand(2, 3, side, side)
    assert SkipConnection(2, pool=2)(convolution(x), x).shape == convolution(x).shape


def test_deeperforward_accepts_images_of_28_pixels() -> None:
    layers = architectures.DeeperForward()((1, 28, 28), (10, 20, 40, 80), 10)
    model = classes(*layers, labels=10, input_shape=(1, 28, 28))
    assert model(torch.rand(1, 1, 28, 28)).shape == (1, 80, 4, 4)


@pytest.mark.parametrize(
    ("earlier", "x"),
    [
        ((2, 3, 4, 4), (2, 5, 4, 4)),
        ((2, 3, 4, 4), (2, 3, 2, 2)),
        ((5, 3, 4, 4), (2, 3, 4, 4)),
        ((2, 1, 4, 4), (2, 3, 4, 4)),
        ((2, 3, 1, 1), (2, 3, 4, 4)),
        ((2, 3, 4, 4), (2, 3, 1, 1)),
        ((1, 3, 4, 4), (2, 3, 4, 4)),
    ],
    ids=str,
)
def test_a_skip_connection_to_another_shape_is_refused(earlier: tuple[int, ...], x: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="^a skip connection needs tensors of the same size, got"):
        SkipConnection(1)(torch.rand(x), torch.rand(earlier))


@pytest.mark.parametrize("shape", [(7, 9), (8, 8), (6, 7)])
def test_a_residual_over_a_pool_that_drops_the_border(shape: tuple[int, int]) -> None:
    x = torch.rand(2, 3, *shape)
    z = nn.functional.max_pool2d(x, 2)
    torch.testing.assert_close(Residual(2)(z, x), z + nn.functional.avg_pool2d(x, 2))
    for connection in (Residual(2), SkipConnection(1, pool=2)):
        with pytest.raises(ValueError, match="^a connection that averages must begin at maps, got"):
            connection(torch.rand(2, 3), torch.rand(2, 3))


# Memory


class Alive(TorchDispatchMode):
    """Counts the bytes of maps that exist at once, recognized by their numbers of rows, which no parameter has."""

    def __init__(self, *rows: int) -> None:
        super().__init__()
        self.rows = rows
        self.alive: list[weakref.ref[Tensor]] = []
        self.peak = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        for value in out if isinstance(out, tuple | list) else [out]:
            if isinstance(value, Tensor) and value.dim() == 4 and value.shape[0] in self.rows:
                self.alive.append(weakref.ref(value))
        self.alive = [reference for reference in self.alive if reference() is not None]
        self.peak = max(self.peak, self.current())
        return out

    def current(self) -> int:
        storages = {}
        for reference in self.alive:
            maps = reference()
            if maps is not None:
                storages[maps.untyped_storage().data_ptr()] = maps.untyped_storage().nbytes()
        return sum(storages.values())


def residual(depth: int, kind: str) -> ff.FFSequential:
    layers = [FFConv2d(4, 4, 3, padding=1, bias=False) for _ in range(depth)]
    label_encoder = negatives = None
    if kind == "residuals":
        for layer in layers:
            layer.residual = Residual()
    elif kind == "skip connections":
        for layer in layers[2::2]:
            layer.residual = SkipConnection(2)
    if kind == "label channels":
        layers[0] = FFConv2d(5, 4, 3, padding=1, bias=False)
        label_encoder, negatives = ff.label_encoders.LearnedChannel(4, 8), ff.negatives.HardGoodness()
        goodness, loss = ff.goodness.MeanOfSquares(), ff.losses.SymBa()
    else:
        goodness, loss = ff.goodness.ClassGroups(4), ff.losses.CrossEntropy()
    return ff.FFSequential(
        *layers,
        goodness=goodness,
        loss=loss,
        normalization=ff.normalization.BatchNorm(),
        label_encoder=label_encoder,
        negatives=negatives,
    )


@pytest.mark.parametrize("kind", ["plain", "residuals", "skip connections", "label channels"])
def test_peak_memory_of_a_local_step_does_not_grow_with_depth(kind: str) -> None:
    """A deep network needs as much memory for activations as a shallow one; trained end to end, it needs more."""
    batch = torch.rand(7, 4, 8, 8), torch.arange(7) % 4

    def peak(depth: int, schedule: Any) -> int:
        model = residual(depth, kind)
        optimizer = ff.LocalOptimizer(torch.optim.Adam, lr=1e-3)
        with Alive(7, 14, 28) as counted:
            model.step(batch, optimizer, groups=schedule(depth, 0, 0, 1))
        assert counted.current() == 0
        return counted.peak

    local = peak(6, Joint())
    assert local > 0
    assert peak(14, Joint()) == local
    assert peak(14, EndToEnd()) > 3 * local


def test_a_local_step_of_a_group_needs_the_memory_of_that_group_only() -> None:
    batch = torch.rand(7, 4, 8, 8), torch.arange(7) % 4

    def peak(depth: int, size: int) -> int:
        model = residual(depth, "residuals")
        with Alive(7) as counted:
            optimizer = ff.LocalOptimizer(torch.optim.SGD, lr=0.1)
            model.step(batch, optimizer, groups=Overlapping(size)(depth, 0, 0, 1))
        return counted.peak

    assert peak(4, 2) == peak(12, 2) < peak(12, 4)


def test_deeperforward_needs_the_memory_of_its_largest_layer() -> None:
    """The maps of each stage have half the size of those before, so the first stage needs most."""

    def peak(widths: tuple[int, ...]) -> int:
        layers = architectures.DeeperForward()((1, 16, 16), widths, 10)
        model = classes(*layers, labels=10)
        batch = torch.rand(7, 1, 16, 16), torch.arange(7)
        with Alive(7) as counted:
            model.step(batch, ff.LocalOptimizer(torch.optim.SGD, lr=0.1))
        return counted.peak

    assert peak((10, 20, 40)) == peak((10, 20))


@pytest.mark.parametrize("schedule", [Joint(), EndToEnd(), Overlapping(2, None), Overlapping(2)], ids=repr)
@pytest.mark.parametrize("kind", ["residuals", "skip connections"])
def test_no_activation_outlives_a_step(kind: str, schedule: Any) -> None:
    model = residual(5, kind)
    with Alive(7) as counted:
        optimizer = ff.LocalOptimizer(torch.optim.SGD, lr=0.1)
        model.step((torch.rand(7, 4, 8, 8), torch.arange(7) % 4), optimizer, groups=schedule(5, 0, 0, 1))
    assert counted.peak > 0
    assert counted.current() == 0


def test_a_step_with_a_head_needs_hardly_more_memory_in_a_deeper_network() -> None:
    """The head keeps pooled rows of the layers that it reads, not their maps."""

    def peak(depth: int, negatives: Any, label_encoder: Any) -> int:
        torch.manual_seed(0)
        channels = 2 if label_encoder is not None else 1
        layers = [FFConv2d(channels if i == 0 else 8, 8, 3, padding=1) for i in range(depth)]
        model = ff.FFSequential(
            *layers,
            goodness=ff.goodness.MeanOfSquares(),
            loss=ff.losses.SymBa(),
            negatives=negatives,
            label_encoder=label_encoder,
            num_classes=3,
        )
        assert model.head is not None
        batch = torch.rand(7, 1, 16, 16), torch.arange(7) % 3
        with Alive(7) as counted:
            model.step(batch, ff.LocalOptimizer(torch.optim.SGD, lr=0.1))
        return counted.peak

    maps, row = 7 * 8 * 16 * 16, 7 * 8 * 4
    for negatives, label_encoder in (
        (ff.negatives.SelfContrast(), None),
        (ff.negatives.HardLabel(), ff.label_encoders.RandomChannel(3, 16)),
    ):
        more = peak(12, negatives, label_encoder) - peak(4, negatives, label_encoder)
        assert more <= 4 * 8 * row < 2 * maps
