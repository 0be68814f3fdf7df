"""Losses against plain loops, their thresholds, and the objectives that goodness and loss make."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

import forwardforward as ff
from forwardforward.batches import Batch
from forwardforward.goodness import L1, LearnedProjection, MeanOfSquares, Negated, SumOfSquares
from forwardforward.losses import (
    CrossEntropy,
    PairLoss,
    Pyramidal,
    SuperclassCrossEntropy,
    SupervisedContrastive,
    SwishSymBa,
    SymBa,
    Threshold,
    TwoThreshold,
    Uniform,
)
from forwardforward.lr_schedules import Ramp
from forwardforward.objectives import (
    BatchObjective,
    ClassObjective,
    Embedding,
    PairObjective,
    SumObjective,
)
from forwardforward.objectives.make import make_objective
from forwardforward.pooling import SpatialPool
from forwardforward.specs import LayerSpec


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def goodness_pair(batch=7, scale=3.0):
    positive, negative = scale * torch.randn(2, batch, dtype=torch.float64)
    return positive, negative


def pairs(positive, negative):
    return zip(positive.tolist(), negative.tolist(), strict=True)


def spec(*shape, index=0, depth=6, scale=None):
    return LayerSpec(index, shape or (4,), scale)


def set_up(plugin, *shape, index=0, scale=None):
    """Return a plug-in after the setup that its layer would do."""
    plugin.setup(spec(*shape, index=index, scale=scale))
    return plugin


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_threshold(temperature):
    """Minus the log of the probabilities that positives are real and negatives are not (Hinton 2022)."""
    positive, negative = goodness_pair()
    expected = 0.0
    for p, n in pairs(positive, negative):
        expected -= math.log(sigmoid((p - 2) / temperature)) + math.log(1 - sigmoid((n - 2) / temperature))
    loss = Threshold(theta=2.0, temperature=temperature)
    assert loss(positive, negative).item() == pytest.approx(expected / 7, rel=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sign", [1, -1])
def test_threshold_is_finite_at_any_goodness(dtype, sign):
    positive = torch.full((3,), sign * 1e6, dtype=dtype, requires_grad=True)
    negative = torch.full((3,), -sign * 1e6, dtype=dtype, requires_grad=True)
    loss = Threshold(theta=2.0)(positive, negative)
    loss.backward()
    assert loss.item() == pytest.approx(0 if sign > 0 else 2e6, rel=1e-5)
    torch.testing.assert_close(positive.grad, torch.full_like(positive, 0 if sign > 0 else -1 / 3))
    torch.testing.assert_close(negative.grad, torch.full_like(negative, 0 if sign > 0 else 1 / 3))


@pytest.mark.parametrize(
    ("theta", "layer", "expected"),
    [
        (3, 0, 3),
        (-1.5, 4, -1.5),
        ("width", 2, 50),
        ([1.0, "width", 7], 0, 1),
        ([1.0, "width", 7], 1, 50),
        ((1.0, "width", 7), 2, 7),
        (Pyramidal(0.4), 0, 20),
        (Pyramidal(0.4), 2, 60),
        (Uniform(0.4), 2, 20),
        ((Uniform(0.4), 7, Pyramidal(0.1)), 0, 20),
        ((Uniform(0.4), 7, Pyramidal(0.1)), 2, 15),
        (lambda scale, layer: scale + layer, 3, 53),
    ],
)
def test_forms_of_theta(theta, layer, expected):
    loss = set_up(Threshold(theta), index=layer, scale=50.0)
    assert loss.threshold == pytest.approx(expected)
    positive, negative = goodness_pair(scale=30)
    fixed = Threshold(float(expected))
    torch.testing.assert_close(loss(positive, negative), fixed(positive, negative))


def test_one_threshold_object_gives_each_layer_its_own_theta():
    loss, goodness = Threshold([1.0, 2.0]), SumOfSquares()
    model = ff.FFSequential(
        ff.FFLinear(6, 5, goodness=goodness, loss=loss),
        ff.FFLinear(5, 4, goodness=goodness, loss=loss),
        label_encoder=ff.label_encoders.Overlay(2),
    )
    assert [layer.objective.loss.threshold for layer in model] == [1.0, 2.0]
    batch = torch.rand(4, 6), torch.tensor([0, 1, 0, 1])
    local = model.local_losses(batch, torch.Generator().manual_seed(0))
    made = model.negatives(*batch, model.label_encoder, None, torch.Generator().manual_seed(0))
    x = made.inputs
    for layer, (theta, result) in enumerate(zip([1.0, 2.0], local, strict=True)):
        x, g = model[layer].output_and_goodness(x)
        torch.testing.assert_close(result.loss, Threshold(theta)(*g.chunk(2)).detach())


@pytest.mark.parametrize("as_objective", [False, True])
def test_layers_used_alone_have_their_own_threshold_and_statistics(as_objective):
    loss, goodness, normalization = Threshold("width"), SumOfSquares(), ff.normalization.BatchNorm()
    plugins = (
        {"objective": PairObjective(goodness, loss)} if as_objective else {"goodness": goodness, "loss": loss}
    ) | {"normalization": normalization}
    layers = [ff.FFLinear(6, 5, **plugins), ff.FFLinear(5, 3, **plugins)]
    assert [layer.objective.loss.threshold for layer in layers] == [5.0, 3.0]
    x = torch.rand(4, 6)
    for layer in layers:
        x, local = layer.local_loss(x, Batch(x, has_negatives=True))
        assert local.loss.isfinite()


def test_pyramidal_thresholds_grow():
    thresholds = [Pyramidal(0.3)(10.0, layer) for layer in range(6)]
    assert thresholds == sorted(set(thresholds))
    assert min(thresholds) > 0


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: Threshold("height"), "theta"),
        (lambda: Threshold([]), "theta"),
        (lambda: Threshold([1.0, "height"]), "theta"),
        (lambda: Threshold([1.0]).setup(spec(index=1)), "theta"),
        (lambda: Threshold(temperature=0), "temperature"),
        (lambda: Pyramidal(0), "k"),
        (lambda: Uniform(-1), "k"),
        (lambda: SymBa(alpha=0), "alpha"),
        (lambda: SwishSymBa(alpha=-1), "alpha"),
        (lambda: TwoThreshold(1, 0, penalty=-0.1), "penalty"),
        (lambda: TwoThreshold((), 0), "theta_positive"),
        (lambda: TwoThreshold(1, (0, 1)).setup(spec(index=2)), "theta_negative"),
        (lambda: CrossEntropy(temperature=0), "temperature"),
        (lambda: CrossEntropy(label_smoothing=1), "label_smoothing"),
        (lambda: SupervisedContrastive(temperature=0), "temperature"),
    ],
)
def test_bad_arguments_are_named(make, argument):
    with pytest.raises(ValueError, match=f"^{argument} must"):
        make()


@pytest.mark.parametrize("theta", ["width", Pyramidal(0.5), ["width", 1.0]], ids=str)
def test_a_computed_threshold_without_a_scale_is_an_error(theta):
    with pytest.raises(ValueError, match=r"^theta=.* depends on the layer: use the loss in a layer, or give a number"):
        Threshold(theta)(torch.ones(2), torch.ones(2))
    with pytest.raises(ValueError, match=r"^goodness must define scale\(features\) for theta="):
        Threshold(theta).setup(spec())


def test_a_sequence_of_thresholds_reads_the_scale_only_in_layers_that_need_it():
    loss = Threshold((Uniform(2.0), 3.0))
    with pytest.raises(ValueError, match="^goodness must define scale"):
        loss.setup(spec(index=0))
    assert set_up(loss, index=0, scale=10.0).threshold == 20
    assert set_up(loss, index=1).threshold == 3
    assert Threshold((3.0, Uniform(2.0))).threshold == 3  # the first layer's, for a loss used alone


def test_a_scheduled_threshold_is_a_factor_times_the_threshold():
    loss = set_up(Threshold(Uniform(0.5), theta_schedule=Ramp(0.2, 1.0)), scale=50.0)
    positive, negative = goodness_pair(scale=30)
    for progress, factor in ((None, 0.2), (0.0, 0.2), (0.25, 0.4), (1.0, 1.0)):
        if progress is not None:
            loss.set_progress(progress)
        assert float(loss.threshold) == pytest.approx(25 * factor)
        torch.testing.assert_close(loss(positive, negative), Threshold(25 * factor)(positive, negative))


def test_ramp():
    assert [Ramp(0.2, 1.0)(t) for t in (0, 0.25, 0.5, 1)] == pytest.approx([0.2, 0.4, 0.6, 1])
    assert [Ramp(1, 0)(t) for t in (0, 0.25, 1)] == pytest.approx([1, 0.75, 0])
    assert repr(Ramp(0.2, 1.0)) == "Ramp(0.2, 1.0)"
    for first, last in ((-0.1, 1), (1, -0.1)):
        with pytest.raises(ValueError, match="^(first|last) must be at least 0"):
            Ramp(first, last)


def test_the_progress_of_a_schedule_is_part_of_the_state():
    loss, other = (Threshold(2.0, theta_schedule=Ramp(0.0, 1.0)) for _ in range(2))
    loss.set_progress(0.75)
    other.load_state_dict(loss.state_dict())
    assert float(other.threshold) == pytest.approx(1.5)
    assert not Threshold(2.0).state_dict()


def test_fit_sets_the_progress_at_the_middle_of_each_epoch():
    seen = []

    class Note(ff.training.Callback):
        def on_epoch_end(self, state):
            seen.append([float(layer.objective.loss.threshold) for layer in state.model])

    model = threshold_stack(Threshold(Pyramidal(0.5), theta_schedule=Ramp(0.0, 1.0)))
    ff.fit(model, (torch.rand(8, 4), torch.arange(8) % 2), epochs=4, callbacks=[Note()], progress=False)
    torch.testing.assert_close(
        torch.tensor(seen), torch.tensor([[3.0 * t, 6 * t] for t in (1 / 8, 3 / 8, 5 / 8, 7 / 8)])
    )


def threshold_stack(loss):
    return ff.FFSequential(
        ff.FFLinear(6, 6),
        ff.FFLinear(6, 6),
        goodness=SumOfSquares(),
        loss=loss,
        label_encoder=ff.label_encoders.Concatenation(num_classes=2),
        negatives=ff.negatives.RandomLabel(),
    )


def test_a_learned_threshold_starts_as_it_is_given_and_has_the_losss_gradient():
    """With theta = e^b t the gradient is theta times the mean of sigmoid(theta - g+) - sigmoid(g- - theta)."""
    loss = set_up(Threshold(Uniform(0.04), learned=True).double(), scale=50.0)
    positive, negative = goodness_pair()
    assert loss.threshold.item() == 2
    torch.testing.assert_close(loss(positive, negative), Threshold(2.0)(positive, negative))
    loss(positive, negative).backward()
    expected = sum(2 * (sigmoid(2 - p) - sigmoid(n - 2)) / 7 for p, n in pairs(positive, negative))
    assert loss.log_factor.grad.item() == pytest.approx(expected, rel=1e-10)
    loss.log_factor.data.fill_(math.log(3))
    assert loss.threshold.item() == pytest.approx(6)


def test_each_layer_learns_its_own_threshold():
    model = threshold_stack(Threshold("width", learned=True))
    data = (torch.rand(8, 4), torch.arange(8) % 2)
    ff.fit(model, data, epochs=3, optimizer=ff.LocalOptimizer(torch.optim.SGD, lr=0.1), progress=False)
    first, second = (float(layer.objective.loss.threshold.detach()) for layer in model)
    assert first != second
    assert 6 not in (first, second)
    assert [name for name in model.state_dict() if "log_factor" in name] == [
        f"layers.{layer}.objective.loss.log_factor" for layer in range(2)
    ]


@pytest.mark.parametrize("make", [SumOfSquares, MeanOfSquares, L1], ids=lambda c: c.__name__)
@pytest.mark.parametrize("negated", [False, True])
def test_width_is_satisfiable(make, negated):
    """Activations exist whose loss is as near to 0 as one likes: large against none, or the other way round."""
    goodness = Negated(make()) if negated else make()
    features = 400
    large, none = torch.full((2, features), 100.0), torch.zeros(2, features)
    positive, negative = (none, large) if negated else (large, none)
    scale = goodness.scale(features)
    loss = set_up(Threshold("width", temperature=0.02), features, scale=scale)
    assert loss(goodness(positive), goodness(negative)).item() < 1e-10
    wrong = set_up(Threshold("width"), features, scale=scale)(goodness(negative), goodness(positive))
    assert wrong.item() > 10


def test_symba():
    positive, negative = goodness_pair()
    expected = sum(math.log1p(math.exp(-4 * (p - n))) for p, n in pairs(positive, negative)) / 7
    assert SymBa(alpha=4)(positive, negative).item() == pytest.approx(expected, rel=1e-10)


def test_symba_falls_as_positive_goodness_rises():
    """The sign that the Trifecta's paper prints the other way round."""
    near, far = torch.tensor([1.0]), torch.tensor([2.0])
    assert SymBa()(far, near) < SymBa()(near, near) < SymBa()(near, far)


