import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import forwardforward as ff
from forwardforward.batches import Batch
from forwardforward.goodness import L1, LearnedProjection, MeanOfSquares, Negated, SumOfSquares
from forwardforward.losses import (
    CrossEntropy,
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
    objective,
)
from forwardforward.pooling import SpatialPool


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def goodness_pair(batch=7, scale=3.0):
    positive, negative = scale * torch.randn(2, batch, dtype=torch.float64)
    return positive, negative


def pairs(positive, negative):
    return zip(positive.tolist(), negative.tolist(), strict=True)


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
    loss = Threshold(theta)
    loss.bind(layer)
    assert loss.threshold(50.0) == pytest.approx(expected)
    positive, negative = goodness_pair(scale=30)
    fixed = Threshold(float(expected))
    torch.testing.assert_close(loss(positive, negative, 50.0), fixed(positive, negative))


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
        (lambda: Threshold([1.0]).bind(1), "theta"),
        (lambda: Threshold(temperature=0), "temperature"),
        (lambda: Pyramidal(0), "k"),
        (lambda: Uniform(-1), "k"),
        (lambda: SymBa(alpha=0), "alpha"),
        (lambda: SwishSymBa(alpha=-1), "alpha"),
        (lambda: TwoThreshold(1, 0, penalty=-0.1), "penalty"),
        (lambda: TwoThreshold((), 0), "theta_positive"),
        (lambda: TwoThreshold(1, (0, 1)).bind(2), "theta_negative"),
        (lambda: CrossEntropy(temperature=0), "temperature"),
        (lambda: CrossEntropy(label_smoothing=1), "label_smoothing"),
        (lambda: SupervisedContrastive(temperature=0), "temperature"),
    ],
)
def test_bad_arguments_are_named(make, argument):
    with pytest.raises(ValueError, match=f"^{argument} must"):
        make()


@pytest.mark.parametrize("theta", ["width", Pyramidal(0.5)], ids=str)
def test_width_without_a_scale_is_an_error(theta):
    with pytest.raises(ValueError, match="scale must be given"):
        Threshold(theta)(torch.ones(2), torch.ones(2))


def test_a_sequence_of_computed_thresholds_reads_the_scale_where_it_must():
    loss = Threshold((Uniform(2.0), 3.0))
    assert loss.uses_scale
    loss.bind(1)
    assert not loss.uses_scale
    assert loss.threshold() == 3


def test_a_scheduled_threshold_is_a_factor_times_the_threshold():
    loss = Threshold(Uniform(0.5), theta_schedule=Ramp(0.2, 1.0))
    positive, negative = goodness_pair(scale=30)
    for progress, factor in ((None, 0.2), (0.0, 0.2), (0.25, 0.4), (1.0, 1.0)):
        if progress is not None:
            loss.set_progress(progress)
        assert float(loss.threshold(50.0)) == pytest.approx(25 * factor)
        torch.testing.assert_close(loss(positive, negative, 50.0), Threshold(25 * factor)(positive, negative))


def test_ramp():
    assert [Ramp(0.2, 1.0)(t) for t in (0, 0.25, 0.5, 1)] == pytest.approx([0.2, 0.4, 0.6, 1])
    assert [Ramp(1, 0)(t) for t in (0, 0.25, 1)] == pytest.approx([1, 0.75, 0])
    assert repr(Ramp(0.2, 1.0)) == "Ramp(0.2, 1.0)"
    for first, last in ((-0.1, 1), (1, -0.1)):
        with pytest.raises(ValueError, match="^first and last must be at least 0"):
            Ramp(first, last)


def test_the_progress_of_a_schedule_is_part_of_the_state():
    loss, other = (Threshold(2.0, theta_schedule=Ramp(0.0, 1.0)) for _ in range(2))
    loss.set_progress(0.75)
    other.load_state_dict(loss.state_dict())
    assert float(other.threshold()) == pytest.approx(1.5)
    assert not Threshold(2.0).state_dict()


def test_fit_sets_the_progress_at_the_middle_of_each_epoch():
    seen = []

    class Note(ff.training.Callback):
        def on_epoch_end(self, state):
            seen.append([float(layer.objective.loss.threshold(6.0)) for layer in state.model.stack])

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
    loss = Threshold(Uniform(0.04), learned=True).double()
    positive, negative = goodness_pair()
    assert loss.threshold(50.0).item() == 2
    torch.testing.assert_close(loss(positive, negative, 50.0), Threshold(2.0)(positive, negative))
    loss(positive, negative, 50.0).backward()
    expected = sum(2 * (sigmoid(2 - p) - sigmoid(n - 2)) / 7 for p, n in pairs(positive, negative))
    assert loss.log_factor.grad.item() == pytest.approx(expected, rel=1e-10)
    loss.log_factor.data.fill_(math.log(3))
    assert loss.threshold(50.0).item() == pytest.approx(6)


