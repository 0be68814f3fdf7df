"""Classifiers as functions of the goodness, and the one-pass head."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import forwardforward as ff
from forwardforward.classifiers import GoodnessReadout, LayerEnsemble, SumOverLayers
from forwardforward.heads import LinearHead
from forwardforward.layers import FFLayer
from forwardforward.pooling import SequencePool, SpatialPool
from forwardforward.training.evaluation import chooses_layers


def read(model, images):
    """Return the features of the model's head under the neutral label."""
    activations = model.activations(images)
    return model.head.read({i: model.head.rows(activations[i]) for i in model.head.indices(len(model))})


def network(*widths, classifier=None, head=None, **options):
    sizes = [12, *(widths or (8, 7, 6))]
    return ff.FFSequential(
        *[ff.FFLinear(a, b) for a, b in pairwise(sizes)],
        goodness=ff.goodness.SumOfSquares(),
        loss=ff.losses.Threshold(),
        normalization=ff.normalization.RMSNorm(),
        label_encoder=ff.label_encoders.Overlay(3),
        classifier=classifier,
        head=head,
        **options,
    ).double()


@pytest.fixture
def images():
    return torch.rand(5, 12, dtype=torch.float64)


SLICES = [slice(None), slice(1, None), slice(-1, None), slice(-2, None), slice(0, 2), slice(None, None, 2)]


@pytest.mark.parametrize("layers", SLICES, ids=str)
def test_goodness_of_chosen_layers(layers, images):
    model = network(classifier=SumOverLayers(layers))
    every = model.layer_goodness(images)
    expected = sum(every[:, i] for i in range(3)[layers])
    torch.testing.assert_close(model.scores(images), expected)
    torch.testing.assert_close(SumOverLayers(layers)(every), expected)
    assert torch.equal(model.predict(images), expected.argmax(1))
    torch.testing.assert_close(model.predict_proba(images), expected.softmax(1))


@pytest.mark.parametrize("kind", [SumOverLayers, LayerEnsemble])
def test_a_slice_without_layers(kind, images):
    with pytest.raises(ValueError, match="^layers must select at least one of 3 layers"):
        network(classifier=kind(slice(3, None))).predict(images)
    with pytest.raises(TypeError, match=r"^layers must be a slice, got 1"):
        kind(1)


def test_any_function_of_the_goodness_classifies(images):
    shapes = []

    def last_layer(goodness):
        shapes.append(goodness.shape)
        return goodness[:, -1]

    model = network(classifier=last_layer)
    expected = model.layer_goodness(images)[:, -1]
    assert torch.equal(model.scores(images), expected)
    assert torch.equal(model.predict(images), expected.argmax(1))
    assert shapes == [(5, 3, 3)] * 2
    with pytest.raises(
        ValueError, match="^classifier must be callable, an instance of WithHead, 'head' or None, got 'sum'"
    ):
        network(classifier="sum")
    with pytest.raises(TypeError, match="^classifier must be an instance, such as LayerEnsemble"):
        network(classifier=LayerEnsemble)


def test_the_first_layer_is_left_out_unless_it_is_the_only_one(images):
    model = network()
    torch.testing.assert_close(model.scores(images), model.layer_goodness(images)[:, 1:].sum(1))
    alone = network(8)
    torch.testing.assert_close(alone.scores(images), alone.layer_goodness(images)[:, 0])


@pytest.mark.parametrize("layers", SLICES, ids=str)
def test_the_ensemble_averages_probabilities(layers, images):
    model = network(classifier=LayerEnsemble(layers))
    every = model.layer_goodness(images)
    expected = torch.zeros(5, 3, dtype=torch.float64)
    chosen = list(range(3)[layers])
    for i in range(5):
        for layer in chosen:
            g = every[i, layer]
            standard = (g - g.mean()) / ((g - g.mean()) ** 2).mean().sqrt()
            expected[i] += standard.exp() / standard.exp().sum() / len(chosen)
    torch.testing.assert_close(model.scores(images).exp(), expected)
    torch.testing.assert_close(model.predict_proba(images), expected)