def test_swish_symba():
    positive, negative = goodness_pair(scale=0.3)
    expected = 0.0
    for p, n in pairs(positive, negative):
        u = -3 * (p - n)
        expected += u * sigmoid(u)
    assert SwishSymBa(alpha=3)(positive, negative).item() == pytest.approx(expected / 7, rel=1e-10)


@given(seed=st.integers(0, 2**16), shift=st.floats(-100, 100))
def test_symba_has_no_threshold(seed, shift):
    positive, negative = torch.randn(2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    for loss in (SymBa(), SwishSymBa()):
        torch.testing.assert_close(
            loss(positive + shift, negative + shift), loss(positive, negative), atol=1e-9, rtol=0
        )


def test_two_thresholds():
    positive, negative = goodness_pair()
    total, size = 0.0, 0.0
    for p, n in pairs(positive, negative):
        total += math.log1p(math.exp(5 - p)) + math.log1p(math.exp(n - 9))
        size += abs(p)
    result = TwoThreshold(theta_positive=5, theta_negative=9, penalty=0.3)(positive, negative)
    assert result.item() == pytest.approx(total / 7 + 0.3 * size / 7, rel=1e-10)
    result = TwoThreshold(theta_positive=5, theta_negative=9)(positive, negative)
    assert result.item() == pytest.approx(total / 7, rel=1e-10)


def test_the_penalty_of_a_goodness_by_position_is_the_norm_of_each_positive_sample():
    positive, negative = torch.rand(2, 3, 4, 5, dtype=torch.float64)
    loss = TwoThreshold(0, 1, penalty=(0.0, 0.2))
    bare = loss(positive, negative)
    loss.setup(spec(index=1))
    size = sum(math.sqrt(sum(float(g) ** 2 for g in sample.flatten())) for sample in positive) / 3
    assert (loss(positive, negative) - bare).item() == pytest.approx(0.2 * size, rel=1e-10)
    with pytest.raises(ValueError, match=r"penalty\[1\] must be at least 0, got -1"):
        TwoThreshold(0, 1, penalty=(0.1, -1))


@pytest.mark.parametrize(
    "loss", [Threshold(theta=0.0), SymBa(alpha=1.0), SwishSymBa(alpha=1.0), TwoThreshold(0.0, 0.0)], ids=str
)
def test_the_slope_at_separated_pairs_is_zero_before_it_is_a_subnormal_number(loss):
    half = torch.linspace(0, 120, 481)
    positive, negative = half.clone().requires_grad_(), (-half).requires_grad_()
    slopes = torch.autograd.grad(loss(positive, negative), (positive, negative))
    exact = [x.double().detach().requires_grad_() for x in (positive, negative)]
    margin = exact[0] - exact[1]
    plain = {
        "SymBa": lambda: torch.log1p(torch.exp(-margin)),
        "SwishSymBa": lambda: -margin / (1 + torch.exp(margin)),
    }.get(type(loss).__name__, lambda: torch.log1p(torch.exp(-exact[0])) + torch.log1p(torch.exp(exact[1])))
    expected = torch.autograd.grad(plain().mean(), exact)
    for slope, value in zip(slopes, expected, strict=True):
        assert not ((slope != 0) & (slope.abs() < 1e-30)).any()
        torch.testing.assert_close(slope.double(), value, rtol=1e-5, atol=1e-20)


@given(seed=st.integers(0, 2**16))
def test_pair_losses_do_not_depend_on_the_order_of_pairs(seed):
    generator = torch.Generator().manual_seed(seed)
    positive, negative = torch.randn(2, 6, dtype=torch.float64, generator=generator)
    order = torch.randperm(6, generator=generator)
    for loss in (Threshold(1.0), SymBa(), SwishSymBa(), TwoThreshold(0, 1, 0.1)):
        torch.testing.assert_close(loss(positive[order], negative[order]), loss(positive, negative))


def test_layer_accuracy():
    """Adamson's: the share of samples on the right side; without a threshold, of pairs told apart."""
    positive = torch.tensor([1.0, 3.0, 5.0, 2.0])
    negative = torch.tensor([0.0, 4.0, 1.0, 2.0])
    assert Threshold(2.0).accuracy(positive, negative).item() == pytest.approx((2 + 3) / 8)
    assert set_up(Threshold("width"), scale=3.5).accuracy(positive, negative).item() == pytest.approx((1 + 3) / 8)
    assert TwoThreshold(2.5, 0.5).accuracy(positive, negative).item() == pytest.approx((2 + 1) / 8)
    assert SymBa().accuracy(positive, negative).item() == pytest.approx(2 / 4)
    assert SwishSymBa().accuracy(positive, negative).item() == pytest.approx(2 / 4)


@pytest.mark.parametrize(("temperature", "smoothing"), [(1.0, 0.0), (0.5, 0.0), (2.0, 0.1)])
def test_cross_entropy(temperature, smoothing):
    goodness, targets = torch.randn(6, 4, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 1, 1])
    expected = 0.0
    for row, target in zip(goodness.tolist(), targets.tolist(), strict=True):
        total = sum(math.exp(g / temperature) for g in row)
        for k, g in enumerate(row):
            share = smoothing / 4 + (1 - smoothing) * (k == target)
            expected -= share * math.log(math.exp(g / temperature) / total)
    result = CrossEntropy(temperature, smoothing)(goodness, targets)
    assert result.item() == pytest.approx(expected / 6, rel=1e-10)


