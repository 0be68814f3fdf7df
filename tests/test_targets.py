"""Targets that are no class indices: probabilities, several labels and real values, in every use of a network."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

import forwardforward as ff
from forwardforward.step import WholeStep
from forwardforward.targets import ClassIndices, ClassProbabilities, MultiLabel, RealValues, TargetScaling
from forwardforward.targets.kind import common_kind
from forwardforward.training.callbacks import Callback

X = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
CLASSES = torch.arange(40) % 3
SOFT = torch.rand(40, 3, generator=torch.Generator().manual_seed(1)).softmax(1)
LABELS = X[:, :3] > 0
VALUES = 100 + 20 * X[:, 0] + 5 * X[:, 1]
SEVERAL = torch.stack([VALUES, X[:, 2]], 1)


def network(loss: nn.Module, outputs: int, **options: Any) -> ff.FFSequential:
    torch.manual_seed(0)
    goodness = ff.goodness.LearnedProjection(outputs)
    return ff.FFSequential(ff.FFLinear(6, 8), ff.FFLinear(8, 7), goodness=goodness, loss=loss, **options)


def mixed(**options: Any) -> ff.FFSequential:
    return network(ff.losses.CrossEntropy(), 3, **options)


def several_labels(**options: Any) -> ff.FFSequential:
    return network(ff.losses.BinaryCrossEntropy(), 3, **options)


def ordinal(**options: Any) -> ff.FFSequential:
    return network(ff.losses.OrdinalCrossEntropy(), 9, **options)


def squared(**options: Any) -> ff.FFSequential:
    return network(ff.losses.SquaredError(), 2, **options)


def baseline(**options: Any) -> ff.baselines.Backpropagation:
    torch.manual_seed(0)
    return ff.baselines.Backpropagation(ff.FFLinear(6, 8), num_classes=1, loss=ff.losses.SquaredError(), **options)


NETWORKS: dict[str, tuple[Callable[..., Any], Tensor]] = {
    "probabilities": (mixed, SOFT),
    "labels": (several_labels, LABELS),
    "ordinal": (ordinal, VALUES),
    "values": (squared, SEVERAL),
}
each = pytest.mark.parametrize("name", NETWORKS)
FIT = {"batch_size": 16, "progress": False}


def difference(a: nn.Module, b: nn.Module) -> float:
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return max(float((x.double() - y.double()).abs().max()) for x, y in pairs)


# Losses against plain loops


def test_cross_entropy_of_probabilities() -> None:
    goodness = torch.randn(40, 3)
    terms = [
        -float(p) * (float(g) / 2 - math.log(sum(math.exp(float(other) / 2) for other in row)))
        for row, targets in zip(goodness, SOFT, strict=True)
        for g, p in zip(row, targets, strict=True)
    ]
    loss = ff.losses.CrossEntropy(temperature=2.0)
    assert float(loss(goodness, SOFT)) == pytest.approx(sum(terms) / 40, rel=1e-5)
    one_hot = nn.functional.one_hot(CLASSES).float()
    assert float(loss(goodness, one_hot)) == pytest.approx(float(loss(goodness, CLASSES)), rel=1e-6)
    superclasses = ff.losses.SuperclassCrossEntropy([0, 1, 0])
    assert float(superclasses(goodness, one_hot)) == pytest.approx(float(superclasses(goodness, CLASSES)), rel=1e-6)


def test_binary_cross_entropy() -> None:
    goodness = torch.randn(40, 3)
    total = 0.0
    for row, labels in zip(goodness.tolist(), LABELS.tolist(), strict=True):
        for g, applies in zip(row, labels, strict=True):
            p = 1 / (1 + math.exp(-(g - 0.5) / 2))
            total -= math.log(p if applies else 1 - p)
    loss = ff.losses.BinaryCrossEntropy(theta=0.5, temperature=2.0)
    assert float(loss(goodness, LABELS.float())) == pytest.approx(total / 120, rel=1e-5)


class AboveOne(ff.goodness.PerClassGoodness):
    lowest = 1.0

    def forward(self, activations: Tensor) -> Tensor:
        return 1 + activations[:, :3].square()


class Signed(ff.goodness.Goodness):
    def forward(self, activations: Tensor) -> Tensor:
        return activations.mean(1) - 1


@pytest.mark.parametrize(
    ("goodness", "theta", "lowest"),
    [
        (ff.goodness.ClassGroups(3), 0.0, 0),
        (ff.goodness.ClassGroups(3), -1.0, 0),
        (ff.goodness.ClassGroups(3, ff.goodness.SumOfSquares()), 0.0, 0),
        (ff.goodness.ClassGroups(3, ff.goodness.L1()), 0.0, 0),
        (ff.goodness.ClassGroups(3, ff.goodness.TopK(1)), 0.0, 0),
        (ff.goodness.ClassGroups(3, ff.goodness.EntmaxEnergy()), 0.0, 0),
        (ff.goodness.ClassGroups(3, ff.goodness.WithoutLabel(1, ff.goodness.L1())), 0.0, 0),
        (AboveOne(3), 1.0, 1),
    ],
)
def test_a_threshold_that_no_label_is_below_is_refused(goodness: Any, theta: float, lowest: int) -> None:
    with pytest.raises(
        ValueError, match=rf"theta must be above {lowest}, the lowest goodness of any label, got {theta}"
    ):
        ff.FFLinear(6, 9, goodness=goodness, loss=ff.losses.BinaryCrossEntropy(theta))
    ff.FFLinear(6, 9, goodness=goodness, loss=ff.losses.BinaryCrossEntropy(lowest + 0.5))


@pytest.mark.parametrize(
    "goodness",
    [
        ff.goodness.ClassGroups(3, Signed()),
        ff.goodness.ClassGroups(3, ff.goodness.Negated(ff.goodness.SumOfSquares())),
        ff.goodness.ClassGroups(3, lambda h: h.mean(1)),
        ff.goodness.LearnedProjection(3, init="zeros"),
        lambda h: h[:, :3],
    ],
)
def test_a_goodness_that_may_be_negative_has_any_threshold(goodness: Any) -> None:
    objective = ff.objectives.ClassObjective(goodness, ff.losses.BinaryCrossEntropy())
    ff.FFLinear(6, 9, objective=objective)


def test_ordinal_cross_entropy() -> None:
    goodness, targets = torch.randn(4, 5), torch.tensor([-1.0, 0.3, 2.0, 9.0])
    centers, width, total = [-2.0, -1.0, 0.0, 1.0, 2.0], 0.8, 0.0
    for row, y in zip(goodness.tolist(), targets.tolist(), strict=True):
        weights = [math.exp(-((min(y, 2.0) - c) ** 2) / (2 * width**2)) for c in centers]
        scores = [math.exp(g) for g in row]
        total -= sum(w / sum(weights) * math.log(s / sum(scores)) for w, s in zip(weights, scores, strict=True))
    loss = ff.losses.OrdinalCrossEntropy(low=-2, high=2, width=width)
    assert float(loss(goodness, targets)) == pytest.approx(total / 4, rel=1e-5)
    expected = sum(c * math.exp(g) for c, g in zip(centers, goodness[0].tolist(), strict=True))
    expected /= sum(math.exp(g) for g in goodness[0].tolist())
    assert float(loss.target_kind.decide(goodness[:1])) == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ValueError, match=r"^high must be above low=1.0, got 0.5"):
        ff.losses.OrdinalCrossEntropy(low=1.0, high=0.5)


# Checks


@pytest.mark.parametrize(
    ("kind", "targets", "error", "message"),
    [
        (ClassIndices(), SOFT, ValueError, r"^labels must be one per image.*class objectives with CrossEntropy\(\)$"),
        (ClassIndices(), LABELS, ValueError, r"^labels must be one per image.*labels.argmax\(1\)$"),
        (ClassProbabilities(), SOFT * 2, ValueError, r"^labels must be probabilities.*got a row of sum 2"),
        (ClassProbabilities(), SOFT - 0.5, ValueError, r"^labels must be probabilities.*got the value -0"),
        (ClassProbabilities(), SOFT[:, :2], ValueError, r"^labels must be one class.*\(40, 3\), got \(40, 2\)$"),
        (ClassProbabilities(), SOFT / 0, ValueError, r"^labels must be finite probabilities"),
        (ClassProbabilities(), VALUES, TypeError, r"^labels must be of an integer type, got torch.float32"),
        (MultiLabel(), CLASSES, ValueError, r"^targets must be one row of labels.*one_hot\(targets, 3\)$"),
        (MultiLabel(), LABELS[:, :2], ValueError, r"^targets must be one row of labels per sample, \(40, 3\), got"),
        (MultiLabel(), LABELS * 2.0, ValueError, r"^targets must be 0 and 1, or between, got 0 to 2$"),
        (MultiLabel(), SOFT * torch.nan, ValueError, r"^targets must be 0 and 1, or between, got nan to nan$"),
        (RealValues(), CLASSES, TypeError, r"^targets must be real numbers.*int64; targets.float\(\) converts them$"),
        (RealValues(), SEVERAL, ValueError, r"^targets must be 3 numbers per sample, 40 samples, got shape \(40, 2\)"),
        (
            RealValues(-3.0, 3.0),
            SEVERAL,
            ValueError,
            r"^targets must be one number.*; SquaredError\(\) accepts several",
        ),
        (RealValues(-3.0, 3.0), VALUES / 0, ValueError, r"^targets must be finite, got NaN or infinity$"),
        (RealValues(-3.0, 3.0), VALUES[:9], ValueError, r"^targets must be one number per sample, 40 samples, got"),
    ],
)
def test_targets_of_another_kind_are_refused(
    kind: ff.targets.TargetKind, targets: Tensor, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        kind.check(targets, 40, 3)


@each
@pytest.mark.parametrize("use", ["fit", "evaluate", "step", "loader"])
def test_a_network_refuses_class_indices_or_strings_for_other_targets(name: str, use: str) -> None:
    make, _ = NETWORKS[name]
    model, wrong = make(), VALUES if name == "probabilities" else CLASSES
    uses: dict[str, Callable[[], Any]] = {
        "fit": lambda: ff.fit(model, (X, wrong), epochs=1, **FIT),
        "evaluate": lambda: ff.evaluate(model, (X, wrong)),
        "step": lambda: model.step((X, wrong), ff.LocalOptimizer(torch.optim.SGD, lr=0.1)),
        "loader": lambda: ff.fit(model, DataLoader(list(zip(X, wrong, strict=True)), batch_size=8), epochs=1, **FIT),
    }
    with pytest.raises((TypeError, ValueError), match="^(targets|labels) must be "):
        uses[use]()


def test_pair_objectives_refuse_probabilities_and_mixing_with_a_reason() -> None:
    def pair() -> ff.FFSequential:
        return ff.FFSequential(
            ff.FFLinear(9, 8),
            goodness=ff.goodness.MeanOfSquares(),
            loss=ff.losses.SymBa(),
            label_encoder=ff.label_encoders.Concatenation(3),
        )

    with pytest.raises(ValueError, match=r"^labels must be one per image.*need class objectives with CrossEntropy"):
        ff.fit(pair(), (X, SOFT), epochs=1, **FIT)
    with pytest.raises(
        ValueError, match=r"^augment must not mix .*ClassIndices\(\): a mixture of classes has no wrong"
    ):
        ff.fit(pair(), (X, CLASSES), epochs=1, augment=ff.data.Mixup(), **FIT)


def test_parts_that_do_not_fit_the_targets_are_refused_at_construction() -> None:
    with pytest.raises(ValueError, match=r"^classifier must score each output by itself .*MultiLabel\(\)"):
        several_labels(classifier=ff.classifiers.BestInterval())
    with pytest.raises(ValueError, match="^head must be None for targets that are real values"):
        ordinal(head=ff.heads.LinearHead(9))
    with pytest.raises(ValueError, match="^objectives of one network must accept the same targets, got MultiLabel"):
        ff.FFSequential(
            ff.FFLinear(6, 8, loss=ff.losses.BinaryCrossEntropy()),
            ff.FFLinear(8, 8, loss=ff.losses.CrossEntropy()),
            goodness=ff.goodness.LearnedProjection(3),
        )
    with pytest.raises(ValueError, match="^layer 0: num_classes must be at least 2, got 1"):
        network(ff.losses.CrossEntropy(), 1)
    with pytest.raises(ValueError, match="^loss must be None for Pepita"):
        ff.baselines.Pepita(ff.FFLinear(6, 8), num_classes=3, loss=ff.losses.BinaryCrossEntropy())
    model = several_labels()
    model.classifier = ff.classifiers.BestInterval()
    with pytest.raises(ValueError, match="^data must have one class per sample to choose layers by"):
        ff.training.choose_layers(model, (X, LABELS))


def test_an_objective_without_targets_leaves_the_kind_to_the_others() -> None:
    class Sparse(ff.objectives.Objective):
        def forward(self, activations: Tensor, batch: ff.Batch) -> ff.objectives.LocalLoss:
            return ff.objectives.LocalLoss(activations.abs().mean())

    main = ff.objectives.ClassObjective(ff.goodness.LearnedProjection(3), ff.losses.BinaryCrossEntropy())
    model = ff.FFSequential(ff.FFLinear(6, 8), objective=main + Sparse())
    assert model.target_kind == MultiLabel()
    assert ff.FFSequential(ff.FFLinear(6, 8), objective=Sparse()).target_kind == ClassIndices()
    contrast = ff.objectives.BatchObjective(ff.losses.SupervisedContrastive())
    classes = ff.objectives.ClassObjective(ff.goodness.LearnedProjection(3), ff.losses.CrossEntropy())
    assert (classes + contrast).target_kind == ClassIndices()  # the stricter of the two
    assert common_kind([None]) is None


def test_a_plain_function_is_used_with_the_kind_that_its_objective_states() -> None:
    objective = ff.objectives.ClassObjective(
        ff.goodness.LearnedProjection(1), nn.functional.smooth_l1_loss, RealValues()
    )
    model = ff.FFSequential(ff.FFLinear(6, 8), objective=objective)
    ff.fit(model, (X, VALUES), epochs=1, **FIT)
    assert model.predict(X).shape == (40,)


# Figures


def test_errors_of_several_labels_are_wrong_labels() -> None:
    model = several_labels(head=ff.heads.LinearHead(3))
    history = ff.fit(model, (X, LABELS), validation=(X, LABELS), epochs=2, **FIT)
    predicted = model.predict(X)
    assert predicted.dtype == torch.bool
    result = ff.evaluate(model, (X, LABELS), batch_size=7)
    wrong = sum(bool(a) != bool(b) for a, b in zip(predicted.flatten(), LABELS.flatten(), strict=True))
    assert result.error == pytest.approx(100 * wrong / 120)
    assert (result.metric, result.unit) == ("label error", "%")
    goodness = model.layer_goodness(X)
    for layer, error in enumerate(result.layer_errors or ()):
        assert error == pytest.approx(100 * float(((goodness[:, layer] > 0) != LABELS).float().mean()))
    assert result.head_error == pytest.approx(100 * float(((model.head_logits(X) > 0) != LABELS).float().mean()))
    torch.testing.assert_close(model.predict_proba(X), model.scores(X).sigmoid())
    record = history[-1]["layers"][0]
    local = model.local_losses((X, LABELS))[0]
    assert float(local.positive or 0) == pytest.approx(float(goodness[:, 0][LABELS].mean()), rel=1e-4)
    assert float(local.negative or 0) == pytest.approx(float(goodness[:, 0][~LABELS].mean()), rel=1e-4)
    assert 0 <= record["accuracy"] <= 1
    assert str(result).startswith(f"label error {result.error:.2f} % (layers ")


def test_errors_of_values_are_root_mean_squares_in_their_unit() -> None:
    for make, targets in ((ordinal, VALUES), (squared, SEVERAL), (baseline, VALUES)):
        model = make()
        history = ff.fit(model, (X, targets), validation=(X, targets), epochs=2, **FIT)
        predicted = model.predict(X)
        assert predicted.shape == targets.shape
        squares = [(float(a) - float(b)) ** 2 for a, b in zip(predicted.flatten(), targets.flatten(), strict=True)]
        result = ff.evaluate(model, (X, targets), batch_size=7)
        rms = math.sqrt(sum(squares) / len(squares))
        assert result.error == pytest.approx(rms, rel=1e-4)
        assert result.layer_accuracies is None
        with pytest.raises(ValueError, match="^accuracy is not defined"):
            _ = result.accuracy
        last = history.validation()[-1]
        assert repr(history) == f"<History of 2 epochs, validation RMSE {last:.4g}>"
    assert ordinal().predict_proba(X).sum(1).allclose(torch.ones(40))
    with pytest.raises(ValueError, match="^predict_proba needs bins"):
        squared().predict_proba(X)


def test_errors_of_probabilities_are_those_of_the_most_likely_class() -> None:
    model = mixed(head=ff.heads.LinearHead(3), classifier=ff.classifiers.BestInterval())
    ff.fit(model, (X, SOFT), validation=(X, SOFT), epochs=1, **FIT)
    result, expected = ff.evaluate(model, (X, SOFT)), ff.evaluate(model, (X, SOFT.argmax(1)))
    assert result == expected
    local = model.local_losses((X, SOFT))[0]
    goodness = model.layer_goodness(X)[:, 0]
    assert float(local.positive or 0) == pytest.approx(float((goodness * SOFT).sum(1).mean()), abs=1e-5)


def test_real_values_are_scaled_on_the_training_data_and_predicted_in_their_unit() -> None:
    model = ordinal()
    ff.fit(model, (X, VALUES), epochs=1, **FIT)
    assert model.target_scaling is not None
    assert float(model.target_scaling.mean) == pytest.approx(float(VALUES.mean()), rel=1e-5)
    assert float(model.target_scaling.std) == pytest.approx(float(VALUES.std(correction=0)), rel=1e-5)
    ff.fit(model, (X, VALUES * 5), epochs=1, **FIT)  # fitted once
    assert float(model.target_scaling.mean) == pytest.approx(float(VALUES.mean()), rel=1e-5)
    loaded = ordinal()
    loaded.load_state_dict(model.state_dict())
    assert torch.equal(loaded.predict(X), model.predict(X))
    several = squared()
    ff.fit(several, (X, SEVERAL), epochs=1, **FIT)
    again = squared()
    again.load_state_dict(several.state_dict())
    assert torch.equal(again.predict(X), several.predict(X))
    assert TargetScaling().fit([torch.ones(3)])(torch.tensor([2.0])).tolist() == [1.0]  # constant: shifted only


def first_two(activations: Tensor) -> Tensor:
    """A goodness whose number of values is known only after the setup."""
    return activations[:, :2]


@pytest.mark.parametrize(
    ("make", "targets"),
    [
        (ordinal, VALUES),
        (ordinal, VALUES[:, None]),
        (lambda **options: network(ff.losses.SquaredError(), 1, **options), VALUES),
        (lambda **options: network(ff.losses.SquaredError(), 1, **options), VALUES[:, None]),
        (squared, SEVERAL),
        (lambda **options: network(ff.losses.SquaredError(), 3, **options), X[:, :3] * 7 + 5),
        (baseline, VALUES),
        (
            lambda **options: ff.FFSequential(
                ff.FFLinear(6, 8), objective=ff.objectives.ClassObjective(
                    first_two, nn.functional.smooth_l1_loss, ff.targets.RealValues()), **options
            ),
            SEVERAL,
        ),
    ],
)  # fmt: skip
def test_a_network_of_real_values_is_saved_and_loaded(make: Callable[..., Any], targets: Tensor, tmp_path: Any) -> None:
    pytest.importorskip("safetensors")
    model, path = make(), tmp_path / "checkpoint.pt"
    ff.fit(model, (X, targets), epochs=1, checkpoint=path, **FIT)
    expected = model.predict(X)
    if targets.dim() == 2:  # scaled each by itself
        torch.testing.assert_close(model.target_scaling.mean.expand(targets.shape[1]), targets.mean(0))
    assert torch.equal(ff.training.load_weights(path, make(input_shape=(6,))).predict(X), expected)
    loaded = make(input_shape=(6,))
    loaded.load_state_dict(model.state_dict())
    assert torch.equal(loaded.predict(X), expected)
    model.save_pretrained(tmp_path / "folder")
    loaded = type(model).from_pretrained(tmp_path / "folder", plugins=[first_two, nn.functional.smooth_l1_loss])
    assert torch.equal(loaded.predict(X), expected)
    ff.fit(loaded, (X, targets), epochs=1, **FIT)  # fitted once
    assert torch.equal(loaded.target_scaling.mean, model.target_scaling.mean)


@pytest.mark.parametrize("make", [ordinal, squared, baseline])
def test_a_step_of_real_values_needs_their_scaling(make: Callable[..., Any]) -> None:
    model, targets = make(input_shape=(6,)), SEVERAL if make is squared else VALUES
    optimizer = ff.LocalOptimizer(torch.optim.Adam, lr=0.05)
    with pytest.raises(ValueError, match=r"^target_scaling must be fitted .* as model.target_scaling.fit\(train"):
        model.step((X, targets), optimizer)
    unscaled = copy.deepcopy(model)
    unscaled.target_scaling = None
    unscaled.step((X, targets), ff.LocalOptimizer(torch.optim.Adam, lr=0.05))
    assert unscaled.predict(X).shape == targets.shape
    model.target_scaling.fit(targets.numpy())
    for _ in range(50):
        model.step((X, targets), optimizer)
    assert ff.evaluate(model, (X, targets)).error < 10  # of a mean of 100


def test_replicas_of_real_values_need_their_scaling() -> None:
    replicas = ff.replicate(ordinal, seeds=[0, 1])
    batch, optimizer = (X.expand(2, -1, -1), VALUES.expand(2, -1)), ff.LocalOptimizer(torch.optim.SGD, lr=0.1)
    with pytest.raises(ValueError, match="^target_scaling must be fitted before the first step"):
        replicas.step(batch, optimizer)
    replicas.target_scaling.fit(VALUES)
    replicas.step(batch, optimizer)


def test_statistics_of_targets_that_do_not_fit_are_refused() -> None:
    model = squared(input_shape=(6,))
    model.target_scaling.fit(torch.tensor([-1.0, 1.0]))  # of each value: the unit of the targets
    assert torch.equal(model.target_scaling(SEVERAL), SEVERAL)
    for targets, message in (
        (X[:, :3], r"^targets must have the shape \(2,\) of one sample, got \(3,\)"),
        (torch.tensor([[1.0, math.nan]]), "^targets must be finite"),
        ([], "^targets must contain at least one sample, got none"),
    ):
        with pytest.raises(ValueError, match=message):
            model.target_scaling.fit(targets)
    assert torch.equal(model.target_scaling(SEVERAL), SEVERAL)
    by_batches = TargetScaling().fit([SEVERAL[:7].numpy(), SEVERAL[7:].numpy()])
    torch.testing.assert_close(by_batches.mean, SEVERAL.mean(0))


def test_targets_beyond_the_outer_bins_are_reported() -> None:
    model = network(ff.losses.OrdinalCrossEntropy(low=-1, high=1), 9)
    with pytest.warns(
        UserWarning, match=r"^train has \d+ of 40 targets beyond the outer bins, which are -1 and 1 stand"
    ):
        ff.fit(model, (X, VALUES), epochs=1, **FIT)


def test_diagnostics_of_several_labels() -> None:
    pytest.importorskip("matplotlib")
    model = several_labels()
    ff.diagnostics.goodness_distributions(model, (X, LABELS))
    history = ff.fit(ordinal(), (X, VALUES), validation=(X, VALUES), epochs=1, **FIT)
    _, axes = ff.diagnostics.curves(history)
    assert "RMSE" in {axis.get_title() for axis in axes.flat}
    with pytest.raises(ValueError, match="^targets must be classes or labels"):
        ff.diagnostics.goodness_distributions(ordinal(), (X, VALUES))


# Every form of training


@each
def test_a_loader_gives_the_same_weights_as_tensors(name: str) -> None:
    make, targets = NETWORKS[name]
    rows = list(zip(X, targets, strict=True))
    in_order = [make() for _ in range(2)]
    for model, data in zip(in_order, (DataLoader(rows, batch_size=40), (X, targets)), strict=True):
        ff.fit(model, data, epochs=2, batch_size=40, progress=False)
    assert difference(*in_order) < 1e-5


@each
def test_both_forms_of_the_step_agree(name: str) -> None:
    make, targets = NETWORKS[name]
    model = make().double()
    if model.target_scaling is not None:
        model.target_scaling.fit(targets)
    other = copy.deepcopy(model)
    for trained, whole in ((model, None), (other, WholeStep())):
        optimizer = ff.LocalOptimizer(torch.optim.SGD, lr=0.01)
        result = trained.step((X.double(), targets), optimizer, whole_step=whole)
        assert set(result.layers) == {0, 1}
    assert difference(model, make().double()) > 0
    assert difference(model, other) < 1e-12


@pytest.mark.slow
@each
def test_a_compiled_training_agrees(name: str) -> None:
    make, targets = NETWORKS[name]
    models = [make(), make()]
    for model, compiles in zip(models, (False, True), strict=True):
        ff.fit(model, (X, targets), epochs=2, compile=compiles, augment=ff.data.Mixup(), **FIT)
    assert difference(*models) < 1e-4


@each
def test_replicas_equal_separate_trainings(name: str) -> None:
    make, targets = NETWORKS[name]

    def double() -> ff.FFSequential:
        goodness = {"probabilities": 3, "labels": 3, "ordinal": 9, "values": 2}[name]
        loss = make()[0].objective.loss
        torch.manual_seed(torch.initial_seed())
        return ff.FFSequential(ff.FFLinear(6, 8), goodness=ff.goodness.LearnedProjection(goodness), loss=loss).double()

    options: dict[str, Any] = {"epochs": 2, "augment": ff.data.Mixup(), **FIT}
    optimizer = ff.LocalOptimizer(torch.optim.SGD, lr=0.05)
    replicas = ff.replicate(double, seeds=[3, 5])
    alone = replicas.member(1)
    history = ff.fit(replicas, (X, targets), validation=(X, targets), optimizer=optimizer, **options)
    ff.fit(alone, (X, targets), seed=5, optimizer=ff.LocalOptimizer(torch.optim.SGD, lr=0.05), **options)
    assert difference(replicas.member(1), alone) < 1e-8
    error = ff.evaluate(alone, (X, targets)).error
    assert history.members[1].validation()[-1] == pytest.approx(error, rel=1e-6)
    assert replicas.predict(X).shape == (2, *alone.predict(X).shape)


class Interrupt(Callback):
    """Ends a training after some steps."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_step_end(self, state: ff.training.FitState, result: Any) -> None:
        self.steps -= 1
        if not self.steps:
            state.interruption = KeyboardInterrupt()