def test_each_layer_learns_a_threshold_of_its_own():
    model = threshold_stack(Threshold("width", learned=True))
    data = (torch.rand(8, 4), torch.arange(8) % 2)
    ff.fit(model, data, epochs=3, optimizer=ff.LocalOptimizer(torch.optim.SGD, lr=0.1), progress=False)
    first, second = (float(layer.objective.loss.threshold(6.0).detach()) for layer in model.stack)
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
    loss = Threshold("width", temperature=0.02)(goodness(positive), goodness(negative), goodness.scale(features))
    assert loss.item() < 1e-10
    wrong = Threshold("width")(goodness(negative), goodness(positive), goodness.scale(features))
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
def test_symba_knows_no_threshold(seed, shift):
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
    found = TwoThreshold(theta_positive=5, theta_negative=9, penalty=0.3)(positive, negative)
    assert found.item() == pytest.approx(total / 7 + 0.3 * size / 7, rel=1e-10)
    found = TwoThreshold(theta_positive=5, theta_negative=9)(positive, negative)
    assert found.item() == pytest.approx(total / 7, rel=1e-10)


def test_the_penalty_of_a_goodness_by_position_is_the_norm_of_each_positive_sample():
    positive, negative = torch.rand(2, 3, 4, 5, dtype=torch.float64)
    loss = TwoThreshold(0, 1, penalty=(0.0, 0.2))
    bare = loss(positive, negative)
    loss.bind(1)
    size = sum(math.sqrt(sum(float(g) ** 2 for g in sample.flatten())) for sample in positive) / 3
    assert (loss(positive, negative) - bare).item() == pytest.approx(0.2 * size, rel=1e-10)
    with pytest.raises(ValueError, match="penalty must be at least 0, got -1"):
        TwoThreshold(0, 1, penalty=(0.1, -1))


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
    assert Threshold("width").accuracy(positive, negative, 3.5).item() == pytest.approx((1 + 3) / 8)
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
    found = CrossEntropy(temperature, smoothing)(goodness, targets)
    assert found.item() == pytest.approx(expected / 6, rel=1e-10)


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
    found = loss(embeddings, torch.tensor(targets))
    expected = supervised_contrastive(embeddings.detach().flatten(1), targets, temperature)
    assert found.item() == pytest.approx(expected, rel=1e-10, abs=1e-12)
    assert torch.autograd.gradcheck(lambda e: loss(e, torch.tensor(targets)), (embeddings,))


def test_supervised_contrastive_survives_a_batch_of_one_and_dead_samples():
    loss = SupervisedContrastive()
    for embeddings, targets in ((torch.randn(1, 4), [0]), (torch.zeros(4, 4), [0, 0, 1, 1])):
        embeddings.requires_grad_()
        found = loss(embeddings, torch.tensor(targets))
        found.backward()
        assert found.isfinite()
        assert embeddings.grad.isfinite().all()


def test_repr():
    assert repr(Threshold(2.0)) == "Threshold(theta=2.0)"
    assert repr(Threshold((Uniform(2), Uniform(1)))) == "Threshold(theta=(Uniform(k=2), Uniform(k=1)))"
    changing = Threshold(2.0, theta_schedule=Ramp(0.2, 1.0), learned=True)
    assert repr(changing) == "Threshold(theta=2.0, theta_schedule=Ramp(0.2, 1.0), learned=True)"
    assert repr(Threshold(Pyramidal(0.5), 2)) == "Threshold(theta=Pyramidal(k=0.5), temperature=2)"
    assert repr(SwishSymBa(2.0)) == "SwishSymBa(alpha=2.0)"
    assert repr(TwoThreshold(5, 9)) == "TwoThreshold(theta_positive=5, theta_negative=9, penalty=0.0)"


# Objectives: the three contracts through one interface