def test_cross_entropy_of_bfloat16_is_computed_in_float32():
    goodness = torch.randn(6, 4).bfloat16()
    loss = CrossEntropy()(goodness, torch.zeros(6, dtype=torch.long))
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, CrossEntropy()(goodness.float(), torch.zeros(6, dtype=torch.long)))


def supervised_contrastive(embeddings, targets, temperature):
    """The double loop of Khosla et al., equation 2, over samples that have partners."""
    units = [e / e.square().sum().sqrt() for e in embeddings]
    terms = []
    for i, target in enumerate(targets):
        partners = [p for p in range(len(targets)) if p != i and targets[p] == target]
        if not partners:
            continue
        total = sum(math.exp(float(units[i] @ units[j]) / temperature) for j in range(len(units)) if j != i)
        logs = [math.log(math.exp(float(units[i] @ units[p]) / temperature) / total) for p in partners]
        terms.append(-sum(logs) / len(partners))
    return sum(terms) / len(terms) if terms else 0.0


@pytest.mark.parametrize(
    "targets",
    [[0, 0, 1, 1, 1], [0, 0, 0, 0, 0], [0, 0, 1, 2, 3], [0, 1, 2, 3, 4], [2, 2]],
    ids=["two classes", "one class", "classes occurring once", "no class twice", "one pair"],
)
@pytest.mark.parametrize("temperature", [0.1, 0.7])
def test_supervised_contrastive(targets, temperature):
    embeddings = torch.randn(len(targets), 3, 2, dtype=torch.float64, requires_grad=True)
    loss = SupervisedContrastive(temperature)
    result = loss(embeddings, torch.tensor(targets))
    expected = supervised_contrastive(embeddings.detach().flatten(1), targets, temperature)
    assert result.item() == pytest.approx(expected, rel=1e-10, abs=1e-12)
    assert torch.autograd.gradcheck(lambda e: loss(e, torch.tensor(targets)), (embeddings,))