@each
@pytest.mark.parametrize("augment", [ff.data.Mixup(), None], ids=repr)
def test_a_resumed_training_has_the_same_mixtures(name: str, augment: Any, tmp_path: Any) -> None:
    make, targets = NETWORKS[name]
    expected, resumed = make(), make()
    options: dict[str, Any] = {"epochs": 3, "augment": augment, **FIT}
    ff.fit(expected, (X, targets), **options)
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(KeyboardInterrupt):
        ff.fit(resumed, (X, targets), checkpoint=path, callbacks=[Interrupt(5)], **options)
    again = make()
    ff.fit(again, (X, targets), checkpoint=path, resume=True, callbacks=[Interrupt(-1)], **options)
    assert difference(again, expected) == 0


def test_pepita_accepts_mixed_classes() -> None:
    torch.manual_seed(0)
    models = [ff.baselines.Pepita(ff.FFLinear(6, 8), num_classes=3)]
    models.append(copy.deepcopy(models[0]))
    one_hot = nn.functional.one_hot(CLASSES).float()
    for model, targets in zip(models, (CLASSES, one_hot), strict=True):
        ff.fit(model, (X, targets), epochs=1, **FIT)
    assert difference(*models) < 1e-6


@pytest.mark.parametrize("name", ["mono-mixup", "multi-label", "ordinal"])
def test_recipes(name: str) -> None:
    recipe = ff.recipes.get(name).replace(widths=(8, 7))
    make = {"mono-mixup": (3, CLASSES), "multi-label": (3, LABELS), "ordinal": (None, VALUES)}
    classes, targets = make[name]
    model = recipe.model((6,), classes)
    recipe.fit(model, (X, targets), epochs=1, progress=False)
    assert ff.evaluate(model, (X, targets)).samples == 40
    assert model.target_kind == recipe.target_kind
    wrong = 3 if classes is None else None
    with pytest.raises(ValueError, match=f"^num_classes must be (None|given) for the recipe {name}"):
        recipe.model((6,), wrong)