def paired(rows=6):
    return Batch(torch.empty(0), torch.arange(rows // 2), paired=True)


def test_the_loss_decides_the_contract():
    assert isinstance(objective(SumOfSquares(), Threshold()), PairObjective)
    assert isinstance(objective(lambda h: h.sum(1), lambda p, n: (n - p).mean()), PairObjective)
    assert isinstance(objective(LearnedProjection(3, 4), CrossEntropy()), ClassObjective)
    assert isinstance(objective(LearnedProjection(3, 4), lambda g, y: g.mean()), ClassObjective)
    assert isinstance(objective(lambda h: h[:, :3], CrossEntropy()), ClassObjective)
    assert isinstance(objective(None, SupervisedContrastive()), BatchObjective)


@pytest.mark.parametrize(
    ("goodness", "loss"),
    [(SumOfSquares(), CrossEntropy()), (LearnedProjection(3, 4), SymBa()), (None, SymBa()), (None, CrossEntropy())],
    ids=str,
)
def test_goodness_and_loss_of_different_contracts_are_refused(goodness, loss):
    with pytest.raises(ValueError, match="^goodness must be"):
        objective(goodness, loss)


def test_pair_objective():
    h = torch.randn(6, 5, dtype=torch.float64)
    local = PairObjective(SumOfSquares(), Threshold("width"))(h, paired())
    g = h.square().sum(1)
    torch.testing.assert_close(local.loss, Threshold(5.0)(g[:3], g[3:]))
    torch.testing.assert_close(local.positive, g[:3].mean())
    torch.testing.assert_close(local.negative, g[3:].mean())
    torch.testing.assert_close(local.accuracy, Threshold(5.0).accuracy(g[:3], g[3:]))


def test_the_scale_counts_all_activations_of_an_image():
    h = torch.randn(4, 3, 2, 2, dtype=torch.float64)
    local = PairObjective(SumOfSquares(), Threshold("width"))(h, paired(4))
    g = h.square().flatten(1).sum(1)
    torch.testing.assert_close(local.loss, Threshold(12.0)(g[:2], g[2:]))


def test_a_plain_goodness_serves_where_theta_is_a_number():
    def goodness(h):
        return h.square().sum(1)

    h = torch.randn(6, 5)
    local = PairObjective(goodness, Threshold([2.0, "width"]))(h, paired())
    torch.testing.assert_close(local.loss, Threshold(2.0)(*goodness(h).chunk(2)))


@pytest.mark.parametrize("theta", ["width", ["width", 1.0], Pyramidal()], ids=str)
def test_a_plain_goodness_has_no_scale_for_theta_to_read(theta):
    with pytest.raises(ValueError, match="goodness must have a method scale"):
        PairObjective(lambda h: h.sum(1), Threshold(theta))(torch.ones(2, 3), paired(2))


def test_a_users_loss_may_ask_for_the_scale():
    class Relative(torch.nn.Module):
        uses_scale = True

        def forward(self, positive, negative, scale):
            return ((negative - positive) / scale).mean()

    h = torch.randn(4, 5)
    local = PairObjective(SumOfSquares(), Relative())(h, paired(4))
    g = h.square().sum(1) / 5
    torch.testing.assert_close(local.loss, (g[2:] - g[:2]).mean())
    torch.testing.assert_close(local.accuracy, (g[:2] > g[2:]).float().mean())


def test_class_objective():
    h, targets = torch.randn(3, 4, dtype=torch.float64), torch.tensor([0, 2, 1])
    goodness = LearnedProjection(3, 4).double()
    local = ClassObjective(goodness, CrossEntropy())(h, Batch(h, targets))
    g = goodness(h).detach()
    true = g[torch.arange(3), targets]
    torch.testing.assert_close(local.loss, CrossEntropy()(g, targets))
    torch.testing.assert_close(local.positive, true.mean())
    torch.testing.assert_close(local.negative, ((g.sum(1) - true) / 2).mean())
    torch.testing.assert_close(local.accuracy, (g.argmax(1) == targets).float().mean())


@pytest.mark.parametrize(
    "one", [ClassObjective(LearnedProjection(3, 4), CrossEntropy()), BatchObjective(SupervisedContrastive())]
)
def test_objectives_that_read_targets_say_so(one):
    with pytest.raises(ValueError, match="targets must be given"):
        one(torch.ones(2, 4), Batch(torch.ones(2, 4)))


def test_objectives_add_up():
    h, batch = torch.randn(5, 4), Batch(torch.empty(0), torch.tensor([0, 0, 1, 1, 2]))
    contrast, classes = BatchObjective(SupervisedContrastive()), ClassObjective(LearnedProjection(3, 4), CrossEntropy())
    both = contrast + classes
    assert isinstance(both, SumObjective)
    assert both.num_classes == 3
    assert not both.paired
    local = both(h, batch)
    torch.testing.assert_close(local.loss, contrast(h, batch).loss + classes(h, batch).loss)
    torch.testing.assert_close(local.accuracy, classes(h, batch).accuracy)
    torch.testing.assert_close(both.goodness_of(h), classes.goodness_of(h))


def test_pair_and_class_objectives_do_not_mix():
    with pytest.raises(ValueError, match="objectives of one layer"):
        PairObjective(SumOfSquares(), SymBa()) + ClassObjective(LearnedProjection(3, 4), CrossEntropy())


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
    with pytest.raises(ValueError, match="^superclasses must be all of 0, 1, ... up to the highest, got"):
        SuperclassCrossEntropy(superclasses)


def test_superclasses_must_be_one_a_class():
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
    found = model.step((x, targets), ff.LocalOptimizer(torch.optim.SGD, lr=0.0))
    goodness = model.layer_goodness(x)
    means = goodness[:, 0].view(5, 2, 2).mean(2)
    torch.testing.assert_close(found.layers[0].loss, CrossEntropy()(means, targets // 2))
    torch.testing.assert_close(found.layers[1].loss, CrossEntropy()(goodness[:, 1], targets))


# Embeddings


@pytest.mark.parametrize("pool", [None, SpatialPool(2), SpatialPool(1, "max")], ids=repr)
def test_an_embedding_normalizes_over_the_batch_and_projects(pool):
    h = torch.rand(5, 3, 4, 4, dtype=torch.float64)
    embedding = Embedding(6, pool, features=None if pool else 48).double()
    embedding.bind(3)  # of the layer, whose maps are pooled; what is given by hand stays
    rows = h.flatten(1) if pool is None else pool(h)
    mean, var = rows.mean(0), rows.var(0, correction=0)
    normalized = (rows - mean) / (var + 1e-5).sqrt()
    embedding.double()
    found = embedding(h)
    assert found.shape == (5, 6)
    for i in range(5):
        for d in range(6):
            expected = embedding.linear.bias[d].item()
            for w, v in zip(embedding.linear.weight[d].tolist(), normalized[i].tolist(), strict=True):
                expected += w * v
            assert found[i, d].item() == pytest.approx(expected, rel=1e-9, abs=1e-10)
    torch.testing.assert_close(embedding.normalization.running_mean, 0.1 * mean)
    embedding.eval()
    torch.testing.assert_close(embedding(h)[:1], embedding(h[:1]))


def test_embeddings_out_of_range():
    with pytest.raises(ValueError, match="^dimensions must be at least 1, got 0"):
        Embedding(0)
    with pytest.raises(ValueError, match=r"^features must be given, Embedding\(features=...\)"):
        Embedding(4).bind(None)


def test_an_embedding_without_features_says_so():
    with pytest.raises(ValueError, match="features"):
        Embedding(4)(torch.rand(3, 5))


def test_a_weight_is_a_factor_on_the_loss():
    h, batch = torch.randn(6, 4), Batch(torch.empty(0), torch.tensor([0, 0, 1, 1, 2, 2]))
    plain = BatchObjective(SupervisedContrastive())(h, batch)
    torch.testing.assert_close(BatchObjective(SupervisedContrastive(), weight=0.3)(h, batch).loss, 0.3 * plain.loss)
    assert BatchObjective(SupervisedContrastive()).goodness_of(h) is None
    classes = ClassObjective(LearnedProjection(3, 4), CrossEntropy())
    both = classes + BatchObjective(SupervisedContrastive(), weight=0.3)
    torch.testing.assert_close(both(h, batch).loss, classes(h, batch).loss + 0.3 * plain.loss)


def test_a_layer_learns_its_embedding_and_keeps_it_to_itself():
    """HCL-FF's two objectives: each layer has an embedding of its own, which learns with it."""

    def objective():
        contrast = BatchObjective(SupervisedContrastive(), Embedding(5, SpatialPool(2)), weight=0.5)
        return ClassObjective(ff.goodness.ClassGroups(2), CrossEntropy()) + contrast

    layers = [ff.FFConv2d(a, 4, 3, objective=objective()) for a in (1, 4)]
    model = ff.FFSequential(*layers, normalization=ff.normalization.RMSNorm())
    assert [name for name, _ in model.named_parameters() if "linear.weight" in name] == [
        f"layers.{i}.objective.objectives.1.embedding.linear.weight" for i in range(2)
    ]
    before = {name: value.clone() for name, value in model.named_parameters()}
    x, targets = torch.rand(6, 1, 8, 8), torch.arange(6) % 2
    model.step((x, targets), ff.LocalOptimizer(torch.optim.SGD, lr=0.5))
    assert all(not torch.equal(before[name], value) for name, value in model.named_parameters())
    assert model.predict(x).shape == (6,)
