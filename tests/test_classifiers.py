from itertools import pairwise

import pytest
import torch

import forwardforward as ff
from forwardforward.classifiers import Goodness, GoodnessReadout, Head, LayerEnsemble, LinearHead


def network(*widths, classifier=None, head=None, **options):
    sizes = [12, *(widths or (8, 7, 6))]
    return ff.FFSequential(
        *[ff.FFLinear(a, b) for a, b in pairwise(sizes)],
        goodness=ff.goodness.SumOfSquares(),
        loss=ff.losses.Threshold(),
        normalization=ff.normalization.RMSNorm(),
        labels=ff.labels.Overlay(3),
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
    model = network(classifier=Goodness(layers))
    every = model.layer_goodness(images)
    expected = sum(every[:, i] for i in range(3)[layers])
    torch.testing.assert_close(model.scores(images), expected)
    torch.testing.assert_close(Goodness(layers).combine(every), expected)
    assert torch.equal(model.predict(images), expected.argmax(1))
    torch.testing.assert_close(model.predict_proba(images), expected.softmax(1))


@pytest.mark.parametrize("kind", [Goodness, LayerEnsemble])
def test_a_slice_without_layers(kind, images):
    with pytest.raises(ValueError, match="^layers must hold at least one of 3 layers"):
        network(classifier=kind(slice(3, None))).predict(images)


def test_the_first_layer_does_not_vote_unless_alone(images):
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


def test_layers_of_different_size_weigh_the_same_in_an_ensemble(images):
    every = network().layer_goodness(images)
    factors = torch.tensor([1.0, 100.0, 1e4], dtype=torch.float64).view(1, 3, 1)
    torch.testing.assert_close(LayerEnsemble().combine(every * factors), LayerEnsemble().combine(every))


def test_equal_goodness_is_no_evidence():
    assert LayerEnsemble().combine(torch.ones(1, 2, 4)).exp().tolist()[0] == pytest.approx([0.25] * 4)


def test_a_readout_starts_as_the_sum_and_learns(images):
    readout = GoodnessReadout(3, depth=3).double()
    model = network(classifier=readout)
    every = model.layer_goodness(images)
    standard = (every - every.mean(-1, keepdim=True)) / every.std(-1, keepdim=True, correction=0)
    torch.testing.assert_close(model.scores(images), standard.sum(1))
    labels = torch.tensor([2, 0, 1, 1, 0])
    assert readout.fit(model, images, labels) is readout
    assert torch.equal(model.predict(images), labels)
    assert "classifier.linear.weight" in model.state_dict()  # saved with the model


@pytest.mark.parametrize(
    ("kind", "expected"),
    [(Goodness, "Goodness(slice(1, None, None))"), (LayerEnsemble, "LayerEnsemble(slice(1, None, None))")],
)
def test_repr(kind, expected):
    assert repr(kind(slice(1, None))) == expected
    assert repr(Head()) == "Head()"


# The one-pass head


def joined(images, code):
    return torch.cat([code.to(images.dtype).expand(len(images), 3), images[:, 3:]], dim=1)


def features_by_hand(model, x, layers):
    found = []
    for i, layer in enumerate(model.stack):
        x = x / x.square().mean(1, keepdim=True).sqrt()
        x = (x @ layer.block.weight.T + layer.block.bias).clamp(min=0)
        if i in layers:
            found.append(x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt())
    return torch.cat(found, dim=1)


@pytest.mark.parametrize(
    ("chosen", "layers"), [(slice(1, None), [1, 2]), (slice(None), [0, 1, 2]), (slice(-1, None), [2])]
)
def test_the_head_reads_normalized_layers_under_the_neutral_label(chosen, layers, images):
    model = network(head=LinearHead(3, layers=chosen), classifier=Head())
    with torch.no_grad():
        model.head.linear.weight.normal_()
        features = features_by_hand(model, joined(images, torch.full((3,), 1 / 3)), layers)
        expected = features @ model.head.linear.weight.T + model.head.linear.bias
    torch.testing.assert_close(model.scores(images), expected, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(model.head_logits(images), model.scores(images))


def test_a_random_label(images):
    model = network(head=LinearHead(3, label="random"), classifier=Head())
    with torch.no_grad():
        model.head.linear.weight.normal_()
        per_label = [model.head(features_by_hand(model, joined(images, code), [1, 2])) for code in torch.eye(3)]
    drawn = torch.randint(3, (5,), generator=torch.Generator().manual_seed(4))
    expected = torch.stack([per_label[k][i] for i, k in enumerate(drawn.tolist())])
    found = model.head_logits(images, torch.Generator().manual_seed(4))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)
    assert torch.equal(found, model.head_logits(images, torch.Generator().manual_seed(4)))


def test_the_head_learns_and_passes_no_error_on(images):
    labels = torch.tensor([0, 1, 2, 0, 1])
    with_head, without = network(head=LinearHead(3)), network()
    without.load_state_dict(with_head.state_dict(), strict=False)
    optimizers = [ff.LocalOptimizer(torch.optim.SGD, lr=0.1) for _ in range(2)]
    losses = []
    for seed in range(5):
        for model, optimizer in zip((with_head, without), optimizers, strict=True):
            result = model.step((images, labels), optimizer, generator=torch.Generator().manual_seed(seed))
            losses.append(result.head)
    losses = [one.loss.item() for one in losses if one is not None]
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


def test_an_unlabelled_network_gets_a_head():
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
    features = model.head.read(model.activations(images)).detach()
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
    with pytest.raises(ValueError, match="^layers must hold at least one of 3 layers"):
        network(head=LinearHead(3, layers=slice(3, None)))
    with pytest.raises(ValueError, match="^features must be given, LinearHead"):
        LinearHead(3).bind([4, None])
    with pytest.raises(ValueError, match="no head"):
        network().head_logits(torch.rand(1, 12))
    model = network(head=LinearHead(3, features=99))
    with pytest.raises(ValueError, match="^features must be 99 a sample"):
        model.double().head_logits(torch.rand(1, 12, dtype=torch.float64))


def test_a_single_layers_head_reads_that_layer():
    head = LinearHead(3)
    head.bind([5])
    assert head.indices == [0]
    assert head.linear.in_features == 5