@pytest.mark.parametrize("data", ["diabetes", "digit-pairs"])
@pytest.mark.slow
def test_the_command_line_trains_evaluates_and_predicts(data: str, tmp_path: Any, capsys: Any) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    import numpy as np

    from forwardforward.cli import main

    run = str(tmp_path / "run")
    words = ["train", data, "--widths", "8,7", "--epochs", "1", "--batch-size", "200", "--out", run, "--no-progress"]
    assert main(words) == 0
    metric = {"diabetes": "RMSE", "digit-pairs": "label error"}[data]
    assert f"test {metric}" in capsys.readouterr().out
    inputs = ff.data.load(data).test.inputs[:3].numpy()
    np.save(tmp_path / "inputs.npy", inputs)
    assert main(["predict", run, str(tmp_path / "inputs.npy")]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    expected = ff.load(run).predict(torch.from_numpy(inputs))
    assert len(rows) == 3
    if data == "diabetes":
        assert header == "input,value"
        assert [float(row.split(",")[1]) for row in rows] == pytest.approx(expected.tolist(), rel=1e-5)
    else:
        assert header == "input,labels,0,1,2,3,4,5,6,7,8,9"
        listed = [";".join(str(i) for i in row.nonzero().flatten().tolist()) for row in expected]
        assert [row.split(",")[1] for row in rows] == listed
    wrong = "hinton" if data == "diabetes" else "ordinal"
    assert main(["train", data, "--recipe", wrong, "--out", str(tmp_path / "no"), "--no-progress"]) == 2
    assert "num_classes must be" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_an_empty_batch_of_targets_is_left_out() -> None:
    assert TargetScaling().fit([torch.rand(3, 2), torch.empty(0)]).mean.shape == (2,)


@pytest.mark.parametrize("value", [0.1, 0.3, 1 / 3, 7.7])
def test_a_constant_target_is_shifted_only(value: float) -> None:
    scaling = TargetScaling().fit(torch.full((1000,), value, dtype=torch.float64))
    assert scaling.std == 1
    assert scaling.mean == pytest.approx(value)


@pytest.mark.parametrize(
    "targets", [[1.0, 2.0], torch.tensor(3.0), [torch.rand(3), torch.rand(3, 2)]], ids=["numbers", "one", "mixed"]
)
def test_targets_of_unsuitable_shapes_are_refused(targets: Any) -> None:
    with pytest.raises(
        ValueError, match=r"targets must be \(samples,\) or \(samples, values\), or batches of equal width"
    ):
        TargetScaling().fit(targets)
