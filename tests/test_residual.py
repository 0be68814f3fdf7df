"""Residual connections inside a layer and between layers, and what deep networks hold in memory."""

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
from forwardforward.layers import FFConv2d, FFLayer, Shortcut, Skip
from forwardforward.recipes import architectures
from forwardforward.update_schedules import EndToEnd, Group, Joint, Overlapping

# Inside a layer


@pytest.mark.parametrize(
    ("stride", "start", "end"),
    [
        (1, (3, 4, 5), (3, 4, 5)),
        (1, (2, 4, 5), (5, 4, 5)),
        (2, (2, 4, 6), (2, 2, 3)),
        (2, (2, 5, 7), (3, 3, 4)),  # what a padded convolution of stride 2 leaves of odd sides
        (3, (1, 7, 4), (2, 3, 2)),
    ],
    ids=str,
)
def test_a_shortcut_adds_the_averaged_input_to_the_first_channels(
    stride: int, start: tuple[int, ...], end: tuple[int, ...]
) -> None:
    x, begun = torch.randn(2, *end, dtype=torch.float64), torch.randn(2, *start, dtype=torch.float64)
    found = Shortcut(stride)(x, begun)
    for n in range(2):
        for c, y, q in itertools.product(*map(range, end)):
            expected = x[n, c, y, q].item()
            if c < start[0]:
                patch = begun[n, c, stride * y : stride * y + stride, stride * q : stride * q + stride]
                expected += patch.sum().item() / patch.numel()
            assert found[n, c, y, q].item() == pytest.approx(expected, rel=1e-12)


def test_a_shortcut_of_a_dense_layer() -> None:
    layer = ff.FFLinear(3, 5, shortcut=Shortcut()).double()
    x = torch.randn(4, 3, dtype=torch.float64)
    z = x @ layer.block.weight.T + layer.block.bias
    z[:, :3] += x
    torch.testing.assert_close(layer(x), z.clamp(min=0))
    torch.testing.assert_close(layer.run(x).pre_activations, z)


def test_a_strided_convolution_and_its_shortcut_meet() -> None:
    for side in range(3, 10):
        x = torch.randn(2, 2, side, side)
        layer = FFConv2d(2, 4, 3, stride=2, padding=1, shortcut=Shortcut(2))
        assert layer(x).shape == layer.block(x).shape


def test_gradients_follow_a_shortcut_inside_a_group() -> None:
    layer = ff.FFLinear(3, 3, shortcut=Shortcut(), activation=nn.Identity()).double()
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
def test_a_shortcut_to_another_shape_is_refused(stride: int, start: tuple[int, ...], end: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"^a shortcut must lead to at least as many channels of the same size, got"):
        Shortcut(stride)(torch.rand(end), torch.rand(start))


