"""Mistakes of users: refused before the first step, by a message that names the argument."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import forwardforward as ff

LAYERS = ((6, 8), (8, 7))


def network(**changes: Any) -> ff.FFSequential:
    plugins: dict[str, Any] = {
        "goodness": ff.goodness.MeanOfSquares(),
        "loss": ff.losses.SymBa(),
        "normalization": ff.normalization.RMSNorm(),
        "label_encoder": ff.label_encoders.Overlay(3),
    }
    return ff.FFSequential(*(ff.FFLinear(*sizes) for sizes in LAYERS), **{**plugins, **changes})


@pytest.mark.parametrize("negatives", [ff.negatives.HybridMask(), ff.negatives.SelfContrast()], ids=repr)
def test_a_label_encoder_with_negatives_that_use_none_is_refused(negatives: Any) -> None:
    with pytest.raises(ValueError, match=r"^label_encoder must be None for .*, which makes samples without labels"):
        network(negatives=negatives)


@pytest.mark.parametrize(
    ("name", "plugin"),
    [
        ("goodness", ff.goodness.MeanOfSquares),
        ("loss", ff.losses.SymBa),
        ("normalization", ff.normalization.RMSNorm),
        ("label_encoder", ff.label_encoders.Overlay),
        ("negatives", ff.negatives.RandomLabel),
        ("head", ff.heads.LinearHead),
    ],
)
def test_classes_in_place_of_instances_are_refused(name: str, plugin: type) -> None:
    with pytest.raises(TypeError, match=rf"^{name} must be an instance, such as {plugin.__name__}\(\.\.\.\)"):
        network(**{name: plugin})
    if name in ("goodness", "loss", "normalization"):
        with pytest.raises(TypeError, match=f"^{name} must be an instance"):
            ff.FFLinear(3, 4, **{name: plugin})


def test_layers_in_a_list_are_refused() -> None:
    with pytest.raises(TypeError, match=r"^layers must be separate arguments, as in f\(\*layers\), got "):
        ff.FFSequential([ff.FFLinear(3, 4)])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="^layers must be modules"):
        ff.FFSequential(nn.ModuleList([ff.FFLinear(3, 4)]))


def test_one_layer_used_twice_is_refused() -> None:
    layer = ff.FFLinear(6, 6)
    with pytest.raises(ValueError, match="^layer 1: a layer can be part of one network only"):
        ff.FFSequential(layer, layer, goodness=ff.goodness.MeanOfSquares(), loss=ff.losses.SymBa())


def test_goodness_needs_one_label_per_image() -> None:
    with pytest.raises(ValueError, match=r"^labels must be one per image, \(5,\), got \(3,\)"):
        network().goodness(torch.rand(5, 6), torch.zeros(3, dtype=torch.int64))


def test_images_without_a_batch_dimension_and_images_that_are_not_finite_are_refused() -> None:
    model = network()
    with pytest.raises(ValueError, match=r"^images must be \(batch, ...\), such as image\[None\]"):
        model.predict(torch.rand(6))
    images = torch.rand(4, 6)
    images[1, 5] = torch.nan
    for method in (model.predict, model.predict_proba, model.scores):
        with pytest.raises(ValueError, match="^scores must be finite, got NaN or infinity: the images or the weights"):
            method(images)


def test_a_head_with_random_labels_gives_the_same_scores_in_every_call() -> None:
    head = ff.heads.LinearHead(3, label="random")
    model = network(head=head, classifier="head")
    assert head.linear is not None
    nn.init.normal_(head.linear.weight)
    images = torch.rand(30, 6)
    assert torch.equal(model.scores(images), model.scores(images))


def test_a_loss_that_is_not_one_number_is_refused() -> None:
    objective = ff.objectives.PairObjective(ff.goodness.MeanOfSquares(), lambda positive, negative: negative - positive)
    model = network(goodness=None, loss=None, objective=objective)
    batch = torch.rand(4, 6), torch.tensor([0, 1, 2, 0])
    with pytest.raises(ValueError, match=r"^layer 0: loss must be one number per batch, .*, got shape \(4,\)"):
        model.step(batch, ff.LocalOptimizer(torch.optim.SGD, lr=0.1))


def test_a_batch_loss_that_returns_no_tensor_is_refused_at_construction() -> None:
    objective = ff.objectives.BatchObjective(lambda embeddings, targets: 3.0)
    with pytest.raises(ValueError, match="^layer 0: loss must be a tensor, got 3.0 of the function"):
        network(goodness=None, loss=None, objective=objective, label_encoder=None, negatives=None, num_classes=3)


def test_a_module_of_another_kind_as_goodness_is_refused_by_its_argument() -> None:
    with pytest.raises(TypeError, match=r"^layer 0: goodness must have setup\(spec\), got LinearHead"):
        network(goodness=ff.heads.LinearHead(7), loss=ff.losses.CrossEntropy(), label_encoder=None, negatives=None)


def test_layers_of_a_classifier_must_be_a_slice() -> None:
    with pytest.raises(TypeError, match="^layers must be a slice"):
        ff.classifiers.SumOverLayers(1)  # type: ignore[arg-type]


@pytest.mark.parametrize("loss", [nn.functional.cross_entropy, nn.CrossEntropyLoss()], ids=["function", "module"])
def test_plain_functions_make_a_class_objective_with_torchs_cross_entropy(loss: Any) -> None:
    objective = ff.objectives.ClassObjective(lambda h: h, loss)
    model = ff.FFSequential(nn.Linear(6, 3), nn.Linear(3, 3), objective=objective, input_shape=(6,))
    assert not model.uses_negatives
    assert model.num_classes == 3
    model.step((torch.rand(4, 6), torch.tensor([0, 1, 2, 0])), ff.LocalOptimizer(torch.optim.SGD, lr=0.1))


@pytest.mark.parametrize("loss", [nn.functional.cross_entropy, nn.CrossEntropyLoss()], ids=["function", "module"])
@pytest.mark.parametrize(
    ("goodness", "kind"),
    [(ff.goodness.LearnedProjection(3), "ClassObjective"), (ff.goodness.MeanOfSquares(), "ClassObjective")],
    ids=["per class", "scalar"],
)
def test_a_plain_function_as_loss_is_refused_with_the_objective_to_write(goodness: Any, kind: str, loss: Any) -> None:
    for make in (network, lambda **plugins: ff.FFLinear(6, 3, **plugins)):
        with pytest.raises(TypeError, match=rf"loss must be a PairLoss.*objective=ff.objectives.{kind}\(goodness, "):
            make(goodness=goodness, loss=loss)


@pytest.mark.parametrize(
    ("block", "input_shape", "output_shape"),
    [
        (nn.Linear(6, 4), (6,), (4,)),
        (nn.Conv2d(2, 5, 3), (2, 4, 4), (5, 2, 2)),
        (nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 4), nn.GELU(), nn.Dropout(0.1)), (6,), (4,)),
        (nn.Sequential(nn.Conv2d(2, 5, 3), nn.Flatten()), (2, 4, 4), (20,)),
        (nn.Sequential(nn.Flatten(), nn.Linear(6, 4)), (2, 3), (4,)),
        (nn.ReLU(), (7,), (7,)),
        (nn.Sequential(), (7,), (7,)),
    ],
    ids=str,
)
def test_the_shapes_of_a_blocks_plug_ins_follow_from_the_shape_of_its_input(
    block: nn.Module, input_shape: tuple[int, ...], output_shape: tuple[int, ...]
) -> None:
    layer = ff.FFLayer(
        block,
        goodness=ff.goodness.LearnedProjection(3),
        loss=ff.losses.CrossEntropy(),
        normalization=ff.normalization.BatchNorm(),
        input_shape=input_shape,
    )
    assert isinstance(layer.objective, ff.objectives.ClassObjective)
    assert isinstance(layer.objective.goodness, ff.goodness.LearnedProjection)
    assert layer.objective.goodness.weight is not None
    assert isinstance(layer.normalization, ff.normalization.BatchNorm)
    assert layer.normalization.running_mean is not None
    assert len(layer.normalization.running_mean) == input_shape[0]
    assert layer.objective.goodness.weight.shape == (3, torch.Size(output_shape).numel())
    assert layer(torch.rand(4, *input_shape)).shape == (4, *output_shape)


def test_the_plug_ins_of_plain_blocks_are_shaped_by_the_first_batch() -> None:
    model = ff.FFSequential(
        nn.Sequential(nn.Linear(6, 5), nn.ReLU()),
        nn.Linear(5, 4),
        goodness=ff.goodness.LearnedProjection(3),
        loss=ff.losses.CrossEntropy(),
        normalization=ff.normalization.BatchNorm(affine=True),
    )
    assert model.predict(torch.rand(4, 6)).shape == (4,)


@pytest.mark.parametrize(
    "share",
    [slice(2), ff.recipes.Recipe, torch.zeros(2), lambda: None],
    ids=["slice", "class", "tensor", "function"],
)
def test_a_share_of_another_type_is_refused(share: Any) -> None:
    model = ff.FFSequential(ff.FFLinear(4, 6), goodness=ff.goodness.ClassGroups(3), loss=ff.losses.CrossEntropy())
    batch, optimizer = (torch.rand(3, 4), torch.arange(3)), ff.LocalOptimizer(torch.optim.SGD, lr=0.1)
    with pytest.raises(TypeError, match="^share must be an instance of Share or None, got "):
        model.step(batch, optimizer, share=share)


def test_recipes_do_not_overwrite_features_of_other_data_sets(tmp_path: Path) -> None:
    """An overlay replaces the first features, which may determine the class in data without a black border."""
    for name in ("hinton", "symba", "best-mlp"):
        recipe = ff.recipes.get(name).for_dataset(str(tmp_path / "own.npz"))
        model = recipe.replace(widths=(8,)).model((6,), 3)
        assert isinstance(model.label_encoder, ff.label_encoders.Concatenation)
        assert isinstance(
            ff.recipes.get(name).for_dataset("mnist").replace(widths=(8,)).model((6,), 3).label_encoder,
            ff.label_encoders.Overlay,
        )
