import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import forwardforward as ff
from forwardforward.goodness import (
    L1,
    ClassGroups,
    HiddenProjection,
    LearnedProjection,
    Logits,
    Lp,
    MeanActivation,
    MeanOfSquares,
    MeanOfSquaresByPosition,
    Negated,
    Prototypes,
    RandomProjection,
    SumOfSquares,
    TopK,
)
from forwardforward.losses import CrossEntropy
from forwardforward.objectives import ClassObjective
from forwardforward.pooling import SpatialPool
from forwardforward.specs import LayerSpec

# The formula of each scalar goodness for the activations of one sample, a plain list of numbers.


def sum_of_squares(h):
    total = 0.0
    for value in h:
        total += value * value
    return total


def top(h, k):
    return sum_of_squares(sorted(h, key=abs, reverse=True)[:k]) / k


def norm(h, p):
    total = 0.0
    for value in h:
        total += abs(value) ** p
    return total ** (1 / p)


FORMULAS = {
    "sum of squares": (SumOfSquares(), sum_of_squares),
    "mean of squares": (MeanOfSquares(), lambda h: sum_of_squares(h) / len(h)),
    "mean": (MeanActivation(), lambda h: sum(h) / len(h)),
    "L1": (L1(), lambda h: sum(abs(v) for v in h)),
    "L2": (Lp(2), lambda h: norm(h, 2)),
    "L3.5": (Lp(3.5), lambda h: norm(h, 3.5)),
    "Linf": (Lp(math.inf), lambda h: max(abs(v) for v in h)),
    "top 3": (TopK(3), lambda h: top(h, 3)),
    "top share": (TopK(0.5), lambda h: top(h, max(5, round(0.5 * len(h))))),
    "top share, floor of five": (TopK(0.02), lambda h: top(h, 5)),
    "top, more than there are": (TopK(1000), lambda h: sum_of_squares(h) / len(h)),
    "negated": (Negated(SumOfSquares()), lambda h: -sum_of_squares(h)),
    "negated mean": (Negated(MeanOfSquares()), lambda h: -sum_of_squares(h) / len(h)),
}
scalar = pytest.mark.parametrize(("goodness", "formula"), FORMULAS.values(), ids=FORMULAS)
goodness_only = pytest.mark.parametrize("goodness", [goodness for goodness, _ in FORMULAS.values()], ids=FORMULAS)
shapes = pytest.mark.parametrize("shape", [(4, 12), (3, 5, 7), (3, 6, 2, 4), (1, 24)], ids=str)


@scalar
@shapes
def test_scalar_goodness_follows_its_formula(goodness, formula, shape):
    activations = torch.randn(shape, dtype=torch.float64)
    expected = [formula(sample.flatten().tolist()) for sample in activations]
    values = goodness(activations)
    assert values.shape == shape[:1]
    np.testing.assert_allclose(values, expected, rtol=1e-12)


@scalar
@pytest.mark.parametrize("features", [7, 60])
def test_scale_is_the_goodness_of_activations_of_magnitude_one(goodness, formula, features):
    ones = torch.ones(2, features, dtype=torch.float64)
    assert goodness.scale(features) == pytest.approx(goodness(ones)[0].item())
    assert goodness.scale(features) == pytest.approx(formula([1.0] * features))


def test_negation_changes_the_sign_of_the_scale():
    assert Negated(SumOfSquares()).scale(50) == -50
    assert Negated(MeanOfSquares()).scale(50) == -1
    assert Negated(Negated(SumOfSquares())).scale(50) == 50


@goodness_only
def test_bfloat16_is_summed_in_float32(goodness):
    activations = torch.randn(3, 4000).abs().bfloat16()
    values = goodness(activations)
    assert values.dtype == torch.float32
    torch.testing.assert_close(values.double(), goodness(activations.double()), rtol=1e-5, atol=1e-5)


@goodness_only
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_float32_and_float64_keep_their_type(goodness, dtype):
    assert goodness(torch.randn(3, 8, dtype=dtype)).dtype == dtype


@goodness_only
def test_noncontiguous_activations_give_the_same_goodness(goodness):
    activations = torch.randn(6, 5, 4, dtype=torch.float64)
    permuted = activations.permute(1, 2, 0)
    torch.testing.assert_close(goodness(permuted), goodness(permuted.contiguous()), rtol=1e-12, atol=0)