@pytest.mark.parametrize(
    ("make", "name"), [(lambda: Shortcut(0), "stride"), (lambda: Skip(0), "pool")], ids=["Shortcut", "Skip"]
)
def test_arguments_out_of_range(make: Any, name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be at least 1, got 0"):
        make()


def test_repr() -> None:
    assert repr(Shortcut()) == "Shortcut()"
    assert repr(Shortcut(2)) == "Shortcut(stride=2)"
    assert repr(Skip(2, concatenate=True)) == "Skip(pool=2, concatenate=True)"


# From layer to layer


@pytest.mark.parametrize("concatenate", [False, True])
@pytest.mark.parametrize("pool", [1, 2])
def test_a_skip_adds_or_joins_what_it_remembers(pool: int, concatenate: bool) -> None:
    held, x = torch.randn(2, 3, 4, 6, dtype=torch.float64), torch.randn(2, 3, 4 // pool, 6 // pool, dtype=torch.float64)
    skip = Skip(pool, concatenate)
    skip.remember(held)
    found = skip(x, torch.empty(0))
    assert found.shape == (2, 6 if concatenate else 3, *x.shape[2:])
    for n, c, y, q in itertools.product(range(2), range(3), *map(range, x.shape[2:])):
        mean = held[n, c, pool * y : pool * y + pool, pool * q : pool * q + pool].mean().item()
        own = x[n, c, y, q].item()
        if concatenate:
            assert found[n, c, y, q].item() == own
            assert found[n, 3 + c, y, q].item() == pytest.approx(mean, rel=1e-12)
        else:
            assert found[n, c, y, q].item() == pytest.approx(own + mean, rel=1e-10)


def test_a_skip_that_has_not_begun_cannot_end() -> None:
    skip = Skip()
    with pytest.raises(RuntimeError, match="a Skip must be the tap of an earlier layer before"):
        skip(torch.ones(1, 2), torch.ones(1, 2))
    skip.remember(torch.ones(1, 2))
    skip(torch.ones(1, 2), torch.ones(1, 2))
    with pytest.raises(RuntimeError, match="a Skip must be the tap"):  # each begin has one end
        skip(torch.ones(1, 2), torch.ones(1, 2))
    model = classes(FFConv2d(1, 4, 3, padding=1), FFConv2d(4, 4, 3, padding=1, shortcut=Skip()))
    with pytest.raises(RuntimeError, match="a Skip must be the tap"):
        model(torch.rand(2, 1, 4, 4))


def classes(*layers: FFLayer, labels: int = 4) -> ff.FFSequential:
    return ff.FFSequential(
        *layers,
        goodness=ff.goodness.ClassGroups(labels),
        loss=ff.losses.CrossEntropy(),
        normalization=ff.normalization.RMSNorm(),
    )


def bridged(depth: int = 3) -> tuple[ff.FFSequential, Skip]:
    """Dense layers, the first of which is joined to the input of the last one's activation."""
    skip = Skip()
    layers = [ff.FFLinear(8, 8) for _ in range(depth)]
    layers[0].tap = layers[-1].shortcut = skip
    return classes(*layers).double(), skip


def test_a_skip_carries_the_step_and_every_pass() -> None:
    model, _ = bridged()
    x = torch.randn(5, 8, dtype=torch.float64)

    def rms(h: Tensor) -> Tensor:
        return h / h.square().mean(1, keepdim=True).add(1e-8).sqrt()

    first, second, third = (layer.block for layer in model.stack)
    begin = first(rms(x)).relu()
    end = (third(rms(second(rms(begin)).relu())) + begin).relu()
    torch.testing.assert_close(model(x), end)
    goodness = end.square().view(5, 4, 2).mean(2)
    torch.testing.assert_close(model.layer_goodness(x)[:, -1], goodness)
    model.chunk = 8  # one image at a time
    torch.testing.assert_close(model.layer_goodness(x)[:, -1], goodness)
    targets = torch.tensor([0, 1, 2, 3, 0])
    found = model.step((x, targets), ff.LocalOptimizer(torch.optim.SGD, lr=5.0))
    torch.testing.assert_close(found.layers[2].loss, nn.functional.cross_entropy(goodness, targets))


@pytest.mark.parametrize("groups", [[range(0, 3)], [Group(range(0, 3), range(2, 3))]], ids=["all", "last"])
def test_no_gradient_flows_along_a_skip(groups: list[Any]) -> None:
    """Even where both ends are in one group."""
    model, _ = bridged()
    x, targets = torch.randn(5, 8, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 0])
    plain = copy.deepcopy(model)
    activations = [x]
    losses = []
    for i, layer in enumerate(plain.stack):
        h = layer.normalization(activations[-1])
        z = layer.block(h)
        activations.append((z + activations[1].detach() if i == 2 else z).relu())
        losses.append(nn.functional.cross_entropy(layer.objective.goodness(activations[-1]), targets))
    (sum(losses) if isinstance(groups[0], range) else losses[2]).backward()
    model.step((x, targets), ff.LocalOptimizer(torch.optim.SGD, lr=0.0), groups=groups)
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("schedule", [Joint(), EndToEnd(), Overlapping(2, None), Overlapping(2)], ids=repr)
def test_nothing_is_under_way_after_a_step(schedule: Any) -> None:
    model, skip = bridged(4)
    model.step(
        (torch.randn(5, 8, dtype=torch.float64), torch.arange(5) % 4),
        ff.LocalOptimizer(torch.optim.SGD, lr=0.1),
        groups=schedule(4, 0, 0, 1),
    )
    assert skip._held is None


def test_a_step_forgets_what_it_began() -> None:
    model, skip = bridged()
    fresh = copy.deepcopy(model)
    x = torch.randn(5, 8, dtype=torch.float64)
    model.step((x, torch.arange(5) % 4), ff.LocalOptimizer(torch.optim.SGD, lr=0.0), groups=[range(1, 2)])
    assert skip._held is None  # though the last layer was not run
    torch.testing.assert_close(model(-x[:2]), fresh(-x[:2]))
    assert list(model.state_dict()) == [f"layers.{i}.block.{name}" for i in range(3) for name in ("weight", "bias")]


def test_a_head_before_the_end_of_a_skip_leaves_nothing_under_way() -> None:
    skip = Skip()
    model = ff.FFSequential(
        ff.FFLinear(6, 5, tap=skip), ff.FFLinear(5, 5, shortcut=skip),
        goodness=ff.goodness.MeanActivation(), loss=ff.losses.SymBa(), label_encoder=ff.label_encoders.Concatenation(2),
        head=ff.classifiers.LinearHead(2, layers=slice(0, 1)),
    )  # fmt: skip
    model.head_logits(torch.rand(3, 4))
    assert skip._held is None


def test_copies_have_skips_of_their_own() -> None:
    model, _ = bridged()
    other = copy.deepcopy(model)
    assert other.stack[0].tap is other.stack[2].shortcut
    assert other.stack[0].tap is not model.stack[0].tap


def test_a_skip_over_odd_sides_that_a_stride_halves() -> None:
    """A padded convolution of stride 2 leaves 4 of 7 pixels, as from 28 for the third time."""
    skip = Skip(pool=2)
    skip.remember(torch.ones(2, 3, 8, 8))
    assert skip(torch.zeros(2, 3, 4, 4), torch.empty(0)).sum() == 2 * 3 * 16


@pytest.mark.parametrize("side", [5, 7])
def test_a_skip_over_odd_sides(side: int) -> None:
    convolution = nn.Conv2d(3, 3, 3, stride=2, padding=1)
    x = torch.rand(2, 3, side, side)
    skip = Skip(pool=2)
    skip.remember(x)
    assert skip(convolution(x), x).shape == convolution(x).shape


def test_deeperforward_takes_images_of_28_pixels() -> None:
    model = classes(*architectures.deeperforward(1, width=10), labels=10)
    assert model(torch.rand(1, 1, 28, 28)).shape == (1, 80, 4, 4)


@pytest.mark.parametrize(
    ("held", "x"),
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
def test_a_skip_to_another_shape_is_refused(held: tuple[int, ...], x: tuple[int, ...]) -> None:
    skip = Skip()
    skip.remember(torch.rand(held))
    with pytest.raises(ValueError, match="a skip must lead to maps of its own size"):
        skip(torch.rand(x), torch.empty(0))


# Memory


class Alive(TorchDispatchMode):
    """Counts the bytes of maps of ``rows`` rows, which no parameter has, that are alive at once."""

    def __init__(self, *rows: int) -> None:
        super().__init__()
        self.rows = rows
        self.alive: list[weakref.ref[Tensor]] = []
        self.most = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        for one in out if isinstance(out, tuple | list) else [out]:
            if isinstance(one, Tensor) and one.dim() == 4 and one.shape[0] in self.rows:
                self.alive.append(weakref.ref(one))
        self.alive = [one for one in self.alive if one() is not None]
        self.most = max(self.most, self.now())
        return out

    def now(self) -> int:
        storages = {}
        for reference in self.alive:
            one = reference()
            if one is not None:
                storages[one.untyped_storage().data_ptr()] = one.untyped_storage().nbytes()
        return sum(storages.values())


def residual(depth: int, kind: str) -> ff.FFSequential:
    layers = [FFConv2d(4, 4, 3, padding=1, bias=False) for _ in range(depth)]
    labels = negatives = None
    if kind == "shortcuts":
        for layer in layers:
            layer.shortcut = Shortcut()
    elif kind == "skips":
        for begin, end in zip(layers[::2], layers[2::2], strict=False):
            begin.tap = end.shortcut = Skip()
    if kind == "label channels":
        layers[0] = FFConv2d(5, 4, 3, padding=1, bias=False)
        labels, negatives = ff.label_encoders.LearnedChannel(4, 8), ff.negatives.HardGoodness()
        goodness, loss = ff.goodness.MeanOfSquares(), ff.losses.SymBa()
    else:
        goodness, loss = ff.goodness.ClassGroups(4), ff.losses.CrossEntropy()
    return ff.FFSequential(
        *layers,
        goodness=goodness,
        loss=loss,
        normalization=ff.normalization.BatchNorm(),
        labels=labels,
        negatives=negatives,
    )


@pytest.mark.parametrize("kind", ["plain", "shortcuts", "skips", "label channels"])
def test_peak_memory_of_a_local_step_does_not_grow_with_depth(kind: str) -> None:
    """A deep residual network holds no more activations at once than a shallow one; end to end it does."""
    batch = torch.rand(7, 4, 8, 8), torch.arange(7) % 4

    def most(depth: int, schedule: Any) -> int:
        model = residual(depth, kind)
        optimizer = ff.LocalOptimizer(torch.optim.Adam, lr=1e-3)
        with Alive(7, 14, 28) as counted:
            model.step(batch, optimizer, groups=schedule(depth, 0, 0, 1))
        assert counted.now() == 0
        return counted.most

    local = most(6, Joint())
    assert local > 0
    assert most(14, Joint()) == local
    assert most(14, EndToEnd()) > 3 * local


def test_a_local_step_of_a_group_holds_that_group_alone() -> None:
    batch = torch.rand(7, 4, 8, 8), torch.arange(7) % 4

    def most(depth: int, size: int) -> int:
        model = residual(depth, "shortcuts")
        with Alive(7) as counted:
            optimizer = ff.LocalOptimizer(torch.optim.SGD, lr=0.1)
            model.step(batch, optimizer, groups=Overlapping(size)(depth, 0, 0, 1))
        return counted.most

    assert most(4, 2) == most(12, 2) < most(12, 4)


def test_deeperforward_holds_what_one_of_its_layers_needs() -> None:
    """Each stage's maps are half the size of the last one's, so the first stage needs most."""

    def most(widths: tuple[int, ...]) -> int:
        layers = architectures.DeeperForward()((1, 16, 16), widths, 10)
        model = classes(*layers, labels=10)
        batch = torch.rand(7, 1, 16, 16), torch.arange(7)
        with Alive(7) as counted:
            model.step(batch, ff.LocalOptimizer(torch.optim.SGD, lr=0.1))
        return counted.most

    assert most((10, 20, 40)) == most((10, 20))


def test_what_a_skip_holds_is_not_copied() -> None:
    skip = Skip()
    skip.remember(torch.ones(1, 2))
    with pytest.raises(RuntimeError, match="must be the tap of an earlier layer"):
        copy.deepcopy(skip)(torch.ones(1, 2), torch.ones(1, 2))
    assert torch.equal(skip(torch.ones(1, 2), torch.ones(1, 2)), torch.full((1, 2), 2.0))


@pytest.mark.parametrize("shape", [(7, 9), (8, 8), (6, 7)])
def test_a_shortcut_over_a_pool_that_drops_the_border(shape: tuple[int, int]) -> None:
    x = torch.rand(2, 3, *shape)
    z = nn.functional.max_pool2d(x, 2)
    wanted = z + nn.functional.avg_pool2d(x, 2)
    torch.testing.assert_close(Shortcut(2)(z, x), wanted)
    with pytest.raises(ValueError, match="must begin at maps"):
        Shortcut(2)(torch.rand(2, 3), torch.rand(2, 3))


def test_a_step_with_a_head_holds_no_more_in_a_deeper_network() -> None:
    """The head keeps pooled rows of the layers it reads, not their maps."""

    def most(depth: int, negatives: Any, labels: Any) -> int:
        torch.manual_seed(0)
        channels = 2 if labels is not None else 1
        layers = [FFConv2d(channels if i == 0 else 8, 8, 3, padding=1) for i in range(depth)]
        model = ff.FFSequential(
            *layers,
            goodness=ff.goodness.MeanOfSquares(),
            loss=ff.losses.SymBa(),
            negatives=negatives,
            labels=labels,
            num_classes=3,
        )
        assert model.head is not None
        batch = torch.rand(7, 1, 16, 16), torch.arange(7) % 3
        with Alive(7) as counted:
            model.step(batch, ff.LocalOptimizer(torch.optim.SGD, lr=0.1))
        return counted.most

    maps, row = 7 * 8 * 16 * 16, 7 * 8 * 4
    for negatives, labels in (
        (ff.negatives.SelfContrast(), None),
        (ff.negatives.HardLabel(), ff.label_encoders.RandomChannel(3, 16)),
    ):
        more = most(12, negatives, labels) - most(4, negatives, labels)
        assert more <= 4 * 8 * row < 2 * maps