def test_layers_of_different_size_have_the_same_weight_in_an_ensemble(images):
    every = network().layer_goodness(images)
    factors = torch.tensor([1.0, 100.0, 1e4], dtype=torch.float64).view(1, 3, 1)
    torch.testing.assert_close(LayerEnsemble()(every * factors), LayerEnsemble()(every))


def test_equal_goodness_is_no_evidence():
    assert LayerEnsemble()(torch.ones(1, 2, 4)).exp().tolist()[0] == pytest.approx([0.25] * 4)


def test_a_readout_starts_as_the_sum_and_learns(images):
    model = network(classifier=GoodnessReadout(3, depth=3).double())
    readout = model.classifier
    every = model.layer_goodness(images)
    standard = (every - every.mean(-1, keepdim=True)) / every.std(-1, keepdim=True, correction=0)
    torch.testing.assert_close(model.scores(images), standard.sum(1))
    labels = torch.tensor([2, 0, 1, 1, 0])
    assert readout.fit(every, labels) is readout
    assert torch.equal(model.predict(images), labels)
    assert "classifier.linear.weight" in model.state_dict()  # saved with the model


@pytest.mark.parametrize("kind", [SumOverLayers, LayerEnsemble])
def test_repr(kind):
    assert repr(kind(slice(1, None))) == f"{kind.__name__}(slice(1, None, None))"


# The one-pass head


def joined(images, code):
    return torch.cat([code.to(images.dtype).expand(len(images), 3), images[:, 3:]], dim=1)


def features_by_hand(model, x, layers):
    result = []
    for i, layer in enumerate(model.stack):
        x = x / x.square().mean(1, keepdim=True).sqrt()
        x = (x @ layer.block.weight.T + layer.block.bias).clamp(min=0)
        if i in layers:
            result.append(x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt())
    return torch.cat(result, dim=1)