def test_supervised_contrastive_survives_a_batch_of_one_and_dead_samples():
    loss = SupervisedContrastive()
    for embeddings, targets in ((torch.randn(1, 4), [0]), (torch.zeros(4, 4), [0, 0, 1, 1])):
        embeddings.requires_grad_()
        result = loss(embeddings, torch.tensor(targets))
        result.backward()
        assert result.isfinite()
        assert embeddings.grad.isfinite().all()


def test_repr():
    assert repr(Threshold(2.0)) == "Threshold(theta=2.0)"
    assert repr(Threshold((Uniform(2), Uniform(1)))) == "Threshold(theta=(Uniform(k=2), Uniform(k=1)))"
    changing = Threshold(2.0, theta_schedule=Ramp(0.2, 1.0), learned=True)
    assert repr(changing) == "Threshold(theta=2.0, theta_schedule=Ramp(0.2, 1.0), learned=True)"
    assert repr(Threshold(Pyramidal(0.5), 2)) == "Threshold(theta=Pyramidal(k=0.5), temperature=2)"
    assert repr(SwishSymBa(2.0)) == "SwishSymBa(alpha=2.0)"
    assert repr(TwoThreshold(5, 9)) == "TwoThreshold(theta_positive=5, theta_negative=9, penalty=0.0)"


# Objectives: the three kinds through one interface


