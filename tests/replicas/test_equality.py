"""Replicas are trained as networks by themselves, in one step and in whole trainings."""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

import pytest
import torch

import forwardforward as ff
from forwardforward.replicas import ReplicaOptimizer, Replicas, stacked
from forwardforward.update_schedules import Greedy, Overlapping, Schedule, Staggered
from tests.replicas.cases import CLASSES, NETWORKS, SEEDS, alone, data, difference, pair, per_class, sgd

OPTIMIZERS = {
    "sgd": functools.partial(ff.LocalOptimizer, torch.optim.SGD, lr=0.1, weight_decay=0.1),
    "momentum": functools.partial(ff.LocalOptimizer, torch.optim.SGD, lr=0.1, momentum=0.9, dampening=0.2),
    "nesterov": functools.partial(ff.LocalOptimizer, torch.optim.SGD, lr=0.1, momentum=0.9, nesterov=True),
    "adam": functools.partial(ff.LocalOptimizer, torch.optim.Adam, lr=0.01, weight_decay=0.1, amsgrad=True),
    "adamw": functools.partial(ff.LocalOptimizer, torch.optim.AdamW, lr=0.01, weight_decay=0.1, maximize=True),
    "smoothed": functools.partial(ff.LocalOptimizer, ff.optimizers.SmoothedSGD, lr=0.1, weight_cost=0.5),
}


def steps(replicas: Replicas, optimizer: ff.LocalOptimizer, others: Any, count: int, name: str, **options: Any) -> None:
    """Step replicas and their members by themselves on the same batches."""
    images, labels = data(name, 6 * len(SEEDS))
    batch = images.view(len(SEEDS), 6, *images.shape[1:]), labels.view(len(SEEDS), 6)
    groups = [[torch.Generator().manual_seed(seed) for seed in SEEDS] for _ in range(4)]
    models, optimizers = others
    for _ in range(count):
        result = replicas.step(batch, optimizer, generator=groups[0], dropout=groups[1], monitor=True, **options)
        for i, model in enumerate(models):
            torch.set_rng_state(groups[3][i].get_state())  # a member's own global generator, for dropout
            alone = model.step((batch[0][i], batch[1][i]), optimizers[i], generator=groups[2][i], monitor=True)
            groups[3][i].set_state(torch.get_rng_state())
            for index, local in alone.layers.items():
                assert float(result.layers[index].loss[i]) == pytest.approx(float(local.loss), rel=1e-5)
                norms = result.gradient_norms[index][i], alone.gradient_norms[index]
                assert float(norms[0]) == pytest.approx(float(norms[1]), rel=1e-4)
            assert (result.head is None) == (alone.head is None)


def prepared(make: Any) -> tuple[Replicas, list[ff.FFSequential]]:
    replicas = ff.replicate(make, SEEDS)
    if replicas.preprocessing.standardize:
        replicas.preprocessing.fit(data("pair")[0])
    return replicas.train(), [replicas.member(i) for i in range(len(SEEDS))]


@pytest.mark.parametrize("name", NETWORKS)
def test_one_step_equals_that_of_separate_networks(name: str) -> None:
    replicas, models = prepared(NETWORKS[name])
    before = [replicas.member(i) for i in range(len(SEEDS))]
    steps(replicas, sgd(), (models, [sgd() for _ in SEEDS]), 1, name)
    for i, model in enumerate(models):
        assert difference(replicas.member(i), model) < 1e-10
        assert difference(before[i], model) > 1e-4
    assert difference(models[0], models[1]) > 1e-2


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_rule_updates_as_torch_does(name: str) -> None:
    replicas, models = prepared(per_class)
    make = OPTIMIZERS[name]
    steps(replicas, make(), (models, [make() for _ in SEEDS]), 3, "per_class")
    for i, model in enumerate(models):
        assert difference(replicas.member(i), model) < 1e-10