@pytest.mark.parametrize(
    ("chosen", "layers"), [(slice(1, None), [1, 2]), (slice(None), [0, 1, 2]), (slice(-1, None), [2])]
)
def test_the_head_reads_normalized_layers_under_the_neutral_label(chosen, layers, images):
    model = network(head=LinearHead(3, layers=chosen), classifier="head")
    with torch.no_grad():
        model.head.linear.weight.normal_()
        features = features_by_hand(model, joined(images, torch.full((3,), 1 / 3)), layers)
        expected = features @ model.head.linear.weight.T + model.head.linear.bias
    torch.testing.assert_close(model.scores(images), expected, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(model.head_logits(images), model.scores(images))


def test_a_random_label(images):
    model = network(head=LinearHead(3, label="random"), classifier="head")
    with torch.no_grad():
        model.head.linear.weight.normal_()
        per_label = [model.head(features_by_hand(model, joined(images, code), [1, 2])) for code in torch.eye(3)]
    drawn = torch.randint(3, (5,), generator=torch.Generator().manual_seed(4))
    expected = torch.stack([per_label[k][i] for i, k in enumerate(drawn.tolist())])
    result = model.head_logits(images, torch.Generator().manual_seed(4))
    torch.testing.assert_close(result, expected, rtol=1e-6, atol=1e-7)
    assert torch.equal(result, model.head_logits(images, torch.Generator().manual_seed(4)))


def test_the_head_learns_and_its_gradient_stays_out_of_the_layers(images):
    labels = torch.tensor([0, 1, 2, 0, 1])
    with_head, without = network(head=LinearHead(3)), network()
    without.load_state_dict(with_head.state_dict(), strict=False)
    optimizers = [ff.LocalOptimizer(torch.optim.SGD, lr=0.1) for _ in range(2)]
    losses = []
    for seed in range(5):
        for model, optimizer in zip((with_head, without), optimizers, strict=True):
            result = model.step((images, labels), optimizer, generator=torch.Generator().manual_seed(seed))
            losses.append(result.head)
    losses = [local.loss.item() for local in losses if local is not None]
    assert len(losses) == 5
    assert losses[-1] < losses[0]
    for name, value in without.state_dict().items():
        assert torch.equal(with_head.state_dict()[name], value)


def test_the_heads_step_is_that_of_softmax_regression(images):
    """Gradient (p - y) features / batch, at the features of before the layers' update."""
    labels = torch.tensor([0, 1, 2, 0, 1])
    model = network(head=LinearHead(3))
    features = features_by_hand(model, joined(images, torch.full((3,), 1 / 3)), [1, 2]).detach()
    model.step((images, labels), ff.LocalOptimizer(torch.optim.SGD, lr=0.1))
    error = torch.full((5, 3), 1 / 3, dtype=torch.float64) - torch.eye(3, dtype=torch.float64)[labels]
    torch.testing.assert_close(model.head.linear.weight.grad, error.T @ features / 5, rtol=1e-6, atol=1e-8)


def test_an_unlabeled_network_gets_a_head():
    model = ff.FFSequential(
        ff.FFLinear(16, 8),
        ff.FFLinear(8, 6),
        goodness=ff.goodness.MeanOfSquares(),
        loss=ff.losses.SymBa(),
        normalization=ff.normalization.RMSNorm(),
        negatives=ff.negatives.HybridMask(2),
        num_classes=3,
    )
    images, labels = torch.rand(6, 16), torch.tensor([0, 1, 2, 0, 1, 2])
    features = read(model, images).detach()
    model.step((images, labels), ff.LocalOptimizer(torch.optim.SGD, lr=0.1))
    error = torch.full((6, 3), 1 / 3) - torch.eye(3)[labels]
    # its features are those of the training pass, of the images themselves
    torch.testing.assert_close(model.head.linear.weight.grad, error.T @ features / 6)
    assert model.predict(images).shape == (6,)
    with pytest.raises(ValueError, match="does not depend on labels"):
        model.layer_goodness(images)


def test_errors():
    with pytest.raises(ValueError, match="^label must be 'neutral' or 'random', got 'true'"):
        LinearHead(3, label="true")
    with pytest.raises(TypeError, match=r"^layers must be a slice, got 2"):
        LinearHead(3, layers=2)
    with pytest.raises(ValueError, match="^layers must select at least one of 3 layers"):
        network(head=LinearHead(3, layers=slice(3, None)))
    with pytest.raises(ValueError, match=r"^head must be given for this: FFSequential\(..., head=ff.heads.LinearHead"):
        network().head_logits(torch.rand(1, 12))
    with pytest.raises(ValueError, match="^head must be given for classifier='head', got None"):
        network(classifier="head")
    with pytest.raises(ValueError, match="^the head must be part of a network, got one without weights"):
        LinearHead(3)(torch.rand(1, 12))
    model = network(head=LinearHead(3))
    with pytest.raises(ValueError, match="^features must be 13 per sample for the head, got 99"):
        model.head(torch.rand(1, 99, dtype=torch.float64))


def test_a_single_layers_head_reads_that_layer():
    head = LinearHead(3)
    head.setup([(5,)])
    assert head.indices(1) == [0]
    assert head.linear.in_features == 5


# Heads of maps


def maps_network(*layers, head, input_shape):
    return ff.FFSequential(
        *layers,
        goodness=ff.goodness.MeanOfSquares(),
        loss=ff.losses.SymBa(),
        negatives=ff.negatives.SelfContrast(),
        head=head,
        input_shape=input_shape,
    ).double()


@pytest.mark.parametrize("kind", ["mean", "max", "rms"])
@pytest.mark.parametrize(("layers", "chosen"), [(slice(1, None), [1, 2]), (slice(None), [0, 1, 2])], ids=str)
def test_a_head_reads_pooled_normalized_maps(layers, chosen, kind):
    pool = SpatialPool(2, kind)
    model = maps_network(
        ff.FFConv2d(1, 2, 3),
        ff.FFConv2d(2, 3, 2, pool=2),
        ff.FFConv2d(3, 4, 2),
        head=LinearHead(3, layers, pool=pool),
        input_shape=(1, 9, 9),
    )
    assert model.head.linear.in_features == sum(4 * [2, 3, 4][i] for i in chosen)
    x = torch.rand(5, 1, 9, 9, dtype=torch.float64)
    with torch.no_grad():
        model.head.linear.weight.normal_()
        activations = model.activations(x)
        rows = [pool(activations[i]) for i in chosen]
        rows = torch.cat([r / (r.square().mean(1, keepdim=True) + 1e-8).sqrt() for r in rows], dim=1)
        expected = rows @ model.head.linear.weight.T + model.head.linear.bias
    torch.testing.assert_close(model.scores(x), expected)
    # trained alongside, on the activations of the images themselves
    labels = torch.tensor([0, 1, 2, 0, 1])
    result = model.step((x, labels), ff.LocalOptimizer(torch.optim.SGD, lr=0.1))
    assert result.head.loss.isfinite()


def test_a_head_reads_the_maps_of_a_network_with_label_channels():
    model = ff.FFSequential(
        ff.FFConv2d(2, 4, 3),
        ff.FFConv2d(4, 4, 3),
        goodness=ff.goodness.MeanOfSquares(),
        loss=ff.losses.SymBa(),
        label_encoder=ff.label_encoders.WaveChannel(3, 8),
        negatives=ff.negatives.HardLabel(),
        head=LinearHead(3, pool=SpatialPool(2)),
        classifier="head",
    )
    x, labels = torch.rand(6, 1, 8, 8), torch.arange(6) % 3
    result = model.step((x, labels), ff.LocalOptimizer(torch.optim.SGD, lr=0.1))
    assert result.head.loss.item() == pytest.approx(1.0986, abs=1e-3)  # it starts at zero
    features = read(model, x)  # under the neutral label, the mean wave
    torch.testing.assert_close(model.scores(x), model.head(features))


def test_a_head_pools_maps_in_patches_of_two_by_two_by_default():
    x = torch.rand(4, 1, 8, 8, dtype=torch.float64)
    layers = [ff.FFConv2d(1, 2, 3), ff.FFConv2d(2, 3, 3)]
    model = maps_network(*layers, head=LinearHead(3), input_shape=(1, 8, 8))
    rows = SpatialPool(2)(model.activations(x)[1])
    torch.testing.assert_close(read(model, x), rows / (rows.square().mean(1, keepdim=True) + 1e-8).sqrt())
    assert model.head.linear.in_features == 4 * 3
    layers = [ff.FFConv2d(1, 2, 3), ff.FFConv2d(2, 3, 3)]
    flat = maps_network(*layers, head=LinearHead(3, pool=nn.Flatten()), input_shape=(1, 8, 8))
    assert flat.head.linear.in_features == 4 * 4 * 3
    assert flat.predict(x).shape == (4,)


def test_a_pooled_head_reads_dense_layers_unchanged():
    model = maps_network(
        ff.FFConv2d(1, 2, 3),
        ff.FFConv2d(2, 3, 3),
        ff.FFLinear(48, 5),
        head=LinearHead(3, pool=SpatialPool(2)),
        input_shape=(1, 8, 8),
    )
    assert model.predict(torch.rand(4, 1, 8, 8, dtype=torch.float64)).shape == (4,)
    assert model.head.linear.in_features == 3 * 4 + 5


@given(seed=st.integers(0, 2**16), depth=st.integers(1, 5))
def test_the_best_interval_is_the_shortest_of_those_that_err_least(seed: int, depth: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    goodness = torch.rand(30, depth, 3, generator=generator, dtype=torch.float64)
    labels = torch.randint(3, (30,), generator=generator)
    classifier = ff.classifiers.BestInterval()
    torch.testing.assert_close(classifier(goodness), goodness.sum(1))  # nothing chosen yet
    classifier.choose(goodness, labels)

    def errors(run: slice) -> int:
        return int((goodness[:, run].sum(1).argmax(1) != labels).sum())

    runs = [(start, stop) for start in range(depth) for stop in range(start + 1, depth + 1)]
    every = {(stop - start, start): slice(start, stop) for start, stop in runs}
    best = min(every, key=lambda key: (errors(every[key]), *key))
    assert classifier.layers == every[best]
    torch.testing.assert_close(classifier(goodness), goodness[:, classifier.layers].sum(1))


def test_fit_chooses_the_interval_on_the_validation_data_and_state_dicts_keep_it() -> None:
    def model() -> ff.FFSequential:
        torch.manual_seed(0)
        return ff.FFSequential(
            *(ff.FFLinear(6, 6) for _ in range(4)),
            goodness=ff.goodness.LearnedProjection(3),
            loss=ff.losses.CrossEntropy(),
            classifier=ff.classifiers.BestInterval(),
        )

    trained, x, labels = model(), torch.randn(60, 6), torch.arange(60) % 3
    ff.fit(trained, (x, labels), validation=(x[:20], labels[:20]), epochs=2, batch_size=20, progress=False)
    expected = ff.classifiers.BestInterval()
    expected.choose(trained.layer_goodness(x[:20]), labels[:20])
    assert trained.classifier.layers == expected.layers
    other = model()
    other.load_state_dict(trained.state_dict())
    assert other.classifier.layers == trained.classifier.layers
    torch.testing.assert_close(other.scores(x), trained.layer_goodness(x)[:, expected.layers].sum(1))


def weighted_loss(weights: torch.Tensor, scores: torch.Tensor, labels: torch.Tensor) -> float:
    """The cross-entropy of the weighted sum and the penalty, by plain loops."""
    total = 0.0
    for rows, label in zip(scores.tolist(), labels.tolist(), strict=True):
        sums = [sum(w * row[k] for w, row in zip(weights.tolist(), rows, strict=True)) for k in range(len(rows[0]))]
        total += math.log(sum(math.exp(value) for value in sums)) - sums[label]
    centered = scores - scores.mean(2, keepdim=True)
    units = [math.sqrt(float(centered[:, part].square().mean())) for part in range(scores.shape[1])]
    penalty = sum(math.log(w * unit) ** 2 for w, unit in zip(weights.tolist(), units, strict=True))
    return total / len(scores) + 1e-4 * penalty


@given(seed=st.integers(0, 2**16), parts=st.integers(1, 4))
@settings(max_examples=6)
def test_fitted_weights_are_the_minimum_of_their_formula(seed: int, parts: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (30,), generator=generator)
    scores = torch.randn(30, parts, 3, generator=generator, dtype=torch.float64)
    scores = scores + torch.nn.functional.one_hot(labels, 3)[:, None] * torch.rand(parts, 1, generator=generator)
    weights = ff.classifiers.fit_weights(scores, labels)
    assert bool((weights > 0).all())
    least = weighted_loss(weights, scores, labels)
    for part in range(parts):
        for factor in (0.8, 0.95, 1.05, 1.25):
            other = weights.clone()
            other[part] *= factor
            assert weighted_loss(other, scores, labels) > least - 1e-9


def test_units_of_scores_have_no_effect_on_their_weighted_sum() -> None:
    labels = torch.arange(30) % 3
    scores = torch.randn(30, 2, 3, dtype=torch.float64) + torch.nn.functional.one_hot(labels, 3)[:, None]
    scaled = scores * torch.tensor([1e-3, 1e4], dtype=torch.float64)[:, None] + torch.randn(30, 2, 1)
    sums = [(s * ff.classifiers.fit_weights(s, labels)[:, None]).sum(1) for s in (scores, scaled)]
    torch.testing.assert_close(sums[0].softmax(1), sums[1].softmax(1), rtol=1e-4, atol=1e-5)


def test_scores_without_information_get_a_small_weight_and_perfect_ones_a_finite_one() -> None:
    labels = torch.arange(300) % 3
    perfect = 2.0 * torch.nn.functional.one_hot(labels, 3)
    good = torch.where(torch.arange(300)[:, None] % 5 == 0, perfect.roll(1, 1), perfect)
    weights = ff.classifiers.fit_weights(torch.stack([good, torch.randn(300, 3)], dim=1), labels)
    assert weights[1] < 0.1 < weights[0]
    assert 1 < float(ff.classifiers.fit_weights(perfect[:, None], labels)) < 100


def test_scores_that_decide_nothing_have_the_weight_zero() -> None:
    labels = torch.arange(300) % 3
    good = torch.randn(300, 3) + 3.0 * torch.nn.functional.one_hot(labels, 3)
    alone = ff.classifiers.fit_weights(good[:, None], labels)
    ulp = torch.finfo(torch.float32).eps
    for other in (torch.zeros(300, 3), torch.full((300, 3), 5.0), 5.0 + 5.0 * ulp * torch.randint(-2, 3, (300, 3))):
        weights = ff.classifiers.fit_weights(torch.stack([other, good], dim=1), labels)
        assert weights[0] == 0
        torch.testing.assert_close(weights[1:], alone)
        assert ff.classifiers.fit_weights(other[:, None], labels).tolist() == [1.0]


def test_fit_weights_the_layers_by_the_validation_data_and_state_dicts_keep_it() -> None:
    def model() -> ff.FFSequential:
        torch.manual_seed(0)
        return ff.FFSequential(
            *(ff.FFLinear(6, 6) for _ in range(3)),
            goodness=ff.goodness.LearnedProjection(3),
            loss=ff.losses.CrossEntropy(),
            classifier=ff.classifiers.WeightedSum(3),
        )

    trained, x, labels = model(), torch.randn(60, 6), torch.arange(60) % 3
    torch.testing.assert_close(trained.scores(x), trained.layer_goodness(x).sum(1))  # before the weights are fitted
    ff.fit(trained, (x, labels), validation=(x[:20], labels[:20]), epochs=2, batch_size=20, progress=False)
    goodness = trained.layer_goodness(x)
    weights = ff.classifiers.fit_weights(goodness[:20], labels[:20])
    torch.testing.assert_close(trained.classifier.weights, weights)
    other = model()
    other.load_state_dict(trained.state_dict())
    expected = sum(weight * goodness[:, index] for index, weight in enumerate(weights))
    torch.testing.assert_close(other.scores(x), expected)
    assert repr(trained.classifier) == "WeightedSum(depth=3)"


def test_weights_beside_a_head_and_over_candidates() -> None:
    goodness, labels = torch.tensor([[[5.0, 0.0], [0.0, 1.0]]]), torch.tensor([1])
    for kind in (ff.classifiers.WithHead, lambda classifier: ff.classifiers.Candidates(classifier=classifier)):
        chosen = kind(ff.classifiers.WeightedSum(2))
        assert chooses_layers(chosen)
        assert not chooses_layers(kind(ff.classifiers.SumOverLayers()))
        chosen.choose(goodness, labels)
        torch.testing.assert_close(chosen.classifier.weights, ff.classifiers.fit_weights(goodness, labels))


def test_weights_of_another_depth_or_kind_are_refused() -> None:
    classifier = ff.classifiers.WeightedSum(2)
    for call in (classifier, lambda goodness: classifier.choose(goodness, torch.tensor([0]))):
        with pytest.raises(ValueError, match=r"^goodness must be \(batch, 2, classes\) for WeightedSum\(depth=2\)"):
            call(torch.rand(1, 3, 3))
    for scores, labels, message in (
        (torch.rand(2, 3), torch.tensor([0, 1]), r"^scores must be \(batch, parts, classes\), got shape"),
        (torch.full((2, 2, 3), torch.nan), torch.tensor([0, 1]), "^scores must be finite"),
        (torch.rand(2, 2, 3), torch.tensor([0]), "^labels must be one per sample"),
        (torch.rand(2, 2, 3), torch.tensor([0, 3]), "^labels must"),
    ):
        with pytest.raises(ValueError, match=message):
            ff.classifiers.fit_weights(scores, labels)


@pytest.mark.parametrize(
    "classifier",
    [SumOverLayers(), LayerEnsemble(), ff.classifiers.BestInterval(), ff.classifiers.Candidates()],
    ids=lambda classifier: type(classifier).__name__,
)
def test_goodness_of_another_shape_is_refused(classifier) -> None:
    with pytest.raises(ValueError, match=r"goodness must be \(batch, layers, classes\), got shape \(2, 3\)"):
        classifier(torch.rand(2, 3))


def test_an_interval_is_chosen_of_checked_data() -> None:
    with pytest.raises(ValueError, match=r"labels must be one per sample, \(4,\), got \(3,\)"):
        ff.classifiers.BestInterval().choose(torch.rand(4, 2, 3), torch.tensor([0, 1, 2]))


def test_weights_are_fitted_in_inference_mode() -> None:
    torch.manual_seed(0)
    scores, labels = torch.randn(20, 3, 4), torch.randint(4, (20,))
    expected = ff.classifiers.fit_weights(scores, labels)
    with torch.inference_mode():
        weights = ff.classifiers.fit_weights(scores.clone(), labels.clone())
    assert torch.equal(weights, expected)


def test_a_head_without_normalization_reads_the_activations() -> None:
    head = LinearHead(3, normalize=False)
    rows = torch.rand(5, 6)
    assert torch.equal(head.rows(rows), rows)
    assert not torch.equal(LinearHead(3).rows(rows), rows)
    assert "normalize" not in repr(LinearHead(3))


def test_a_head_belongs_to_a_single_network():
    head = LinearHead(3)
    network(head=head)
    with pytest.raises(ValueError, match="^a head can be part of one network only"):
        network(head=head)
    with pytest.raises(ValueError, match="num_classes must be at least 2, got 0"):
        LinearHead(0)


def test_a_head_on_sequences_pools_them():
    def layers():
        return FFLayer(nn.Conv1d(3, 6, 3), activation=nn.ReLU()), FFLayer(nn.Conv1d(6, 5, 3), activation=nn.ReLU())

    options = {"goodness": ff.goodness.MeanOfSquares(), "loss": ff.losses.SymBa(), "num_classes": 2}
    options["negatives"] = ff.negatives.SelfContrast()
    x = torch.rand(4, 3, 9)
    for head in (None, LinearHead(2), LinearHead(2, pool=SequencePool(2))):
        model = ff.FFSequential(*layers(), head=head, **options)
        assert model.head_logits(x).shape == (4, 2)
        rows = SequencePool(2)(model.activations(x)[1])
        torch.testing.assert_close(read(model, x), rows / (rows.square().mean(1, keepdim=True) + 1e-8).sqrt())
        assert model.head.linear.in_features == 2 * 5
    flat = ff.FFSequential(*layers(), head=LinearHead(2, pool=nn.Flatten()), **options)
    assert flat.head_logits(x).shape == (4, 2)
    assert flat.head.linear.in_features == 5 * 5
    assert ff.baselines.Backpropagation(*layers(), num_classes=2).predict(x).shape == (4,)