def paired(rows=6):
    return Batch(torch.empty(0), torch.arange(rows // 2), has_negatives=True)


def sum_of(h):
    return h.sum(1)


def total(h):
    return h.sum()


def first_three(h):
    return h[:, :3]


def pair_difference(positive, negative):
    return (negative - positive).mean()


def test_the_losss_base_class_states_the_kind_of_objective():
    assert isinstance(make_objective(SumOfSquares(), Threshold()), PairObjective)
    assert isinstance(make_objective(sum_of, SymBa()), PairObjective)
    assert isinstance(make_objective(LearnedProjection(3), CrossEntropy()), ClassObjective)
    assert isinstance(make_objective(first_three, CrossEntropy()), ClassObjective)
    assert isinstance(make_objective(None, SupervisedContrastive()), BatchObjective)


def test_plain_functions_serve_as_losses_of_a_stated_objective():
    h, targets = torch.randn(6, 5), torch.tensor([0, 1, 2, 0, 1, 2])
    g = h.square().sum(1)
    local = PairObjective(SumOfSquares(), pair_difference)(h, paired())
    torch.testing.assert_close(local.loss, (g[3:] - g[:3]).mean())
    for loss in (F.cross_entropy, torch.nn.CrossEntropyLoss()):
        local = ClassObjective(first_three, loss)(h, Batch(h, targets))
        torch.testing.assert_close(local.loss, F.cross_entropy(h[:, :3], targets))
    local = ClassObjective(LearnedProjection(3), lambda g, y: g.mean())(h, Batch(h, targets))
    assert local.loss.isfinite()
    local = BatchObjective(lambda e, y: e.square().mean())(h, Batch(h, targets))
    torch.testing.assert_close(local.loss, h.square().mean())


@pytest.mark.parametrize(
    ("goodness", "loss", "kind", "name"),
    [
        (SumOfSquares(), pair_difference, "PairObjective", "pair_difference"),
        (LearnedProjection(3), F.cross_entropy, "ClassObjective", "cross_entropy"),
        (LearnedProjection(3), torch.nn.CrossEntropyLoss(), "ClassObjective", "CrossEntropyLoss"),
    ],
    ids=["pair", "class", "module"],
)
def test_a_plain_function_as_loss_is_refused_with_the_objective_to_use(goodness, loss, kind, name):
    """Without a base class, a loss of two arguments could be of any kind."""
    message = (
        f"^loss must be a PairLoss, ClassLoss or BatchLoss, got {name}; state the kind of any other function by "
        rf"objective=ff.objectives.{kind}\(goodness, {name}\)"
    )
    with pytest.raises(TypeError, match=message):
        make_objective(goodness, loss)
    with pytest.raises(TypeError, match=message):
        ff.FFLinear(4, 3, goodness=goodness, loss=loss)
    with pytest.raises(TypeError, match=message.replace("^", "^layer 0: ")):
        ff.FFSequential(ff.FFLinear(4, 3), goodness=goodness, loss=loss)
    with pytest.raises(TypeError, match="^layer 0: loss must be a PairLoss, ClassLoss or BatchLoss, got pair_diff"):
        ff.FFSequential(ff.FFLinear(4, 3), goodness=first_three, loss=pair_difference)


@pytest.mark.parametrize(
    ("goodness", "loss"),
    [(SumOfSquares(), CrossEntropy()), (LearnedProjection(3), SymBa()), (None, SymBa()), (None, CrossEntropy())],
    ids=str,
)
def test_goodness_and_loss_of_different_kinds_are_refused(goodness, loss):
    with pytest.raises(ValueError, match="^goodness must be"):
        make_objective(goodness, loss)


@pytest.mark.parametrize(
    ("goodness", "loss", "message"),
    [
        (total, SymBa(), r"^goodness must have shape \(rows,\), or .* for a pair objective, got \(\) for one row"),
        (sum_of, CrossEntropy(), r"^goodness must have shape \(rows, classes\) for a class objective, got \(1,\) for"),
    ],
    ids=["one number per batch", "one number per sample for classes"],
)
def test_a_goodness_function_of_another_kind_is_refused_at_construction(goodness, loss, message):
    with pytest.raises(ValueError, match=message):
        ff.FFLinear(6, 5, goodness=goodness, loss=loss)
    with pytest.raises(ValueError, match=message.removeprefix("^")):
        ff.FFSequential(
            ff.FFLinear(6, 5),
            goodness=goodness,
            loss=loss,
            label_encoder=ff.label_encoders.Overlay(3) if isinstance(loss, PairLoss) else None,
        )


class WithScale(PairLoss):
    """A misspelt request for the scale, which nothing would ever pass."""

    use_scale = True

    def forward(self, positive, negative, scale):
        return ((negative - positive) / scale).mean()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: make_objective(SumOfSquares(), WithScale()), r"^loss must be callable with 2 arguments, got"),
        (lambda: PairObjective(SumOfSquares(), lambda g: g), r"^loss must be callable with 2 arguments, got"),
        (lambda: ClassObjective(first_three, lambda g: g), r"^loss must be callable with 2 arguments, got"),
        (lambda: BatchObjective(lambda a, b, c: a), r"^loss must be callable with 2 arguments, got"),
        (lambda: PairObjective(lambda h, y: h, SymBa()), r"^goodness must be callable with 1 argument, got"),
        (lambda: ClassObjective(lambda: 0, CrossEntropy()), r"^goodness must be callable with 1 argument, got"),
        (lambda: PairObjective("sum", SymBa()), r"^goodness must be callable, got 'sum'"),
        (lambda: PairObjective(SumOfSquares, SymBa()), "^goodness must be an instance, such as SumOfSquares"),
        (lambda: PairObjective(SumOfSquares(), SymBa), "^loss must be an instance, such as SymBa"),
        (lambda: BatchObjective(SupervisedContrastive), "^loss must be an instance, such as SupervisedContrastive"),
    ],
)
def test_parts_with_other_arguments_are_refused_at_construction(make, message):
    with pytest.raises(TypeError, match=message):
        make()


