"""Normalizations against plain loops and torch's own, as affine maps, and peer normalization."""

import math
from contextlib import nullcontext

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import forwardforward as ff
from forwardforward._utils.shared_batch import shared_batch
from forwardforward.label_encoders import Border, Concatenation, Overlay
from forwardforward.normalization import (
    BatchNorm,
    GroupNorm,
    Identity,
    LayerNorm,
    PeerNormalization,
    RMSNorm,
    UnitLength,
)
from forwardforward.specs import LayerSpec


def set_up(plugin, *shape):
    """Return a plug-in after the setup that its layer would do."""
    plugin.setup(LayerSpec(0, shape))
    return plugin


PER_SAMPLE = [RMSNorm(), UnitLength(), LayerNorm(), GroupNorm(2), Identity()]
shapes = pytest.mark.parametrize("shape", [(5, 8), (3, 4, 5), (2, 4, 3, 3)], ids=str)


@shapes
def test_rms_norm(shape):
    x = 3 * torch.randn(shape, dtype=torch.float64)
    result = RMSNorm(eps=1e-3)(x)
    assert result.shape == shape
    for before, after in zip(x, result, strict=True):
        values = before.flatten().tolist()
        length = math.sqrt(sum(v * v for v in values) / len(values) + 1e-3)
        expected = torch.tensor([v / length for v in values], dtype=torch.float64)
        torch.testing.assert_close(after.flatten(), expected, rtol=1e-12, atol=0)


@shapes
def test_unit_length(shape):
    x = 3 * torch.randn(shape, dtype=torch.float64)
    for before, after in zip(x, UnitLength(eps=1e-3)(x), strict=True):
        values = before.flatten().tolist()
        length = math.sqrt(sum(v * v for v in values) + 1e-3)
        expected = torch.tensor([v / length for v in values], dtype=torch.float64)
        torch.testing.assert_close(after.flatten(), expected, rtol=1e-12, atol=0)


@shapes
def test_layer_norm(shape):
    x = 3 * torch.randn(shape, dtype=torch.float64) + 1
    for before, after in zip(x, LayerNorm(eps=1e-3)(x), strict=True):
        values = before.flatten().tolist()
        mean = sum(values) / len(values)
        deviation = math.sqrt(sum((v - mean) ** 2 for v in values) / len(values) + 1e-3)
        expected = torch.tensor([(v - mean) / deviation for v in values], dtype=torch.float64)
        torch.testing.assert_close(after.flatten(), expected, rtol=1e-10, atol=1e-12)


@given(seed=st.integers(0, 2**16), factor=st.floats(0.01, 1000))
def test_the_length_of_the_activity_vector_has_no_effect(seed, factor):
    x = torch.randn(3, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    for norm in (RMSNorm(eps=1e-12), LayerNorm(eps=1e-12)):
        torch.testing.assert_close(norm(factor * x), norm(x), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(RMSNorm(eps=1e-12)(x).square().mean(1), torch.ones(3, dtype=torch.float64))


@pytest.mark.parametrize("norm", PER_SAMPLE, ids=repr)
def test_dead_samples_stay_finite_forward_and_backward(norm):
    x = torch.zeros(2, 6, requires_grad=True)
    result = norm(x)
    result.sum().backward()
    assert result.isfinite().all()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize(
    "norm", [RMSNorm(), UnitLength(), LayerNorm(), GroupNorm(2), BatchNorm(), Identity()], ids=repr
)
def test_bfloat16_stays_bfloat16(norm):
    x = torch.randn(4, 6).bfloat16()
    result = norm(x)
    assert result.dtype == torch.bfloat16
    torch.testing.assert_close(result.float(), norm(x.float()), rtol=0.02, atol=0.02)


def test_rms_norm_measures_bfloat16_in_float32():
    x = torch.full((1, 100_000), 0.1).bfloat16()
    torch.testing.assert_close(RMSNorm()(x).float(), torch.ones(1, 100_000), rtol=0.005, atol=0)


@shapes
def test_group_norm(shape):
    x = 3 * torch.randn(shape, dtype=torch.float64) + 1
    result = GroupNorm(2, eps=1e-3)(x)
    half = shape[1] // 2
    for group in (slice(0, half), slice(half, None)):
        part = x[:, group].flatten(1)
        var, mean = torch.var_mean(part, 1, correction=0, keepdim=True)
        torch.testing.assert_close(result[:, group].flatten(1), (part - mean) / (var + 1e-3).sqrt())


def test_group_norm_must_divide_the_features():
    with pytest.raises(ValueError, match="num_groups must divide the features, got 3 groups for 8"):
        GroupNorm(3)(torch.ones(2, 8))


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: RMSNorm(eps=0), "eps"),
        (lambda: LayerNorm(eps=-1), "eps"),
        (lambda: GroupNorm(0), "num_groups"),
        (lambda: GroupNorm(2, eps=0), "eps"),
        (lambda: BatchNorm(eps=0), "eps"),
        (lambda: BatchNorm(momentum=0), "momentum"),
        (lambda: BatchNorm(statistics="both"), "statistics"),
        (lambda: set_up(BatchNorm(), 4)(torch.ones(2, 3)), "x"),
        (lambda: PeerNormalization(strength=-1), "strength"),
        (lambda: PeerNormalization(decay=1), "decay"),
    ],
)
def test_bad_arguments_are_named(make, argument):
    with pytest.raises(ValueError, match=f"^{argument} must"):
        make()


