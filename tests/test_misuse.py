"""What users get wrong: refused before the first step, by a message that names the argument."""

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
        "labels": ff.label_encoders.Overlay(3),
    }
    return ff.FFSequential(*(ff.FFLinear(*sizes) for sizes in LAYERS), **{**plugins, **changes})


@pytest.mark.parametrize("negatives", [ff.negatives.HybridMask(), ff.negatives.SelfContrast()], ids=repr)
def test_labels_beside_negatives_that_use_none_are_refused(negatives: Any) -> None:
    with pytest.raises(ValueError, match=r"^labels must be None for .*, which makes samples without labels"):
        network(negatives=negatives)


@pytest.mark.parametrize(
    ("name", "plugin"),
    [
        ("goodness", ff.goodness.MeanOfSquares),
        ("loss", ff.losses.SymBa),
        ("normalization", ff.normalization.RMSNorm),
        ("labels", ff.label_encoders.Overlay),
        ("negatives", ff.negatives.RandomLabel),
        ("head", ff.classifiers.LinearHead),
    ],
)
def test_classes_in_place_of_instances_are_refused(name: str, plugin: type) -> None:
    with pytest.raises(TypeError, match=rf"^{name} must be an instance, such as {plugin.__name__}\(\.\.\.\)"):
        network(**{name: plugin})
    if name in ("goodness", "loss", "normalization"):
        with pytest.raises(TypeError, match=f"^{name} must be an instance"):
            ff.FFLinear(3, 4, **{name: plugin})


def test_layers_in_a_list_are_refused() -> None:
    with pytest.raises(TypeError, match="^layers must be modules, each an argument of its own"):
        ff.FFSequential([ff.FFLinear(3, 4)])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="^layers must be modules"):
        ff.FFSequential(nn.ModuleList([ff.FFLinear(3, 4)]))


def test_a_layer_serves_one_stack() -> None:
    layer = ff.FFLinear(6, 6)
    with pytest.raises(ValueError, match="^layer 1 must be new to the stack"):
        ff.FFSequential(layer, layer, goodness=ff.goodness.MeanOfSquares(), loss=ff.losses.SymBa())


def test_goodness_wants_one_label_an_image() -> None:
    with pytest.raises(ValueError, match=r"^labels must be one per image, \(5,\), got \(3,\)"):
        network().goodness(torch.rand(5, 6), torch.zeros(3, dtype=torch.int64))


def test_images_that_are_no_batch_and_not_finite_are_refused() -> None:
    model = network()
    with pytest.raises(ValueError, match=r"^images must be \(batch, ...\), such as image\[None\]"):
        model.predict(torch.rand(6))
    images = torch.rand(4, 6)
    images[1, 5] = torch.nan
    for ask in (model.predict, model.predict_proba):
        with pytest.raises(ValueError, match="^images must give finite scores, got NaN"):
            ask(images)


def test_a_head_under_random_labels_says_the_same_twice() -> None:
    head = ff.classifiers.LinearHead(3, label="random")
    model = network(head=head, classifier=ff.classifiers.Head())
    nn.init.normal_(head.linear.weight)
    images = torch.rand(30, 6)
    assert torch.equal(model.scores(images), model.scores(images))


def test_a_loss_that_is_not_one_number_is_refused() -> None:
    model = network(loss=lambda positive, negative: negative - positive)
    batch = torch.rand(4, 6), torch.tensor([0, 1, 2, 0])
    with pytest.raises(ValueError, match=r"^loss must be one number per batch, such as a mean, got shape \(4,\)"):
        model.step(batch, ff.LocalOptimizer(torch.optim.SGD, lr=0.1))


def test_layers_of_a_classifier_are_a_slice() -> None:
    with pytest.raises(TypeError, match="^layers must be a slice"):
        ff.classifiers.SumOverLayers(1)  # type: ignore[arg-type]


@pytest.mark.parametrize("loss", [nn.functional.cross_entropy, nn.CrossEntropyLoss()], ids=["function", "module"])
def test_a_plain_function_with_torchs_cross_entropy_is_a_class_objective(loss: Any) -> None:
    model = ff.FFSequential(nn.Linear(6, 3), nn.Linear(3, 3), goodness=lambda h: h, loss=loss, num_classes=3)
    assert not model.paired
    model.step((torch.rand(4, 6), torch.tensor([0, 1, 2, 0])), ff.LocalOptimizer(torch.optim.SGD, lr=0.1))


@pytest.mark.parametrize(
    ("block", "widths"),
    [
        (nn.Linear(6, 4), (6, 4)),
        (nn.Conv2d(2, 5, 3), (2, 5)),
        (nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 4), nn.GELU(), nn.Dropout(0.1)), (6, 4)),
        (nn.Sequential(nn.Conv2d(2, 5, 3), nn.Flatten()), (2, None)),
        (nn.Sequential(nn.Flatten(), nn.Linear(6, 4)), (None, 4)),
        (nn.ReLU(), (None, None)),
        (nn.Sequential(), (None, None)),
    ],
    ids=str,
)
def test_blocks_tell_their_widths(block: nn.Module, widths: tuple[int | None, int | None]) -> None:
    layer = ff.FFLayer(block)
    assert (layer.in_features, layer.features) == widths
    given = ff.FFLayer(block, in_features=70, features=80)
    assert (given.in_features, given.features) == (70, 80)


def test_plain_blocks_serve_plug_ins_that_are_shaped_by_them() -> None:
    model = ff.FFSequential(
        nn.Sequential(nn.Linear(6, 5), nn.ReLU()),
        nn.Linear(5, 4),
        goodness=ff.goodness.LearnedProjection(3),
        loss=ff.losses.CrossEntropy(),
        normalization=ff.normalization.BatchNorm(affine=True),
    )
    assert model.predict(torch.rand(4, 6)).shape == (4,)


def test_features_of_a_users_own_are_not_blanked(tmp_path: Path) -> None:
    """The first feature alone tells the class, where an overlay would put the label."""
    for name in ("hinton", "symba", "best-mlp"):
        recipe = ff.recipes.get(name).for_dataset(str(tmp_path / "own.npz"))
        model = recipe.replace(widths=(8,)).model((6,), 3)
        assert isinstance(model.labels, ff.label_encoders.Concatenation)
        assert isinstance(
            ff.recipes.get(name).for_dataset("mnist").replace(widths=(8,)).model((6,), 3).labels,
            ff.label_encoders.Overlay,
        )