def test_a_loss_that_asks_for_a_third_argument_is_refused_by_layers_and_networks():
    message = r"loss must be callable with 2 arguments, got WithScale\(\) with \(positive, negative, scale\)"
    with pytest.raises(TypeError, match=message):
        ff.FFLinear(4, 3, goodness=SumOfSquares(), loss=WithScale())
    with pytest.raises(TypeError, match=message):
        ff.FFSequential(
            ff.FFLinear(4, 3),
            goodness=SumOfSquares(),
            loss=WithScale(),
            label_encoder=ff.label_encoders.Overlay(2),
        )


@pytest.mark.parametrize("loss", [CrossEntropy(), SupervisedContrastive()], ids=repr)
def test_pair_objectives_refuse_losses_of_another_kind(loss):
    with pytest.raises(ValueError, match="^loss must compare positive with negative goodness for a pair objective"):
        PairObjective(SumOfSquares(), loss)


@pytest.mark.parametrize("loss", [SymBa(), SupervisedContrastive()], ids=repr)
def test_class_objectives_refuse_losses_of_another_kind(loss):
    with pytest.raises(ValueError, match="^loss must compare per-class goodness with labels for a class objective"):
        ClassObjective(first_three, loss)


@pytest.mark.parametrize("loss", [SymBa(), CrossEntropy()], ids=repr)
def test_batch_objectives_refuse_losses_of_another_kind(loss):
    with pytest.raises(ValueError, match="^loss must compare embeddings for a batch objective"):
        BatchObjective(loss)


def test_pair_objective():
    h = torch.randn(6, 5, dtype=torch.float64)
    local = set_up(PairObjective(SumOfSquares(), Threshold("width")), 5)(h, paired())
    g = h.square().sum(1)
    torch.testing.assert_close(local.loss, Threshold(5.0)(g[:3], g[3:]))
    torch.testing.assert_close(local.positive, g[:3].mean())
    torch.testing.assert_close(local.negative, g[3:].mean())
    torch.testing.assert_close(local.accuracy, Threshold(5.0).accuracy(g[:3], g[3:]))
    assert local.parts == {}


def test_the_scale_counts_all_activations_of_an_image():
    h = torch.randn(4, 3, 2, 2, dtype=torch.float64)
    local = set_up(PairObjective(SumOfSquares(), Threshold("width")), 3, 2, 2)(h, paired(4))
    g = h.square().flatten(1).sum(1)
    torch.testing.assert_close(local.loss, Threshold(12.0)(g[:2], g[2:]))


def test_a_plain_goodness_serves_where_theta_is_a_number():
    def goodness(h):
        return h.square().sum(1)

    h = torch.randn(6, 5)
    local = set_up(PairObjective(goodness, Threshold([2.0, "width"])), 5)(h, paired())
    torch.testing.assert_close(local.loss, Threshold(2.0)(*goodness(h).chunk(2)))


@pytest.mark.parametrize("theta", ["width", ["width", 1.0], Pyramidal()], ids=str)
def test_a_plain_goodness_has_no_scale_for_theta_to_read(theta):
    with pytest.raises(ValueError, match="goodness must define scale"):
        PairObjective(sum_of, Threshold(theta)).setup(spec(3))
    with pytest.raises(ValueError, match="goodness must define scale"):
        ff.FFLinear(4, 3, goodness=sum_of, loss=Threshold(theta))


def test_an_own_loss_reads_the_scale_in_its_setup():
    class Relative(PairLoss):
        def setup(self, spec):
            self.scale = spec.scale

        def forward(self, positive, negative):
            return ((negative - positive) / self.scale).mean()

    h = torch.randn(4, 5)
    local = set_up(PairObjective(SumOfSquares(), Relative()), 5)(h, paired(4))
    g = h.square().sum(1) / 5
    torch.testing.assert_close(local.loss, (g[2:] - g[:2]).mean())
    torch.testing.assert_close(local.accuracy, (g[:2] > g[2:]).float().mean())
    layer = ff.FFLinear(8, 7, goodness=SumOfSquares(), loss=Relative())
    assert layer.objective.loss.scale == 7


def test_class_objective():
    h, targets = torch.randn(3, 4, dtype=torch.float64), torch.tensor([0, 2, 1])
    goodness = set_up(LearnedProjection(3), 4).double()
    local = ClassObjective(goodness, CrossEntropy())(h, Batch(h, targets))
    g = goodness(h).detach()
    true = g[torch.arange(3), targets]
    torch.testing.assert_close(local.loss, CrossEntropy()(g, targets))
    torch.testing.assert_close(local.positive, true.mean())
    torch.testing.assert_close(local.negative, ((g.sum(1) - true) / 2).mean())
    torch.testing.assert_close(local.accuracy, (g.argmax(1) == targets).float().mean())


@pytest.mark.parametrize(
    "objective",
    [ClassObjective(LearnedProjection(3), CrossEntropy()), BatchObjective(SupervisedContrastive())],
    ids=lambda objective: type(objective).__name__,
)
def test_objectives_that_read_targets_name_missing_targets(objective):
    with pytest.raises(ValueError, match="targets must be given"):
        objective(torch.ones(2, 4), Batch(torch.ones(2, 4)))


def test_objectives_add_up():
    h, batch = torch.randn(5, 4), Batch(torch.empty(0), torch.tensor([0, 0, 1, 1, 2]))
    contrast, classes = BatchObjective(SupervisedContrastive()), ClassObjective(LearnedProjection(3), CrossEntropy())
    both = contrast + classes
    assert isinstance(both, SumObjective)
    assert both.num_classes == 3
    assert not both.uses_negatives
    local = both(h, batch)
    torch.testing.assert_close(local.loss, contrast(h, batch).loss + classes(h, batch).loss)
    torch.testing.assert_close(local.accuracy, classes(h, batch).accuracy)
    torch.testing.assert_close(both.goodness_of(h), classes.goodness_of(h))