# Batch normalization


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("shape", [(6, 4), (3, 4, 2, 2)], ids=str)
def test_batch_norm_is_torchs(shape, affine):
    dimensions = torch.nn.BatchNorm1d if len(shape) == 2 else torch.nn.BatchNorm2d
    theirs = dimensions(4, eps=1e-4, momentum=0.2, affine=affine).double()
    ours = set_up(BatchNorm(eps=1e-4, momentum=0.2, affine=affine), 4).double()
    if affine:
        with torch.no_grad():
            for parameter in (theirs.weight, theirs.bias):
                parameter.uniform_(0.5, 2)
        ours.load_state_dict(theirs.state_dict(), strict=False)
    for _ in range(3):
        x = 2 * torch.randn(shape, dtype=torch.float64) + 1
        torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    ours.eval(), theirs.eval()
    torch.testing.assert_close(ours(x), theirs(x))


def test_the_defaults_of_batch_norm_are_torchs_and_that_of_rms_norm_is_documented():
    ours, theirs = set_up(BatchNorm(), 4), torch.nn.BatchNorm1d(4, affine=False)
    x = 1e-3 * torch.randn(6, 4)  # small, so that epsilon counts
    torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    x = 1e-4 * torch.randn(6, 4, dtype=torch.float64)
    torch.testing.assert_close(RMSNorm()(x), x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt())


def test_batch_norm_has_parameters_only_if_affine():
    assert not list(set_up(BatchNorm(), 3).parameters())
    assert len(list(set_up(BatchNorm(affine=True), 3).parameters())) == 2


