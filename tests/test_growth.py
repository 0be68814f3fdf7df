"""Networks that get layers after their construction, and layers that move between networks."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import forwardforward as ff

GOODNESS = ff.goodness.LearnedProjection(3)


def per_class(*widths: int, **options: Any) -> ff.FFSequential:
    """Return a network of dense layers with per-class goodness in double precision."""
    torch.manual_seed(0)
    layers = (ff.FFLinear(a, b) for a, b in itertools.pairwise(widths))
    options = {"goodness": GOODNESS, "loss": ff.losses.CrossEntropy(), **options}
    return ff.FFSequential(*layers, **options).double()


def rows(count: int = 6, width: int = 8) -> Tensor:
    return torch.rand(count, width, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_a_head_keeps_the_weights_of_the_layers_that_it_still_reads() -> None:
    model = per_class(8, 6, 5, head=ff.heads.LinearHead(3, layers=slice(-2, None)), classifier="head")
    nn.init.normal_(model.head.linear.weight)
    before = model.head.linear.weight.detach().clone()
    model.append(ff.FFLinear(5, 4))
    after = model.head.linear.weight.detach()
    assert after.shape == (3, 9)  # layers 1 and 2, no longer layer 0
    assert torch.equal(after[:, :5], before[:, 6:])
    assert not after[:, 5:].any()
    assert model.predict(rows()).shape == (6,)


def test_the_default_classifier_reads_an_appended_layer_and_a_given_one_stays() -> None:
    default, first = per_class(8, 6), per_class(8, 6, classifier=ff.classifiers.SumOverLayers(slice(0, 1)))
    for model in (default, first):
        model.append(ff.FFLinear(6, 5))
    goodness = default.layer_goodness(rows())
    torch.testing.assert_close(default.scores(rows()), goodness.sum(1))
    torch.testing.assert_close(first.scores(rows()), first.layer_goodness(rows())[:, 0])


@pytest.mark.parametrize("kind", [ff.classifiers.BestInterval, ff.classifiers.LayerEnsemble])
def test_an_assigned_classifier_stays(kind: Any) -> None:
    model = per_class(8, 6)
    classifier = model.classifier = kind()
    model.append(ff.FFLinear(6, 5))
    assert model.classifier is classifier


def test_a_network_of_embeddings_and_goodness_gets_a_head() -> None:
    model = per_class(8, 6)
    optimizer = ff.LocalOptimizer(torch.optim.SGD, lr=0.1)
    batch = rows(), torch.arange(6) % 3
    model.step(batch, optimizer)
    model.append(ff.FFLinear(6, 5, loss=ff.losses.SupervisedContrastive()))
    model.step(batch, optimizer)
    assert model.head is not None
    assert model.head.linear.weight.any()
    torch.testing.assert_close(model.scores(rows()), model.head_logits(rows()))


def test_a_readout_of_another_depth_is_refused() -> None:
    model = per_class(8, 6, classifier=ff.classifiers.GoodnessReadout(3, depth=1).double())
    model.append(ff.FFLinear(6, 5))
    with pytest.raises(ValueError, match=r"depth=1.* got shape \(6, 2, 3\)"):
        model.predict(rows())


def test_a_copy_of_a_layer_can_be_appended() -> None:
    model = per_class(8, 6, 6)
    model.append(copy.deepcopy(model[1]))
    assert len(model) == 3
    assert torch.equal(model[2].block.weight, model[1].block.weight)
    assert not {id(p) for p in model[1].parameters()} & {id(p) for p in model[2].parameters()}
    model.step((rows(), torch.arange(6) % 3), ff.LocalOptimizer(torch.optim.SGD, lr=0.1))
    assert not torch.equal(model[2].block.weight, model[1].block.weight)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (lambda: ff.FFLinear(7, 5), "layer 2"),
        (lambda: ff.FFLinear(6, 5, goodness=ff.goodness.SumOfSquares(), loss=ff.losses.SymBa()), "same kind"),
    ],
)
def test_a_layer_that_does_not_fit_leaves_the_network_as_it_was(layer: Any, message: str) -> None:
    model, new = per_class(8, 7, 6), layer()
    before, scores = repr(model), model.scores(rows())
    with pytest.raises((ValueError, RuntimeError), match=message):
        model.append(new)
    assert repr(model) == before
    assert torch.equal(model.scores(rows()), scores)
    width = new.block.in_features
    options: dict[str, Any] = {} if new.objective else {"goodness": GOODNESS, "loss": ff.losses.CrossEntropy()}
    pairs = {"label_encoder": ff.label_encoders.Overlay(3)} if message == "same kind" else options
    assert len(ff.FFSequential(new, input_shape=(width,), **pairs)) == 1


def test_layers_of_a_failed_constructor_call_can_be_used_again() -> None:
    layers = [ff.FFLinear(8, 6), ff.FFLinear(7, 5)]
    options = {"goodness": GOODNESS, "loss": ff.losses.CrossEntropy()}
    with pytest.raises((ValueError, RuntimeError), match="layer 1"):
        ff.FFSequential(*layers, **options, input_shape=(8,))
    assert len(ff.FFSequential(layers[0], ff.FFLinear(6, 5), **options)) == 2


def test_a_layer_takes_the_plug_ins_of_the_corrected_call() -> None:
    layer = ff.FFLinear(8, 6)
    wrong = {"goodness": ff.goodness.SumOfSquares(), "loss": ff.losses.SymBa(alpha=9.0)}
    with pytest.raises(ValueError, match="label_encoder must be given"):
        ff.FFSequential(layer, **wrong, normalization=ff.normalization.RMSNorm())
    right = {"goodness": ff.goodness.MeanOfSquares(), "loss": ff.losses.SymBa(alpha=4.0)}
    model = ff.FFSequential(layer, **right, label_encoder=ff.label_encoders.Overlay(2))
    assert isinstance(model[0].objective.goodness, ff.goodness.MeanOfSquares)
    assert model[0].objective.loss.alpha == 4.0
    assert isinstance(model[0].normalization, ff.normalization.Identity)


def test_shapes_of_an_appended_layer_follow_a_replaced_one() -> None:
    model = per_class(8, 6, 5)
    model.layers[1] = ff.FFLinear(6, 7, goodness=GOODNESS, loss=ff.losses.CrossEntropy()).double()
    model.append(ff.FFLinear(7, 4))
    assert model.scores(rows()).shape == (6, 3)


def test_a_trained_layer_keeps_its_plug_ins_weights_in_a_network() -> None:
    layer = ff.FFLinear(8, 6, goodness=GOODNESS, loss=ff.losses.CrossEntropy(), input_shape=(8,)).double()
    weights = {name: nn.init.normal_(value).detach().clone() for name, value in layer.named_parameters()}
    model = ff.FFSequential(layer, input_shape=(8,))
    assert len(weights) > 1
    for name, value in model[0].named_parameters():
        assert torch.equal(value, weights[name]), name


def test_a_state_is_not_loaded_before_the_shapes_are_known() -> None:
    options = {"goodness": GOODNESS, "loss": ff.losses.CrossEntropy()}
    source, target = (ff.FFSequential(nn.Linear(8, 6), **options).double() for _ in range(2))
    source.step((rows(), torch.arange(6) % 3), ff.LocalOptimizer(torch.optim.SGD, lr=1.0))
    with pytest.raises(RuntimeError, match="shape is not known yet: pass input_shape="):
        target.load_state_dict(source.state_dict())
    target.setup((8,))
    target.load_state_dict(source.state_dict())
    assert torch.equal(target.scores(rows()), source.scores(rows()))


def test_training_inside_autocast_reads_the_updated_weights() -> None:
    """Autocast caches its copies of the weights until its context ends, so that updates must clear them."""
    data = ff.TensorData(rows(40).float(), rows(40)[:, :3].argmax(1), num_classes=3)
    options: dict[str, Any] = {"epochs": 3, "batch_size": 10, "progress": False}
    inside, outside, still = (per_class(8, 6, 5).float() for _ in range(3))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ff.fit(inside, data, optimizer=ff.LocalOptimizer(torch.optim.SGD, lr=1.0), **options)
    ff.fit(outside, data, optimizer=ff.LocalOptimizer(torch.optim.SGD, lr=1.0), precision="bf16", **options)
    for a, b, before in zip(inside.parameters(), outside.parameters(), still.parameters(), strict=True):
        assert (a - b).norm() < 0.02 * (b - before).norm()


def test_class_names_of_other_data_must_be_those_of_the_model() -> None:
    def named(*names: str) -> ff.TensorData:
        return ff.TensorData(rows(9).float(), [names[index % 3] for index in range(9)])

    model = per_class(8, 6).float()
    ff.fit(model, named("cat", "dog", "eel"), epochs=1, batch_size=3, progress=False)
    assert model.class_names == ("cat", "dog", "eel")
    assert ff.evaluate(model, named("eel", "cat", "dog")).samples == 9  # sorted, so the same classes
    message = r"class names, \['cat', 'dog', 'eel'\], got \['ant', 'cat', 'dog'\]"
    with pytest.raises(ValueError, match=message):
        ff.evaluate(model, named("ant", "cat", "dog"))
    with pytest.raises(ValueError, match=message):
        ff.fit(model, named("cat", "dog", "eel"), validation=named("ant", "cat", "dog"), epochs=1, progress=False)