def test_the_parts_of_a_sum_are_the_terms_by_name():
    h, batch = torch.randn(6, 4), Batch(torch.empty(0), torch.tensor([0, 0, 1, 1, 2, 2]))
    terms = [
        ClassObjective(LearnedProjection(3), CrossEntropy()),
        BatchObjective(SupervisedContrastive(), weight=0.3),
        BatchObjective(SupervisedContrastive(0.7)),
        BatchObjective(lambda e, y: e.square().mean()),
    ]
    local = SumObjective(*terms)(h, batch)
    expected = {
        name: term(h, batch).loss
        for name, term in zip(
            ("CrossEntropy", "SupervisedContrastive", "SupervisedContrastive2", "<lambda>"), terms, strict=True
        )
    }
    assert list(local.parts) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(local.parts[name], value)
    torch.testing.assert_close(local.loss, sum(local.parts.values()))
    assert all(not value.requires_grad for value in local.detach().parts.values())


@pytest.mark.parametrize("peer", [None, ff.normalization.PeerNormalization()], ids=["sum", "sum and peer"])
def test_the_parts_of_a_summed_objective_are_in_the_step_and_in_the_history(peer):
    names = ["CrossEntropy", "SupervisedContrastive", *(["PeerNormalization"] if peer else [])]
    model = ff.FFSequential(
        ff.FFLinear(6, 5),
        ff.FFLinear(5, 4),
        objective=ClassObjective(LearnedProjection(3), CrossEntropy()) + BatchObjective(SupervisedContrastive()),
        peer=peer,
    )
    steps = []

    class Note(ff.training.Callback):
        def on_step_end(self, state, result):
            steps.append(result)

    data = torch.rand(12, 6), torch.arange(12) % 3
    history = ff.fit(model, data, epochs=2, batch_size=6, callbacks=[Note()], progress=False)
    assert len(steps) == 4
    for layer in range(2):
        for result in steps:
            local = result.layers[layer]
            assert list(local.parts) == names
            torch.testing.assert_close(sum(local.parts.values()), local.loss)
        for epoch in range(2):
            record = history[epoch]["layers"][layer]
            assert list(record["parts"]) == names
            assert record["loss"] == pytest.approx(sum(record["parts"].values()), rel=1e-5)
            for name, value in record["parts"].items():
                both = [float(result.layers[layer].parts[name]) for result in steps[2 * epoch : 2 * epoch + 2]]
                assert value == pytest.approx(sum(both) / 2, rel=1e-5)


def test_pair_and_class_objectives_do_not_mix():
    with pytest.raises(ValueError, match="objectives of one layer"):
        PairObjective(SumOfSquares(), SymBa()) + ClassObjective(LearnedProjection(3), CrossEntropy())


# Superclasses


@pytest.mark.parametrize(("temperature", "smoothing"), [(1.0, 0.0), (0.5, 0.2)])
@pytest.mark.parametrize("superclasses", [[0, 0, 1, 1, 1], [1, 0, 1, 2, 0], [2, 1, 0, 3, 4]], ids=str)
def test_superclass_cross_entropy(superclasses, temperature, smoothing):
    """Each superclass's goodness is the mean over its classes, and the label's superclass is the target."""
    goodness, targets = torch.randn(6, 5, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 4, 1])
    loss = SuperclassCrossEntropy(superclasses, temperature, smoothing).double()
    count = max(superclasses) + 1
    expected = 0.0
    for row, target in zip(goodness.tolist(), targets.tolist(), strict=True):
        means = []
        for j in range(count):
            members = [g for g, s in zip(row, superclasses, strict=True) if s == j]
            means.append(sum(members) / len(members) / temperature)
        total = sum(math.exp(mean) for mean in means)
        for j, mean in enumerate(means):
            share = smoothing / count + (1 - smoothing) * (j == superclasses[target])
            expected -= share * math.log(math.exp(mean) / total)
    assert loss(goodness, targets).item() == pytest.approx(expected / 6, rel=1e-6)
    assert torch.autograd.gradcheck(lambda g: loss(g, targets), (goodness.requires_grad_(),), atol=1e-4)


@given(seed=st.integers(0, 2**16))
def test_superclasses_do_not_tell_their_classes_apart(seed):
    """Swapping classes of a superclass, in the goodness and in the labels, changes nothing; nor do labels alone."""
    generator = torch.Generator().manual_seed(seed)
    goodness = torch.randn(8, 5, generator=generator)
    targets = torch.randint(5, (8,), generator=generator)
    loss = SuperclassCrossEntropy([0, 1, 0, 1, 1])
    swap = torch.tensor([2, 4, 0, 1, 3])
    torch.testing.assert_close(loss(goodness, swap[targets]), loss(goodness, targets))
    torch.testing.assert_close(loss(goodness[:, swap], targets), loss(goodness, targets))


def test_superclasses_of_one_class_each_are_the_classes():
    goodness, targets = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 1, 1])
    loss = SuperclassCrossEntropy(range(4), temperature=2.0, label_smoothing=0.1)
    torch.testing.assert_close(loss(goodness, targets), CrossEntropy(2.0, 0.1)(goodness, targets))