@goodness_only
@shapes
def test_gradients_are_exact(goodness, shape):
    # Distinct magnitudes: no ties at which the strongest activations are not differentiable.
    count = math.prod(shape)
    values = (torch.randperm(count) + 1).double() * torch.randn(count).sign() / 7
    assert torch.autograd.gradcheck(goodness, values.view(shape).requires_grad_())


def test_the_squared_goodness_has_the_gradient_two_h():
    h = torch.randn(5, 3, 2, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(5, dtype=torch.float64)
    (SumOfSquares()(h) * weights).sum().backward()
    torch.testing.assert_close(h.grad, 2 * weights.view(5, 1, 1) * h.detach())


@goodness_only
def test_dead_samples_have_finite_gradients(goodness):
    h = torch.zeros(2, 9, requires_grad=True)
    goodness(h).sum().backward()
    assert h.grad.isfinite().all()


def test_squared_goodness_has_second_derivatives():
    h = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(SumOfSquares(), (h,))


@given(seed=st.integers(0, 2**16), name=st.sampled_from(sorted(FORMULAS)), batch=st.integers(1, 6))
def test_goodness_is_computed_per_sample(seed, name, batch):
    """Permuting the batch permutes the goodness; permuting a sample's features does not change it."""
    goodness = FORMULAS[name][0]
    generator = torch.Generator().manual_seed(seed)
    h = torch.randn(batch, 9, dtype=torch.float64, generator=generator)
    order, features = torch.randperm(batch, generator=generator), torch.randperm(9, generator=generator)
    torch.testing.assert_close(goodness(h[order]), goodness(h)[order], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(goodness(h[:, features]), goodness(h), rtol=1e-12, atol=1e-12)


@given(seed=st.integers(0, 2**16), factor=st.floats(0.01, 100), name=st.sampled_from(sorted(FORMULAS)))
def test_goodness_is_homogeneous(seed, factor, name):
    """Squares grow by the square of a factor on the activations, norms and means by the factor."""
    goodness = FORMULAS[name][0]
    h = torch.randn(3, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    degree = 1 if isinstance(goodness, (Lp, MeanActivation)) else 2
    torch.testing.assert_close(goodness(factor * h), factor**degree * goodness(h), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("p", [0.5, 0, -1, math.nan])
def test_orders_below_one_are_refused(p):
    with pytest.raises(ValueError, match="^p must be"):
        Lp(p)


@pytest.mark.parametrize("k", [0, -1, 2.5, math.nan, math.inf])
def test_counts_that_are_neither_whole_nor_shares_are_refused(k):
    with pytest.raises(ValueError, match="^k must be"):
        TopK(k)


@pytest.mark.parametrize(
    ("goodness", "expected"),
    [
        (SumOfSquares(), "SumOfSquares()"),
        (Lp(3), "Lp(p=3.0)"),
        (L1(), "L1()"),
        (TopK(5), "TopK(k=5)"),
        (ClassGroups(10).goodness, "MeanOfSquares()"),
    ],
    ids=str,
)
def test_repr_is_the_constructor_call(goodness, expected):
    assert repr(goodness) == expected


# Per-class goodness


@pytest.mark.parametrize("shape", [(5, 12), (2, 12, 3, 4)], ids=str)
@pytest.mark.parametrize("goodness", [None, MeanActivation(), SumOfSquares()], ids=repr)
def test_class_groups_equal_a_plain_loop(shape, goodness):
    activations = torch.randn(shape, dtype=torch.float64)
    values = ClassGroups(4, goodness)(activations)
    assert values.shape == (shape[0], 4)
    for i, sample in enumerate(activations):
        for k in range(4):
            group = sample[3 * k : 3 * k + 3].flatten().tolist()
            expected = {
                "None": sum_of_squares(group) / len(group),
                "MeanActivation()": sum(group) / len(group),
                "SumOfSquares()": sum_of_squares(group),
            }[repr(goodness)]
            assert values[i, k].item() == pytest.approx(expected, rel=1e-12)


def test_class_groups_must_divide_the_features():
    with pytest.raises(ValueError, match="num_classes must divide.*10 classes for 12 features"):
        ClassGroups(10)(torch.ones(2, 12))
    with pytest.raises(ValueError, match="num_classes must divide.*10 classes for 12 features"):
        ff.FFSequential(
            ff.FFLinear(6, 10), ff.FFLinear(10, 12), goodness=ClassGroups(10), loss=ff.losses.CrossEntropy()
        )


@pytest.mark.parametrize("goodness", [MeanOfSquaresByPosition(), LearnedProjection(3)], ids=repr)
def test_the_goodness_of_a_group_must_be_one_number(goodness):
    with pytest.raises(
        ValueError, match=r"^goodness must be one number per group, such as MeanOfSquares\(\), got \w+\("
    ):
        ClassGroups(4, goodness)


@given(seed=st.integers(0, 2**16))
def test_class_groups_are_equivariant(seed):
    """Permuting the groups of features permutes the classes."""
    generator = torch.Generator().manual_seed(seed)
    h = torch.randn(3, 4, 5, dtype=torch.float64, generator=generator)
    order = torch.randperm(4, generator=generator)
    goodness = ClassGroups(4)
    torch.testing.assert_close(goodness(h[:, order].flatten(1)), goodness(h.flatten(1))[:, order])


@pytest.mark.parametrize("shape", [(5, 12), (2, 3, 2, 2)], ids=str)
@pytest.mark.parametrize("projection", [LearnedProjection, RandomProjection])
def test_projections_equal_a_plain_loop(projection, shape):
    activations = torch.randn(shape, dtype=torch.float64)
    goodness = projection(3)
    goodness.setup(LayerSpec(0, shape[1:]))
    values = goodness.double()(activations)
    assert values.shape == (shape[0], 3)
    for i, sample in enumerate(activations.flatten(1)):
        for k in range(3):
            expected = sum(w * h for w, h in zip(goodness.weight[k].tolist(), sample.tolist(), strict=True))
            assert values[i, k].item() == pytest.approx(expected, rel=1e-10, abs=1e-12)


def test_only_the_learned_projection_is_learned_and_both_are_saved():
    learned, fixed = LearnedProjection(3), RandomProjection(3)
    for projection in (learned, fixed):
        projection(torch.ones(2, 12))
    assert [name for name, _ in learned.named_parameters()] == ["weight"]
    assert not list(fixed.parameters())
    assert list(learned.state_dict()) == list(fixed.state_dict()) == ["weight"]


def test_the_random_projection_keeps_the_mean_square():
    projection = RandomProjection(100)
    projection.setup(LayerSpec(0, (400,)))
    weight = projection.weight
    assert weight.square().mean().item() == pytest.approx(1 / 400, rel=0.05)


@pytest.mark.parametrize("projection", [LearnedProjection, RandomProjection, Prototypes])
def test_a_projection_used_alone_takes_its_features_from_the_first_batch(projection):
    goodness = projection(3)
    assert goodness.weight is None
    assert goodness(torch.ones(2, 12)).shape == (2, 3)
    assert goodness.weight.shape == (3, 12)
    with pytest.raises(ValueError, match="must have 12 values per sample, got 8$"):
        goodness(torch.ones(2, 8))


@pytest.mark.parametrize("projection", [LearnedProjection, RandomProjection, Prototypes])
def test_projections_take_their_features_from_the_layer(projection):
    model = ff.FFSequential(ff.FFLinear(6, 5), ff.FFLinear(5, 4), goodness=projection(3), loss=ff.losses.CrossEntropy())
    assert [layer.objective.goodness.weight.shape for layer in model.layers] == [(3, 5), (3, 4)]


@pytest.mark.parametrize("projection", [LearnedProjection, RandomProjection, Prototypes])
def test_a_second_setup_changes_the_weights_for_another_shape_only(projection):
    goodness = projection(3)
    goodness.setup(LayerSpec(0, (5,)))
    before = goodness.weight
    goodness.setup(LayerSpec(1, (5,)))
    assert goodness.weight is before
    goodness.setup(LayerSpec(1, (2, 3)))
    assert goodness.weight.shape == (3, 6)


def test_a_projection_of_an_image_layer_may_span_its_whole_map():
    layer = ff.FFLayer(
        torch.nn.Conv2d(1, 4, 3),
        goodness=LearnedProjection(3),
        loss=ff.losses.CrossEntropy(),
        input_shape=(1, 4, 4),
    )
    assert layer.objective.goodness.weight.shape == (3, 16)
    model = ff.FFSequential(layer)
    assert model.layer_goodness(torch.ones(2, 1, 4, 4)).shape == (2, 1, 3)


def test_a_hidden_projection_equals_a_plain_loop():
    activations = torch.randn(6, 2, 3, dtype=torch.float64)
    goodness = HiddenProjection(3, hidden=4)
    goodness.setup(LayerSpec(0, (2, 3)))
    goodness.double()
    with torch.no_grad():
        goodness.normalization.weight.uniform_(0.5, 1.5)
        goodness.normalization.bias.uniform_(-0.5, 0.5)
    values = goodness(activations)
    rows, weight = activations.flatten(1), goodness.linear.weight
    hidden = [[sum(weight[j] * row).item() for row in rows] for j in range(4)]
    for j, column in enumerate(hidden):
        mean = sum(column) / len(column)
        spread = math.sqrt(sum((value - mean) ** 2 for value in column) / len(column) + 1e-5)
        scale, shift = goodness.normalization.weight[j].item(), goodness.normalization.bias[j].item()
        hidden[j] = [max(0.0, scale * (value - mean) / spread + shift) for value in column]
    for i in range(6):
        for k in range(3):
            expected = sum(goodness.projection.weight[k, j].item() * hidden[j][i] for j in range(4))
            assert values[i, k].item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_a_hidden_projection_in_other_precisions(dtype):
    torch.manual_seed(0)
    goodness = HiddenProjection(3, hidden=4).train()
    rows = torch.rand(6, 5)
    expected = goodness(rows)
    goodness.to(dtype)
    torch.testing.assert_close(goodness(rows.to(dtype)).float(), expected, rtol=0.05, atol=0.05)
    assert HiddenProjection(3, hidden=4)(rows.double()).isfinite().all()


@pytest.mark.parametrize("p", [4.5, 10.0, 40.0, 1000.0])
@pytest.mark.parametrize("unit", [1e-3, 0.1, 1.0, 10.0, 1e4])
def test_norms_of_large_order_neither_overflow_nor_vanish(p, unit):
    torch.manual_seed(0)
    rows = (unit * torch.rand(3, 50)).requires_grad_()
    norm = Lp(p)(rows)
    values = rows.detach().double().numpy()
    expected = [max(row) * sum((value / max(row)) ** p for value in row) ** (1 / p) for row in values]
    torch.testing.assert_close(norm.detach().double(), torch.tensor(expected, dtype=torch.float64), rtol=1e-5, atol=0)
    norm.sum().backward()
    ratios = (rows.detach().double() / norm.detach().double()[:, None]) ** (p - 1)
    torch.testing.assert_close(rows.grad.double(), ratios, rtol=1e-2, atol=1e-6)
    assert Lp(p)(torch.tensor([[math.inf, 1.0]])) == math.inf
    zeros = torch.zeros(1, 4, requires_grad=True)
    Lp(p)(zeros).sum().backward()
    assert zeros.grad.isfinite().all()


def test_a_hidden_projection_classifies_what_a_linear_one_cannot():
    inputs = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]).repeat(25, 1)
    classes = (inputs.sum(1) == 1).long()  # exclusive or
    errors = []
    for goodness in (LearnedProjection(2), HiddenProjection(2, hidden=16)):
        torch.manual_seed(0)
        layer = ff.FFLayer(torch.nn.Identity(), goodness=goodness, loss=ff.losses.CrossEntropy(), input_shape=(2,))
        model = ff.FFSequential(layer)
        optimizer = ff.LocalOptimizer(torch.optim.Adam, lr=0.02)
        ff.fit(model, (inputs, classes), epochs=30, batch_size=20, optimizer=optimizer, progress=False)
        errors.append(ff.evaluate(model, (inputs, classes)).error)
    assert errors[0] >= 25
    assert errors[1] == 0


def test_a_hidden_projection_takes_its_features_from_the_first_input():
    goodness = HiddenProjection(3, hidden=5)
    assert goodness(torch.rand(2, 12)).shape == (2, 3)
    with pytest.raises(ValueError, match="must have 12 values per sample, got 8; pool="):
        goodness(torch.rand(2, 8, 1))
    linear = goodness.linear
    goodness.setup(LayerSpec(1, (12,)))
    assert goodness.linear is linear
    pooled = HiddenProjection(3, hidden=5, pool=ff.pooling.SpatialPool(1))
    assert pooled(torch.rand(2, 4, 6, 6)).shape == pooled(torch.rand(2, 4, 3, 5)).shape == (2, 3)


def test_prototypes_are_scaled_cosines():
    goodness = Prototypes(3, scale=5.0)
    goodness.setup(LayerSpec(0, (6,)))
    goodness.double()
    activations = torch.randn(4, 6, dtype=torch.float64)
    values = goodness(activations)
    for i in range(4):
        for k in range(3):
            h, p = activations[i].tolist(), goodness.weight[k].tolist()
            dot = sum(a * b for a, b in zip(h, p, strict=True))
            assert values[i, k].item() == pytest.approx(5 * dot / (norm(h, 2) * norm(p, 2)), rel=1e-10)
    torch.testing.assert_close(goodness(7 * activations), values)
    with torch.no_grad():
        goodness.weight[0] = 3 * activations[0]
    assert goodness(activations)[0, 0].item() == pytest.approx(5)


@pytest.mark.parametrize(
    "goodness", [ClassGroups, HiddenProjection, LearnedProjection, Logits, RandomProjection, Prototypes]
)
def test_per_class_goodness_of_classes_needs_two(goodness):
    with pytest.raises(ValueError, match="num_classes must be at least 1, got 0"):
        goodness(0)
    with pytest.raises(ValueError, match="num_classes must be at least 2, got 1"):
        ClassObjective(goodness(1), CrossEntropy())


def test_logits_are_the_outputs_of_a_layer_with_one_per_class():
    outputs = torch.randn(4, 3)
    assert torch.equal(Logits(3)(outputs), outputs)
    assert Logits(3)(outputs.bfloat16()).dtype == torch.float32
    for shape in ((4, 6), (4, 3, 1)):  # six outputs could be two per class
        with pytest.raises(ValueError, match=r"^num_classes must be the layer's number of outputs for Logits, got 3"):
            Logits(3)(torch.zeros(shape))


# Goodness of maps


def test_goodness_by_position_equals_a_plain_loop():
    h = torch.randn(3, 5, 2, 4, dtype=torch.float64)
    values = MeanOfSquaresByPosition()(h)
    assert values.shape == (3, 2, 4)
    for n in range(3):
        for y in range(2):
            for x in range(4):
                expected = sum_of_squares(h[n, :, y, x].tolist()) / 5
                assert values[n, y, x].item() == pytest.approx(expected, rel=1e-12)
    torch.testing.assert_close(values.mean((1, 2)), MeanOfSquares()(h))
    assert MeanOfSquaresByPosition().scale(40) == 1
    assert MeanOfSquaresByPosition()(h.bfloat16()).dtype == torch.float32


@pytest.mark.parametrize(
    "loss",
    [ff.losses.SymBa(2.0), ff.losses.Threshold("width"), ff.losses.TwoThreshold(1.0, 0.5)],
    ids=repr,
)
def test_a_pair_loss_compares_position_with_position(loss):
    h = torch.rand(6, 5, 2, 4, dtype=torch.float64)
    objective = ff.objectives.PairObjective(MeanOfSquaresByPosition(), loss)
    objective.setup(LayerSpec(0, (5, 2, 4)))
    batch = ff.Batch(h, has_negatives=True)
    local = objective(h, batch)
    positions = h.permute(0, 2, 3, 1).flatten(0, 2)  # as if each were a sample
    expected = ff.objectives.PairObjective(MeanOfSquares(), loss)(positions, batch)
    torch.testing.assert_close(local, expected)


def test_the_scale_of_a_goodness_by_position_is_that_of_one_position():
    class SumByPosition(ff.goodness.GoodnessByPosition):
        def forward(self, activations):
            return activations.square().sum(1)

        def scale(self, features):
            return float(features)

    loss = ff.losses.Threshold("width")
    ff.objectives.PairObjective(SumByPosition(), loss).setup(LayerSpec(0, (5, 2, 4)))
    assert loss.threshold == 5


def test_goodness_by_position_classifies():
    model = ff.FFSequential(
        ff.FFConv2d(2, 4, 3),
        goodness=MeanOfSquaresByPosition(),
        loss=ff.losses.SymBa(),
        label_encoder=ff.label_encoders.RandomChannel(3, 6),
    )
    images = torch.rand(5, 1, 6, 6)
    values = model.layer_goodness(images)
    for k in range(3):
        h = model[0](model.label_encoder(images, torch.full((5,), k)))
        torch.testing.assert_close(values[:, 0, k], h.square().flatten(1).mean(1))


@pytest.mark.parametrize("goodness", [None, MeanActivation(), TopK(2), Lp(3)], ids=repr)
def test_class_groups_of_maps_do_not_depend_on_layout_and_position(goodness):
    h = torch.randn(3, 8, 4, 5, dtype=torch.float64)
    values = ClassGroups(4, goodness)(h)
    last = h.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(ClassGroups(4, goodness)(last), values, rtol=1e-12, atol=1e-12)
    assert ClassGroups(4, goodness)(h.bfloat16()).dtype == torch.float32
    moved = h[:, :, torch.randperm(4)][..., torch.randperm(5)]
    torch.testing.assert_close(ClassGroups(4, goodness)(moved), values, rtol=1e-12, atol=1e-12)


def test_gradients_of_class_groups_of_maps_are_exact():
    h = torch.randn(2, 6, 2, 3, dtype=torch.float64, requires_grad=True)
    for goodness in (ClassGroups(3), ClassGroups(3, MeanActivation()), ClassGroups(2, SumOfSquares())):
        assert torch.autograd.gradcheck(goodness, (h,))


@pytest.mark.parametrize("kind", ["mean", "max", "rms"])
@pytest.mark.parametrize("projection", [LearnedProjection, RandomProjection, Prototypes])
def test_projections_of_pooled_maps_accept_maps_of_any_size(projection, kind):
    pooled = projection(3, pool=SpatialPool(2, kind))
    layer = ff.FFConv2d(1, 4, 3, goodness=pooled, loss=ff.losses.CrossEntropy(), input_shape=(1, 8, 8))
    goodness = layer.objective.goodness
    assert goodness.weight.shape == (3, 16)
    h = torch.rand(5, 4, 6, 6)
    rows = SpatialPool(2, kind)(h)
    if projection is Prototypes:
        expected = 16 * torch.nn.functional.cosine_similarity(rows[:, None], goodness.weight[None], dim=2)
    else:
        expected = torch.stack([(rows * weight).sum(1) for weight in goodness.weight], dim=1)
    torch.testing.assert_close(goodness(h), expected)
    torch.testing.assert_close(goodness(h.repeat_interleave(3, 2).repeat_interleave(2, 3)), expected)


@pytest.mark.parametrize("projection", [LearnedProjection, RandomProjection, Prototypes])
def test_maps_of_another_size_are_refused_with_a_hint_at_pooling(projection):
    model = ff.FFSequential(ff.FFConv2d(1, 4, 3), goodness=projection(3), loss=ff.losses.CrossEntropy())
    assert model.layer_goodness(torch.rand(2, 1, 4, 4)).shape == (2, 1, 3)
    hint = r"pool=SpatialPool\(size\) accepts maps of any size$"
    with pytest.raises(ValueError, match=f"^activations must have 16 values per sample, got 64; {hint}"):
        model.layer_goodness(torch.rand(2, 1, 6, 6))
    pooled = projection(3, pool=SpatialPool())
    assert pooled(torch.rand(2, 4, 3, 3)).shape == (2, 3)
    with pytest.raises(ValueError, match=r"^activations must be \(rows, channels, height, width\) for SpatialPool"):
        pooled(torch.rand(2, 4))
    with pytest.raises(ValueError, match="^activations must have 4 values per sample, got 5$"):
        pooled(torch.rand(2, 5, 3, 3))