def test_one_step_in_float32_agrees_to_five_digits() -> None:
    replicas, models = prepared(lambda: pair(negatives=ff.negatives.RandomLabel(), peer=None, head=None).float())
    steps(replicas, sgd(), (models, [sgd() for _ in SEEDS]), 1, "pair")
    for i, model in enumerate(models):
        for name, value in replicas.member(i).state_dict().items():
            torch.testing.assert_close(value, model.state_dict()[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam"])
def test_members_in_several_parts_are_updated_alike(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    samples, trained = data("per_class", 16), []
    for cache in (2**24, 1):
        monkeypatch.setattr(stacked, "CACHE", cache)
        replicas = ff.replicate(per_class, SEEDS)
        assert len(replicas._stacked.parts()) == (1 if cache > 1 else 3)
        ff.fit(replicas, samples, epochs=1, batch_size=8, optimizer=OPTIMIZERS[name](), progress=False)
        trained.append(replicas)
    assert difference(*trained) < 1e-12


@pytest.mark.parametrize("name", NETWORKS)
def test_a_training_equals_separate_trainings(name: str) -> None:
    samples, options = data(name), {"epochs": 2, "optimizer": sgd(lr_schedule=ff.lr_schedules.Cooldown(0.5))}
    replicas = ff.replicate(NETWORKS[name], SEEDS)
    history = ff.fit(replicas, samples, validation=samples, batch_size=8, progress=False, **options)
    evaluation = ff.evaluate(replicas, samples)
    for i, seed in list(enumerate(SEEDS))[1:]:
        model, expected = alone(NETWORKS[name], seed, samples, validation=samples, **options)
        assert difference(replicas.member(i), model) < 1e-8
        for ours, theirs in zip(history.members[i], expected, strict=True):
            assert ours.keys() == theirs.keys()
            close(ours["layers"], theirs["layers"])
            close(ours["head"], theirs["head"])
            close(ours["validation"], theirs["validation"])
        close(evaluation.members[i].to_dict(), ff.evaluate(model, samples).to_dict())
    losses = [member[-1]["layers"][0]["loss"] for member in history.members]
    assert history[-1]["layers"][0]["loss"] == pytest.approx(sum(losses) / len(losses))
    assert evaluation.error == pytest.approx(sum(e.error for e in evaluation.members) / len(SEEDS))


#: Figures of a layer that replicas do not measure.
UNMEASURED = ("dead_units", "weight_change")


def close(a: Any, b: Any) -> None:
    """Compare nested records."""
    if isinstance(a, dict):
        measured = [{key for key in record if key not in UNMEASURED} for record in (a, b)]
        assert measured[0] == measured[1]
        for key in measured[0]:
            close(a[key], b[key])
    elif isinstance(a, list):
        for x, y in zip(a, b, strict=True):
            close(x, y)
    else:
        assert (not isinstance(a, float | int) and a == b) or math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-9)


@pytest.mark.parametrize("schedule", [Greedy(), Overlapping(), Staggered([(0.0, 0.5), (0.5, 1.0)])], ids=repr)
def test_schedules_update_the_same_layers(schedule: Schedule) -> None:
    samples = data("per_class")
    replicas = ff.replicate(per_class, SEEDS)
    ff.fit(replicas, samples, epochs=2, batch_size=8, optimizer=sgd(), schedule=schedule, progress=False)
    model, _ = alone(per_class, SEEDS[1], samples, epochs=2, optimizer=sgd(), schedule=schedule)
    assert difference(replicas.member(1), model) < 1e-8


def test_learning_rates_momenta_and_thresholds_may_differ() -> None:
    samples = data("pair")
    values = [(0.01, 0.9, 1.0), (0.1, 0.0, 5.0)]

    def make(theta: float) -> ff.FFSequential:
        torch.manual_seed(0)
        return pair(loss=ff.losses.Threshold(theta=theta))

    replicas = Replicas([make(theta) for _, _, theta in values], seeds=[7, 7])
    optimizer = ReplicaOptimizer([sgd(lr=lr, momentum=momentum) for lr, momentum, _ in values])
    history = ff.fit(replicas, samples, epochs=2, batch_size=8, optimizer=optimizer, progress=False)
    for i, (lr, momentum, theta) in enumerate(values):
        model = make(theta)
        ff.fit(model, samples, epochs=2, batch_size=8, seed=7, optimizer=sgd(lr=lr, momentum=momentum), progress=False)
        assert difference(replicas.member(i), model) < 1e-8
        assert history.members[i][0]["layers"][0]["learning_rate"] == lr
        assert replicas.member(i)[1].objective.loss.threshold == theta


def test_a_member_is_not_changed_by_the_others() -> None:
    samples = data("pair")
    weights = []
    for other in (1.0, 2.0):
        optimizer = ReplicaOptimizer([sgd(), sgd(lr=0.05 * other)])
        torch.manual_seed(0)
        replicas = Replicas([pair(), pair()], seeds=[1, 2])
        ff.fit(replicas, samples, epochs=1, batch_size=8, optimizer=optimizer, progress=False)
        weights.append([replicas.member(0), replicas.member(1)])
    assert difference(weights[0][0], weights[1][0]) == 0
    assert difference(weights[0][1], weights[1][1]) > 1e-3


def test_augmentation_draws_from_each_members_generator() -> None:
    def augment(images: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
        return images + torch.rand(images.shape, generator=generator, dtype=images.dtype)

    samples = data("per_class")
    replicas = ff.replicate(per_class, SEEDS)
    ff.fit(replicas, samples, epochs=1, batch_size=8, optimizer=sgd(), augment=augment, progress=False)
    model, _ = alone(per_class, SEEDS[2], samples, epochs=1, optimizer=sgd(), augment=augment)
    assert difference(replicas.member(2), model) < 1e-8


def test_an_augmentation_that_loses_images_is_refused() -> None:
    replicas = ff.replicate(per_class, SEEDS)
    with pytest.raises(TypeError, match=r"augment must return images of the same shape .*, got .*7"):
        ff.fit(replicas, data("per_class"), batch_size=8, augment=lambda images, generator: images[1:], progress=False)


def test_only_batches_of_the_full_size_are_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = []

    def batched(self: Any, function: Any, state: Any, batch: Any, training: bool, compile: bool) -> Any:
        shapes.append((batch["labels"].shape[1], compile))
        return torch.vmap(function)(state, batch)

    monkeypatch.setattr(stacked.Batched, "__call__", batched)
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)
    replicas = ff.replicate(per_class, SEEDS)
    ff.fit(replicas, data("per_class", 20), epochs=2, batch_size=8, compile=True, progress=False)
    assert shapes[1:] == [(8, True), (8, True), (4, False)] * 2  # the first is the attempt on zeros


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pair", "per_class", "learned_label"])
def test_a_compiled_training_is_equal(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = torch.compile
    calls = itertools.count()

    def traced(function: Any, **options: Any) -> Any:
        next(calls)
        return compiled(function, backend="aot_eager", **options)  # the trace without C++, which takes long

    monkeypatch.setattr(torch, "compile", traced)
    samples = data(name, 24)
    weights = []
    for compiles in (False, True):
        replicas = ff.replicate(NETWORKS[name], SEEDS[:2])
        ff.fit(replicas, samples, epochs=1, batch_size=8, optimizer=sgd(), compile=compiles, progress=False)
        weights.append(replicas)
    assert next(calls) >= 2  # gradients and update
    assert difference(*weights) < 1e-8


def test_predictions_are_those_of_the_members() -> None:
    images, labels = data("pair")
    replicas, models = prepared(lambda: pair(classifier=ff.classifiers.LayerEnsemble()))
    predictions = replicas.predict(images, batch_size=8)
    assert predictions.shape == (len(SEEDS), len(images))
    assert replicas.predict_proba(images).shape == (len(SEEDS), len(images), CLASSES)
    for i, model in enumerate(models):
        assert torch.equal(predictions[i], model.predict(images))
        torch.testing.assert_close(replicas(images)[i], model(images))
        torch.testing.assert_close(replicas.activations(images, labels)[1][i], model.activations(images, labels)[1])
        torch.testing.assert_close(replicas.head_logits(images)[i], model.head_logits(images))