@pytest.mark.parametrize("statistics", ["batch", "running"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_batch_norm_used_alone_shapes_itself_at_the_first_call(dtype, statistics):
    norm = BatchNorm(statistics=statistics, affine=True)
    x = torch.randn(6, 3, 2, 2).to(dtype)
    assert norm(x).dtype == dtype
    assert norm.running_mean.shape == (3,)
    assert norm.running_mean.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert [p.shape for p in norm.parameters()] == [(3,), (3,)]


def test_a_second_setup_with_the_same_shape_keeps_averages_and_parameters():
    norm = set_up(BatchNorm(affine=True), 3)
    norm(torch.randn(4, 3))
    before, parameters = norm.running_mean.clone(), list(norm.parameters())
    set_up(norm, 3)
    assert torch.equal(norm.running_mean, before)
    assert all(a is b for a, b in zip(norm.parameters(), parameters, strict=True))
    peer = set_up(PeerNormalization(), 3)
    peer(torch.randn(4, 3), torch.rand(4, 3))
    means = peer.means.clone()
    assert torch.equal(set_up(peer, 3).means, means)


@pytest.mark.parametrize("shape", [(5, 3), (2, 3, 2, 2)], ids=str)
def test_running_statistics_in_training(shape):
    """The averages of all rows, weighted by their age, take in the batch, then normalize it, without a gradient."""
    norm = set_up(BatchNorm(momentum=0.25, statistics="running"), 3).double()
    mean = torch.zeros(3, dtype=torch.float64)
    square = torch.ones(3, dtype=torch.float64)
    rest = [d for d in range(len(shape)) if d != 1]
    view = [1, 3] + [1] * (len(shape) - 2)
    for _ in range(3):
        x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
        result = norm(x)
        result.sum().backward()
        with torch.no_grad():
            mean = 0.75 * mean + 0.25 * x.mean(rest)
            square = 0.75 * square + 0.25 * x.square().mean(rest)
            var = square - mean.square()
            factor = 1 / (var.view(view) + 1e-5).sqrt()
            torch.testing.assert_close(result, (x - mean.view(view)) * factor, rtol=1e-10, atol=1e-12)
            torch.testing.assert_close(x.grad, factor.expand(shape), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(norm.running_mean, mean, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(norm.running_var, var, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("batch", [1, 2, 16])
@pytest.mark.parametrize("labeled", [False, True])
def test_running_statistics_of_small_batches_are_those_of_the_rows(batch, labeled):
    torch.manual_seed(0)
    norm = set_up(BatchNorm(momentum=0.01, statistics="running"), 6).double()
    encoder = Concatenation(2).double()
    for _ in range(4000 // batch):
        images = 3 + 2 * torch.randn(batch, 4 if labeled else 6, dtype=torch.float64)
        if labeled:
            norm.as_affine(encoder.join(images, torch.randint(2, (batch,))))
        else:
            norm(images)
    torch.testing.assert_close(norm.running_mean[:4], torch.full((4,), 3.0).double(), atol=0.5, rtol=0)
    torch.testing.assert_close(norm.running_var[:4], torch.full((4,), 4.0).double(), atol=0, rtol=0.35)


def test_later_batches_do_not_spoil_an_earlier_graph():
    norm = BatchNorm(statistics="running", affine=True)
    first = norm(torch.randn(4, 3, requires_grad=True))
    norm(torch.randn(4, 3))
    first.sum().backward()


ONE_SAMPLE = r"^batch statistics need at least two samples per batch, got one; use BatchNorm\(statistics='running'\)$"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("norm", [RMSNorm(), UnitLength(), LayerNorm()], ids=repr)
def test_sums_of_labeled_rows_in_half_precision(norm, dtype):
    torch.manual_seed(0)
    images = (20 + 12 * torch.randn(3, 784)).to(dtype)  # the sum of squares is above float16's largest number
    labeled = Concatenation(10).to(dtype).join(images, torch.tensor([1, 2, 3]))
    affine = norm.as_affine(labeled)
    joined = labeled.joined().double()
    result = joined * affine.row_scale[0].double()
    if affine.row_shift is not None:
        result = result + affine.row_shift[0].double()
    torch.testing.assert_close(result, norm(joined), rtol=1e-4, atol=1e-4)


def test_a_group_of_one_value_is_refused():
    with pytest.raises(ValueError, match="num_groups must leave at least two values per group, got 4 groups"):
        GroupNorm(4)(torch.rand(2, 4))
    assert GroupNorm(4)(torch.rand(2, 4, 3, 3)).abs().sum() > 0


def test_batch_of_one():
    with pytest.raises(ValueError, match=ONE_SAMPLE):
        BatchNorm()(torch.ones(1, 3))
    running = BatchNorm(statistics="running")
    assert running(torch.randn(1, 3)).isfinite().all()
    assert (running.running_mean != 0).all()
    BatchNorm().eval()(torch.ones(1, 3))
    BatchNorm()(torch.randn(1, 3, 2, 2))  # a map has many positions to take statistics from


def test_a_layer_trains_on_a_batch_of_one_with_running_statistics():
    def model(statistics):
        return ff.FFSequential(
            ff.FFLinear(6, 5),
            goodness=ff.goodness.LearnedProjection(3),
            loss=ff.losses.CrossEntropy(),
            normalization=BatchNorm(statistics=statistics),
        )

    optimizer, batch = ff.LocalOptimizer(torch.optim.SGD, lr=0.1), (torch.rand(1, 6), torch.tensor([1]))
    with pytest.raises(ValueError, match=ONE_SAMPLE):
        model("batch").step(batch, optimizer)
    running = model("running")
    before = running[0].block.weight.detach().clone()
    running.step(batch, ff.LocalOptimizer(torch.optim.SGD, lr=0.1))
    assert not torch.equal(running[0].block.weight, before)


def test_evaluation_leaves_running_averages():
    for statistics in ("batch", "running"):
        norm = set_up(BatchNorm(statistics=statistics), 3).eval()
        norm(torch.randn(4, 3))
        norm.as_affine(Concatenation(2)(torch.randn(4, 1), torch.tensor([0, 1, 0, 1])))
        assert not norm.running_mean.any()
        assert (norm.running_var == 1).all()


# Normalizations written as affine maps


def apply(affine, joined, copies):
    """The definition of `Affine`: r (v c + d) + s."""
    v = joined.view(copies, -1, joined.shape[1])
    if affine.column_scale is not None:
        v = v * affine.column_scale
    if affine.column_shift is not None:
        v = v + affine.column_shift
    if affine.row_scale is not None:
        v = v * affine.row_scale
    if affine.row_shift is not None:
        v = v + affine.row_shift
    return v.flatten(0, 1)


NORMS = {
    "rms": lambda: RMSNorm(),
    "rms, large eps": lambda: RMSNorm(eps=0.5),
    "unit": lambda: UnitLength(),
    "layer": lambda: LayerNorm(),
    "none": lambda: Identity(),
    "batch": lambda: BatchNorm(),
    "batch, learned": lambda: BatchNorm(affine=True, momentum=0.3),
    "running": lambda: BatchNorm(statistics="running"),
    "running, learned": lambda: BatchNorm(statistics="running", affine=True, momentum=0.3),
}
INPUTS = {
    "pair": lambda encoder, x: encoder(x, torch.randint(3, (2, len(x)))),
    "one": lambda encoder, x: encoder(x, torch.randint(3, (len(x),))),
    "candidates": lambda encoder, x: encoder.candidates(x),
    "neutral": lambda encoder, x: encoder.neutral(x),
}


@pytest.mark.parametrize("make", NORMS.values(), ids=NORMS)
@pytest.mark.parametrize("encoder", [Overlay(3, scale=2.0), Concatenation(3), Border(3)], ids=repr)
@pytest.mark.parametrize("labeled", INPUTS.values(), ids=INPUTS)
@pytest.mark.parametrize("training", [True, False])
def test_affine_equals_forward_on_the_joined_input(make, encoder, labeled, training):
    encoder = encoder.double()
    batches = [labeled(encoder, 2 * torch.rand(5, 1, 4, 4, dtype=torch.float64) + 0.1) for _ in range(3)]
    torch.manual_seed(1)
    shared, plain = make(), make()
    for norm in (shared, plain):
        if isinstance(norm, BatchNorm):
            set_up(norm, batches[0].features).double()
            with torch.no_grad():
                for i, parameter in enumerate(norm.parameters()):
                    parameter.copy_(torch.linspace(0.5, 1.5 + i, batches[0].features))
        norm.train(training)
    for x in batches:
        result = apply(shared.as_affine(x), x.joined(), len(x.codes))
        torch.testing.assert_close(result, plain(x.joined()), rtol=1e-10, atol=1e-10)
        for name, value in plain.state_dict().items():  # running averages are updated alike
            torch.testing.assert_close(shared.state_dict()[name], value, rtol=1e-10, atol=1e-10)


def test_affine_refuses_a_batch_of_one_with_batch_statistics():
    single = Concatenation(2).neutral(torch.rand(1, 4))
    with pytest.raises(ValueError, match=ONE_SAMPLE):
        set_up(BatchNorm(), 6).as_affine(single)
    set_up(BatchNorm(), 6).as_affine(Concatenation(2).candidates(torch.rand(1, 4)))  # two rows
    set_up(BatchNorm(statistics="running"), 6).as_affine(single)


def test_torchs_own_normalizations_accept_labeled_inputs():
    """Their attribute ``affine`` is a flag, not an affine map of a labeled input."""
    model = ff.FFSequential(
        ff.FFLinear(6, 5),
        goodness=ff.goodness.MeanOfSquares(),
        loss=ff.losses.SymBa(),
        normalization=torch.nn.BatchNorm1d(6),
        label_encoder=Concatenation(2),
    )
    assert model.layer_goodness(torch.rand(3, 4)).shape == (3, 1, 2)


# Peer normalization


@pytest.mark.parametrize("shape", [(4, 5), (3, 5, 2, 2)], ids=str)
def test_peer_normalization_over_steps(shape):
    """m <- 0.9 m + 0.1 mean(h), from 0.5; the gradient at z is 2 lambda (m - mean m) / batch."""
    peer = set_up(PeerNormalization(), 5).double()
    assert peer.means.tolist() == [0.5] * 5
    m = [0.5] * 5
    for _ in range(4):
        z = torch.randn(shape, dtype=torch.float64, requires_grad=True)
        h = z.relu()
        term = peer(z, h)
        term.backward()
        columns = h.detach().transpose(0, 1).reshape(5, -1).tolist()
        m = [0.9 * old + 0.1 * sum(c) / len(c) for old, c in zip(m, columns, strict=True)]
        average = sum(m) / 5
        torch.testing.assert_close(peer.means, torch.tensor(m, dtype=torch.float64))
        expected = 0.0
        for j in range(5):
            pull = 2 * 0.03 * (m[j] - average)
            rows = z.detach()[:, j]
            expected += pull * rows.mean().item()
            gradient = torch.full_like(rows, pull / rows.numel())
            torch.testing.assert_close(z.grad[:, j], gradient, rtol=1e-10, atol=1e-16)
        assert term.item() == pytest.approx(expected, rel=1e-10)


def test_peer_normalization_is_not_gated_and_revives_dead_units():
    """A unit that is never active gets the same sign of gradient at every sample: upwards."""
    peer = set_up(PeerNormalization(), 3).double()
    z = torch.tensor([[-1.0, 2.0, 1.0], [-3.0, 1.0, 2.0]], dtype=torch.float64, requires_grad=True)
    peer(z, z.relu()).backward()
    assert (z.grad[:, 0] < 0).all()
    assert z.grad[:, 0].unique().numel() == 1


def test_no_gradient_flows_through_activations_or_means():
    peer = PeerNormalization()
    z = torch.randn(4, 3, requires_grad=True)
    h = torch.randn(4, 3, requires_grad=True)
    peer(z, h).backward()
    assert h.grad is None
    assert z.grad is not None
    assert not peer.means.requires_grad


def test_peer_means_are_buffers_saved_with_the_model():
    peer = PeerNormalization()
    peer(torch.randn(5, 4), torch.rand(5, 4))
    assert [name for name, _ in peer.named_buffers()] == ["means"]
    other = set_up(PeerNormalization(), 4)
    other.load_state_dict(peer.state_dict())
    assert torch.equal(other.means, peer.means)
    assert not torch.equal(other.means, torch.full((4,), 0.5))


def test_peer_means_stand_still_in_evaluation():
    peer = PeerNormalization().eval()
    term = peer(torch.randn(5, 4), torch.rand(5, 4))
    assert peer.means.tolist() == [0.5] * 4
    assert term.item() == 0


def test_peer_means_keep_float32_beside_bfloat16_activations():
    peer = PeerNormalization()
    z = torch.randn(5, 4).bfloat16().requires_grad_()
    term = peer(z, z.detach().relu())
    term.backward()
    assert term.dtype == peer.means.dtype == torch.float32


@pytest.mark.parametrize(
    ("norm", "expected"),
    [
        (PeerNormalization(0.1), "PeerNormalization(strength=0.1, decay=0.9)"),
        (GroupNorm(3), "GroupNorm(num_groups=3, eps=1e-05)"),
        (RMSNorm(1e-6), "RMSNorm(eps=1e-06)"),
        (UnitLength(1e-6), "UnitLength(eps=1e-06)"),
        (LayerNorm(), "LayerNorm(eps=1e-05)"),
        (
            BatchNorm(statistics="running"),
            "BatchNorm(momentum=0.1, eps=1e-05, affine=False, statistics='running')",
        ),
    ],
)
def test_repr(norm, expected):
    assert repr(norm) == expected


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 4, 3)])
def test_a_part_that_is_the_whole_batch_is_normalized_as_by_torch(shape: tuple[int, ...], affine: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    x = (3 + 2 * torch.randn(shape, generator=generator, dtype=torch.float64)).requires_grad_()
    gradient = torch.randn(shape, generator=generator, dtype=torch.float64)
    modules, results = (BatchNorm(affine=affine), BatchNorm(affine=affine)), []
    for module, context in zip(modules, (nullcontext(), shared_batch(lambda value: value, 1.0)), strict=True):
        module(x.detach())
        for index, parameter in enumerate(module.parameters()):
            torch.nn.init.uniform_(parameter, index + 1, index + 2, torch.Generator().manual_seed(0))
        with context:
            output = module(x)
        results.append([output, *torch.autograd.grad(output, [x, *module.parameters()], gradient), *module.buffers()])
    for expected, value in zip(*results, strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)


def test_moments_of_labeled_rows_in_half_precision():
    torch.manual_seed(0)
    labeled = Concatenation(4).half().join((400 * torch.randn(256, 20)).half(), torch.arange(256) % 4)
    joined, apart = (set_up(BatchNorm(momentum=1.0), 24) for _ in range(2))
    joined(labeled.joined().float())
    apart.as_affine(labeled)
    torch.testing.assert_close(apart.running_var, joined.running_var, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(apart.running_mean, joined.running_mean, rtol=1e-3, atol=1e-2)
