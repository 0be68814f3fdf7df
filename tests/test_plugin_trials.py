"""The trial of plug-ins when a network is set up: what they return is refused by name, before the first step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import forwardforward as ff
from forwardforward.objectives import ClassObjective, LocalLoss, Objective

DATA = torch.rand(12, 6), torch.arange(12) % 3


def pairs(**plugins: Any) -> ff.FFSequential:
    """A network of pair objectives on inputs of 6 features."""
    usual: dict[str, Any] = {"goodness": ff.goodness.MeanOfSquares(), "loss": ff.losses.SymBa()}
    if "num_classes" not in plugins:
        usual["label_encoder"] = ff.label_encoders.Concatenation(3)
    width = 9 if "num_classes" not in plugins else 6
    return ff.FFSequential(ff.FFLinear(width, 4), ff.FFLinear(4, 4), **{**usual, **plugins}, input_shape=(6,))


def classes(**plugins: Any) -> ff.FFSequential:
    """A network of class objectives on inputs of 6 features."""
    usual: dict[str, Any] = {"goodness": ff.goodness.LearnedProjection(3), "loss": ff.losses.CrossEntropy()}
    usual = {} if "objective" in plugins else usual
    return ff.FFSequential(ff.FFLinear(6, 4), ff.FFLinear(4, 4), **{**usual, **plugins}, input_shape=(6,))


def mine(base: Any, method: str, function: Callable[..., Any], *arguments: Any, **attributes: Any) -> Any:
    """An object of a class ``Mine`` with one method of a plug-in."""
    return type("Mine", (base,), {method: lambda self, *values: function(*values), **attributes})(*arguments)


def labels_by(function: Callable[[Tensor, int], object], scores: str | None = None) -> Any:
    return mine(ff.negatives.LabelNegatives, "wrong_labels", lambda y, k, *_: function(y, k), scores=scores)


def samples_by(function: Callable[[Tensor, Tensor], object]) -> Any:
    return mine(ff.negatives.Negatives, "__call__", lambda x, y, *_: function(x, y), needs_labels=False)


def goodness_by(function: Callable[[Tensor], object]) -> Any:
    return mine(ff.goodness.Goodness, "forward", function)


def objective_by(function: Callable[..., object]) -> Any:
    return mine(Objective, "forward", lambda activations, batch: function(activations))


def a_sum(term: Objective) -> Objective:
    return ClassObjective(ff.goodness.LearnedProjection(3), ff.losses.CrossEntropy()) + term


def pair_loss(function: Callable[[Tensor, Tensor], object]) -> Any:
    return mine(ff.losses.PairLoss, "forward", function)


def class_loss(function: Callable[[Tensor, Tensor], object]) -> Any:
    return mine(ff.losses.ClassLoss, "forward", function)


class OneArgument(Objective):
    def forward(self, a: Tensor) -> LocalLoss:  # type: ignore[override]
        return LocalLoss(a.mean())


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda y, k: y + 5, r"wrong_labels must return class indices in 0\.\.2, got 5\.\.7 from Mine\(\)$"),
        (lambda y, k: y - 1, r"wrong_labels must return class indices in 0\.\.2, got -1\.\.1 from Mine\(\)$"),
        (lambda y, k: y[:-1], r"wrong_labels must return one class index per label, .* shape \(255,\) from Mine"),
        (lambda y, k: y.tolist(), r"wrong_labels must return one class index per label, .*, got \[0, 0, "),
        (lambda y, k: ((y + 1) % k).float(), r"wrong_labels must return one class index per label, .*float32"),
        (lambda y, k: y, r"wrong_labels must return others than the true labels, .* from Mine\(\)$"),
        (lambda y, k: y.add_(1).remainder_(k), "wrong_labels must return others than the true labels"),
        (lambda y, k: y.missing, r"negatives must be callable as wrong_labels\(labels, .*, which raised AttributeErr"),
    ],
)
def test_wrong_labels_that_are_not_are_refused(function: Callable[..., Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        pairs(negatives=labels_by(function))


def test_wrong_labels_some_of_which_are_true_are_accepted() -> None:
    permuted = labels_by(lambda y, k: y[torch.randperm(len(y))])  # as a widely copied program draws them
    assert len(ff.fit(pairs(negatives=permuted), DATA, epochs=1, progress=False)) == 1


@pytest.mark.parametrize("num_classes", [2, 3, 300])
@pytest.mark.parametrize("scores", [None, "head", "goodness"])
def test_own_wrong_labels_are_accepted_for_any_number_of_classes(num_classes: int, scores: str | None) -> None:
    encoder = ff.label_encoders.Concatenation(num_classes)
    hardest = mine(
        ff.negatives.LabelNegatives,
        "wrong_labels",
        lambda y, k, s, g: s.scatter(1, y[:, None], -torch.inf).argmax(1) if scores else (y + 1) % k,
        scores=scores,
    )
    for negatives in (hardest, ff.negatives.RandomLabel(), ff.negatives.HardLabel(), ff.negatives.HardGoodness()):
        ff.FFSequential(
            ff.FFLinear(6 + num_classes, 4),
            goodness=ff.goodness.MeanOfSquares(),
            loss=ff.losses.SymBa(),
            label_encoder=encoder,
            negatives=negatives,
            input_shape=(6,),
        )


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            lambda x, y: ff.Batch(torch.cat([x, x[1:]]), y, has_negatives=True),
            r"negatives must return a positive and a negative row per image, 8 rows, got 7 from Mine\(\)$",
        ),
        (
            lambda x, y: ff.Batch(torch.cat([x, x]), y),
            r"negatives must return a Batch with has_negatives=True, got one with has_negatives=False from Mine\(\)$",
        ),
        (lambda x, y: x, r"negatives must return a Batch with has_negatives=True, got a tensor of .* from Mine\(\)$"),
        (lambda x, y: x.missing, r"negatives must be callable as \(images, labels, .*, which raised AttributeError"),
    ],
)
def test_samples_of_another_form_are_refused(function: Callable[..., Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        pairs(negatives=samples_by(function), num_classes=3)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: (x, torch.arange(6, 9)),
        lambda x: x,
        lambda x: (x, [6, 7, 8], 9),
        lambda x: (x, torch.arange(6.0, 9.0), 9),
        lambda x: (x, torch.arange(6, 9), torch.tensor(9)),
        lambda x: None,
    ],
)
def test_a_place_of_another_form_is_refused(function: Callable[..., Any]) -> None:
    encoder = mine(ff.label_encoders.LabelEncoder, "place", function, 3)
    with pytest.raises(TypeError, match=r"^place must return three values, .*, got .* from Mine$"):
        pairs(label_encoder=encoder)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: classes(objective=objective_by(lambda a: a.mean())),
            "objective must return a LocalLoss, got a tensor",
        ),
        (
            lambda: classes(objective=objective_by(lambda a: None)),
            r"objective must return a LocalLoss, got None from M",
        ),
        (
            lambda: classes(objective=a_sum(objective_by(lambda a: a.mean()))),
            "objective must return a LocalLoss, got a",
        ),
        (
            lambda: classes(objective=a_sum(objective_by(lambda a: LocalLoss(a.mean(1))))),
            r"loss must be one number per batch, such as a mean, got shape \(4,\) from Mine$",
        ),
        (
            lambda: classes(objective=a_sum(OneArgument())),
            r"objective must be callable as \(activations, batch\) -> LocalLoss, got OneArgument\(\), which raised",
        ),
        (
            lambda: classes(objective=objective_by(lambda a: LocalLoss(a.mean(), accuracy=1.0))),  # type: ignore[arg-type]
            "accuracy must be one number as a tensor, got 1.0 from Mine$",
        ),
        (lambda: pairs(loss=pair_loss(lambda p, n: 3.0)), "loss must be one number per batch, .*, got 3.0 from Mine$"),
        (lambda: pairs(loss=pair_loss(lambda p, n: p + n)), r"loss must be one number per batch, .*, got shape \(4,\)"),
        (lambda: pairs(loss=pair_loss(lambda p: p)), r"loss must be callable as \(positive, negative\) -> loss, got M"),
        (lambda: pairs(goodness=goodness_by(lambda a: (a > 0).sum(1))), "goodness must return floating-point numbers"),
    ],
)
def test_an_objective_or_part_of_another_form_is_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^layer 0: {message}"):
        make()


def test_an_affine_map_of_another_type_is_refused() -> None:
    class Halved(ff.normalization.Normalization):
        def forward(self, x: Tensor) -> Tensor:
            return x / 2

        def as_affine(self, x: Any) -> Any:
            return 3

    with pytest.raises(TypeError, match=r"^as_affine must return an Affine or None, got 3 from Halved\(\)$"):
        pairs(normalization=Halved()).predict(DATA[0])


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: pairs(goodness=goodness_by(lambda a: a.detach().square().sum(1))), "goodness"),
        (lambda: pairs(goodness=goodness_by(lambda a: (a > 0).float().sum(1))), "goodness"),
        (lambda: pairs(loss=pair_loss(lambda p, n: (n - p).exp().mean().detach())), "loss"),
        (lambda: classes(loss=class_loss(lambda g, y: F.cross_entropy(g, y).detach())), "loss"),
        (lambda: classes(objective=a_sum(objective_by(lambda a: LocalLoss(a.mean().detach())))), "objective"),
        (
            lambda: classes(
                objective=ff.objectives.PooledObjective(
                    objective_by(lambda a: LocalLoss(a.mean().detach())), nn.Flatten()
                ),
                num_classes=3,
            ),
            "objective",
        ),
    ],
)
def test_a_part_without_a_gradient_is_refused(make: Callable[[], Any], name: str) -> None:
    with pytest.raises(ValueError, match=rf"^layer 0: {name} must return numbers with a gradient, .* from Mine\(\)$"):
        make()


def test_layers_without_parameters_and_frozen_ones_are_accepted() -> None:
    frozen = ff.FFLinear(9, 4).requires_grad_(False)
    model = ff.FFSequential(
        frozen,
        ff.FFLayer(nn.Tanh()),
        ff.FFLinear(4, 4),
        goodness=ff.goodness.MeanOfSquares(),
        loss=ff.losses.SymBa(),
        label_encoder=ff.label_encoders.Concatenation(3),
        input_shape=(6,),
    )
    assert len(ff.fit(model, DATA, epochs=1, progress=False)) == 1


class OnlyPositives(ff.losses.BatchLoss):
    """A constant for a batch without two different images of one class."""

    def forward(self, embeddings: Tensor, targets: Tensor) -> Tensor:
        distances = torch.cdist(embeddings, embeddings)
        same = (targets[:, None] == targets) & (distances > 0)
        return distances[same].mean() if same.any() else embeddings.new_zeros(())


def test_the_trial_has_several_images_of_one_class_and_different_activations() -> None:
    model = ff.FFSequential(ff.FFLinear(6, 4), loss=OnlyPositives(), num_classes=3, input_shape=(6,))
    assert len(ff.fit(model, DATA, epochs=1, progress=False)) == 1


@pytest.mark.parametrize(
    "objective",
    [
        ff.objectives.PairObjective(
            ff.goodness.MeanOfSquares(), lambda p, n: (n - p + torch.rand_like(p)).exp().mean()
        ),
        ff.objectives.BatchObjective(ff.losses.SupervisedContrastive(), ff.objectives.Embedding(4)),
    ],
    ids=["draws random numbers", "has running statistics"],
)
def test_the_trial_changes_neither_random_numbers_nor_statistics_nor_gradients(objective: Objective) -> None:
    encoder = ff.label_encoders.Concatenation(3) if objective.uses_negatives else None
    model = ff.FFSequential(
        ff.FFLinear(9, 4), ff.FFLinear(4, 4), objective=objective, label_encoder=encoder, num_classes=3
    )
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    model.setup((6,) if objective.uses_negatives else (9,))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items() if name in before)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("training", [True, False])
def test_modules_that_a_setup_makes_have_the_mode_of_the_layer(training: bool) -> None:
    class Normalized(ff.goodness.PerClassGoodness):
        def setup(self, spec: ff.specs.LayerSpec) -> None:
            self.normalization = nn.BatchNorm1d(spec.size)

        def forward(self, activations: Tensor) -> Tensor:
            return self.normalization(activations)[:, :3]

    objective = ClassObjective(Normalized(3), ff.losses.CrossEntropy())
    objective = objective + ff.objectives.BatchObjective(ff.losses.SupervisedContrastive(), ff.objectives.Embedding(4))
    model = ff.FFSequential(ff.FFLayer(nn.Linear(6, 4)), objective=objective).train(training)
    model.setup((6,))
    assert {module.training for module in model.modules()} == {training}


def test_an_appended_layer_is_tried_and_not_kept_if_it_is_refused() -> None:
    model = classes()
    layer = ff.FFLinear(4, 4, objective=a_sum(objective_by(lambda a: LocalLoss(a.mean().detach()))))
    with pytest.raises(ValueError, match="^layer 2: objective must return numbers with a gradient"):
        model.append(layer)
    assert len(model) == 2
    assert len(ff.fit(model, DATA, epochs=1, progress=False)) == 1


def test_a_network_whose_input_shape_is_unknown_is_tried_at_its_first_batch() -> None:
    model = ff.FFSequential(
        ff.FFLinear(9, 4),
        goodness=ff.goodness.MeanOfSquares(),
        loss=ff.losses.SymBa(),
        label_encoder=ff.label_encoders.Concatenation(3),
        negatives=labels_by(lambda y, k: y),
    )
    with pytest.raises(ValueError, match="^wrong_labels must return others than the true labels"):
        ff.fit(model, DATA, epochs=1, progress=False)