@pytest.mark.parametrize("superclasses", [[], [0, 0], [0, 2, 2], [1, 2, 1], [-1, 0, 1]], ids=str)
def test_superclasses_must_be_numbered_without_gaps(superclasses):
    with pytest.raises(
        ValueError, match=r"^superclasses(\[0\] must be at least 0| must be all of 0, 1, ... up to the highest)"
    ):
        SuperclassCrossEntropy(superclasses)


def test_superclasses_must_be_one_per_class():
    with pytest.raises(ValueError, match="^superclasses must be one per class, got 3 for 4"):
        SuperclassCrossEntropy([0, 1, 1])(torch.randn(2, 4), torch.tensor([0, 1]))
    assert not SuperclassCrossEntropy([0, 1, 1]).state_dict()
    assert repr(SuperclassCrossEntropy([0, 1, 1])) == (
        "SuperclassCrossEntropy(superclasses=[0, 1, 1], temperature=1.0, label_smoothing=0.0)"
    )


def test_superclasses_for_the_first_layer_and_classes_for_the_next():
    model = ff.FFSequential(
        ff.FFLinear(6, 8, loss=SuperclassCrossEntropy([0, 0, 1, 1])),
        ff.FFLinear(8, 8),
        goodness=ff.goodness.ClassGroups(4),
        loss=CrossEntropy(),
    )
    x, targets = torch.rand(5, 6), torch.tensor([0, 1, 2, 3, 0])
    result = model.step((x, targets), ff.LocalOptimizer(torch.optim.SGD, lr=0.0))
    goodness = model.layer_goodness(x)
    means = goodness[:, 0].view(5, 2, 2).mean(2)
    torch.testing.assert_close(result.layers[0].loss, CrossEntropy()(means, targets // 2))
    torch.testing.assert_close(result.layers[1].loss, CrossEntropy()(goodness[:, 1], targets))


# Embeddings


@pytest.mark.parametrize("pool", [None, SpatialPool(2), SpatialPool(1, "max")], ids=repr)
def test_an_embedding_normalizes_over_the_batch_and_projects(pool):
    h = torch.rand(5, 3, 4, 4, dtype=torch.float64)
    embedding = set_up(Embedding(6, pool), 3, 4, 4).double()
    weight = embedding.linear.weight
    embedding.setup(spec(3, 4, 4, index=1))  # a second setup with the same shape changes nothing
    assert embedding.linear.weight is weight
    rows = h.flatten(1) if pool is None else pool(h)
    mean, var = rows.mean(0), rows.var(0, correction=0)
    normalized = (rows - mean) / (var + 1e-5).sqrt()
    result = embedding(h)
    assert result.shape == (5, 6)
    for i in range(5):
        for d in range(6):
            expected = embedding.linear.bias[d].item()
            for w, v in zip(embedding.linear.weight[d].tolist(), normalized[i].tolist(), strict=True):
                expected += w * v
            assert result[i, d].item() == pytest.approx(expected, rel=1e-9, abs=1e-10)
    torch.testing.assert_close(embedding.normalization.running_mean, 0.1 * mean)
    embedding.eval()
    torch.testing.assert_close(embedding(h)[:1], embedding(h[:1]))


def test_embeddings_out_of_range():
    with pytest.raises(ValueError, match="^dimensions must be at least 1, got 0"):
        Embedding(0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_embedding_used_alone_shapes_itself_at_the_first_call(dtype):
    embedding = Embedding(4)
    assert embedding(torch.rand(3, 5, dtype=dtype)).shape == (3, 4)
    assert embedding.linear.in_features == 5
    assert embedding(torch.rand(3, 5, dtype=dtype)).dtype == dtype
    with pytest.raises(ValueError, match="^activations must have 5 values per sample for the embedding, got 6"):
        embedding(torch.rand(3, 6, dtype=dtype))


def test_a_weight_is_a_factor_on_the_loss():
    h, batch = torch.randn(6, 4), Batch(torch.empty(0), torch.tensor([0, 0, 1, 1, 2, 2]))
    plain = BatchObjective(SupervisedContrastive())(h, batch)
    torch.testing.assert_close(BatchObjective(SupervisedContrastive(), weight=0.3)(h, batch).loss, 0.3 * plain.loss)
    assert BatchObjective(SupervisedContrastive()).goodness_of(h) is None
    classes = ClassObjective(LearnedProjection(3), CrossEntropy())
    both = classes + BatchObjective(SupervisedContrastive(), weight=0.3)
    torch.testing.assert_close(both(h, batch).loss, classes(h, batch).loss + 0.3 * plain.loss)


def test_each_layer_learns_its_own_embedding():
    """The two objectives of HCL-FF: each layer has its own embedding, which learns with it."""

    def objective():
        contrast = BatchObjective(SupervisedContrastive(), Embedding(5, SpatialPool(2)), weight=0.5)
        return ClassObjective(ff.goodness.ClassGroups(2), CrossEntropy()) + contrast

    layers = [ff.FFConv2d(a, 4, 3, objective=objective()) for a in (1, 4)]
    model = ff.FFSequential(*layers, normalization=ff.normalization.RMSNorm(), input_shape=(1, 8, 8))
    assert [name for name, _ in model.named_parameters() if "linear.weight" in name] == [
        f"layers.{i}.objective.objectives.1.embedding.linear.weight" for i in range(2)
    ]
    before = {name: value.clone() for name, value in model.named_parameters()}
    x, targets = torch.rand(6, 1, 8, 8), torch.arange(6) % 2
    model.step((x, targets), ff.LocalOptimizer(torch.optim.SGD, lr=0.5))
    assert all(not torch.equal(before[name], value) for name, value in model.named_parameters())
    assert model.predict(x).shape == (6,)
