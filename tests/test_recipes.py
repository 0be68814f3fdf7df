"""Recipes: what they hold, and that the models they make are right and their own."""

from __future__ import annotations

import dataclasses

import pytest
import torch

import forwardforward as ff
from forwardforward import recipes
from forwardforward.recipes import RECIPES as EVERY
from forwardforward.recipes import Recipe

RECIPES = {name: recipe for name, recipe in EVERY.items() if recipe.representation is None}  # of images
SHAPE = (1, 8, 8)
PAIRS = ("hinton", "hinton-2000", "symba", "unsupervised", "best-mlp", "backprop-goodness")
TRIFECTA = ("trifecta-s", "trifecta-d", "trifecta-fcn")


GROUPED = {"class-groups": (20, 20), "cwcomp": (20, 20, 20, 20), "deeperforward": (10, 20), "hcl-ff": (10, 20)}


def small(name: str) -> Recipe:
    return RECIPES[name].replace(widths=GROUPED.get(name, (12, 12)))


def data() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(40, *SHAPE), torch.arange(40) % 10


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_trains_and_classifies(name: str) -> None:
    recipe = small(name)
    model = recipe.model(SHAPE, 10)
    history = ff.fit(
        model, data(), epochs=1, batch_size=20, optimizer=recipe.optimizer(), schedule=recipe.schedule, progress=False
    )
    assert len(history) == 1
    assert model.predict(data()[0]).shape == (40,)


@pytest.mark.parametrize("name", RECIPES)
def test_models_of_one_recipe_share_nothing(name: str) -> None:
    recipe = small(name)
    torch.manual_seed(0)
    one = recipe.model(SHAPE, 10)
    torch.manual_seed(0)
    two = recipe.model(SHAPE, 10)
    before = {key: value.clone() for key, value in two.state_dict().items()}
    assert all(torch.equal(value, before[key]) for key, value in one.state_dict().items())
    assert not {id(m) for m in one.modules()} & {id(m) for m in two.modules()}
    ff.fit(one, data(), epochs=1, batch_size=20, optimizer=recipe.optimizer(), progress=False)
    assert all(torch.equal(value, before[key]) for key, value in two.state_dict().items())


def test_hinton_is_the_papers_table() -> None:
    recipe = RECIPES["hinton"]
    assert (recipe.widths, recipe.epochs, recipe.batch_size) == ((1000, 1000, 1000), 60, 100)
    optimizer = recipe.optimizer()
    assert optimizer.factory is ff.optimizers.SmoothedSGD
    assert optimizer.options == {"lr": 0.005, "weight_cost": 0.002}
    assert optimizer.overrides == {"head": {"lr": 0.1, "weight_cost": 0.003}}
    assert optimizer.lr_schedule is not None
    assert [optimizer.lr_schedule(t) for t in (0.0, 0.5, 0.75)] == [1, 1, 0.5]
    model = small("hinton").model(SHAPE, 10)
    assert isinstance(model, ff.FFSequential)
    assert model.head is not None
    for layer in model.stack:
        assert isinstance(layer.normalization, ff.normalization.RMSNorm)
        assert isinstance(layer.peer, ff.normalization.PeerNormalization)
    assert RECIPES["hinton-2000"].widths == (2000,) * 4


def test_the_trifecta_is_the_papers_table() -> None:
    shallow, deep, dense = (RECIPES[name] for name in TRIFECTA)
    assert [len(one.widths) for one in (shallow, deep, dense)] == [6, 12, 6]
    assert [(one.epochs, one.lr, one.batch_size) for one in (shallow, deep)] == [(200, 1e-3, 512), (500, 1e-3, 512)]
    assert shallow.lr_schedule is not None
    assert deep.lr_schedule is not None
    assert [shallow.lr_schedule((epoch + 0.5) / 200) for epoch in (0, 149, 150)] == [1, 1, 0.1]
    assert [deep.lr_schedule((epoch + 0.5) / 500) for epoch in (0, 199, 200, 399, 400)] == [1, 1, 0.5, 0.5, 0.1]
    assert repr(shallow.loss) == "SymBa(alpha=4.0)"
    assert shallow.schedule(4, 0, 0, 1) != shallow.schedule(4, 0, 1, 1)  # it alternates by step
    assert all(one.standardize and one.augment is not None for one in (shallow, deep, dense))


@pytest.mark.parametrize("name", TRIFECTA)
def test_the_trifecta_on_small_images_and_its_label(name: str) -> None:
    recipe = RECIPES[name].for_dataset("digits")
    model = recipe.replace(widths=tuple(4 for _ in recipe.widths)).model(SHAPE, 10)
    assert isinstance(model, ff.FFSequential)
    assert all(isinstance(layer.normalization, ff.normalization.BatchNorm) for layer in model.stack)
    assert all(layer.normalization.weight is not None for layer in model.stack)
    assert repr(model.classifier) == "Goodness(slice(-1, None, None))"
    assert ("labels" in model.parameter_groups()) == (
        name != "trifecta-fcn"
    )  # learned maps; a one-hot code behind the image
    assert model.predict(torch.rand(3, *SHAPE)).shape == (3,)


def test_contracts() -> None:
    assert {name for name in RECIPES if getattr(small(name).model(SHAPE, 10), "paired", False)} == {
        *PAIRS,
        *TRIFECTA,
        "scff",
    }
    assert isinstance(small("backprop").model(SHAPE, 10), ff.baselines.Backpropagation)
    unsupervised = small("unsupervised").replace(widths=(12, 12, 12)).model(SHAPE, 10)
    assert isinstance(unsupervised, ff.FFSequential)
    assert unsupervised.labels is None
    assert unsupervised.head is not None
    assert unsupervised.head.features == 24  # all layers but the first


@pytest.mark.parametrize("classes", [2, 5])
def test_any_number_of_classes(classes: int) -> None:
    for name in RECIPES:
        model = small(name).model((1, 4, 4), classes)
        assert model.scores(torch.rand(3, 1, 4, 4)).shape == (3, classes)


def test_a_label_code_behind_the_image_widens_the_first_layer() -> None:
    model = small("hinton").replace(label_encoder=ff.label_encoders.Concatenation).model(SHAPE, 10)
    assert model.layers[0].block.in_features == 74


def test_too_many_classes_for_the_label_name_the_argument() -> None:
    with pytest.raises(ValueError, match="num_classes"):
        small("hinton").model((1, 2, 2), 10)


def test_with_changes_some_fields_of_a_copy() -> None:
    recipe = RECIPES["hinton"]
    other = recipe.replace(widths=(7,), epochs=3)
    assert (other.widths, other.epochs, other.lr) == ((7,), 3, recipe.lr)
    assert recipe.widths == (1000, 1000, 1000)
    with pytest.raises(ValueError, match="width"):
        recipe.replace(width=3)
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.epochs = 3  # type: ignore[misc]


def test_settings_of_a_data_set() -> None:
    recipe = RECIPES["hinton"].replace(data_settings={"digits": {"epochs": 2}})
    assert recipe.for_dataset("digits").epochs == 2
    assert recipe.for_dataset("mnist").epochs == 60


@pytest.mark.parametrize("name", EVERY)
def test_images_of_ones_own_are_not_augmented(name: str) -> None:
    assert EVERY[name].for_dataset("somewhere/own.npz").augment is None


def test_a_data_set_of_ones_own_may_have_settings_by_its_name() -> None:
    own = {"letters.npz": {"widths": (8, 8), "augment": None}, "*.npz": {"widths": (9, 9)}}
    recipe = RECIPES["mono-conv"].replace(data_settings=own)
    assert recipe.for_dataset("letters.npz").widths == (8, 8)
    assert recipe.for_dataset("digits.npz").widths == (9, 9)
    assert list(recipe.differences()) == ["*.npz", "letters.npz"]


def test_the_programs_own_figures() -> None:
    assert RECIPES["cwcomp"].table()["normalization"].startswith("BatchNorm(momentum=0.1, eps=0.0001, affine=True")
    assert "penalty=(0.0012, 0.0007, 0.0005)" in RECIPES["scff"].table()["loss"]
    scff = RECIPES["scff"].replace(widths=(4, 4, 4)).model((3, 8, 8), 10)
    assert isinstance(scff, ff.FFSequential)
    assert scff[0].run(torch.rand(1, 3, 8, 8)).read.shape[2:] == (8, 8)  # the goodness is read before the pool


def test_hcl_ff_trains_as_long_as_in_the_paper() -> None:
    recipe = RECIPES["hcl-ff"]
    assert [recipe.for_dataset(data).epochs for data in ("cifar10", "cifar100", "mnist")] == [1000, 1000, 150]


def test_what_differs_on_a_data_set_in_words() -> None:
    recipe = RECIPES["mono-conv"]
    differences = recipe.differences()
    assert list(differences) == ["*.npz", "digits", "fashion-mnist", "mnist", "svhn"]
    assert differences["*.npz"] == {"augment": "none"}
    assert differences["mnist"] == {"augment": "RandomCrop(padding=2, fill=0.0)"}
    assert differences["digits"] == {"widths": "(20, 40, 80)", "augment": "none", "batch_size": "50"}
    assert RECIPES["mono"].replace(data_settings={}).differences() == {}


@pytest.mark.parametrize("name", ["deeperforward", "hcl-ff", "mono-conv", "trifecta-s", "trifecta-d"])
def test_what_reads_images_says_so(name: str) -> None:
    with pytest.raises(ValueError, match=r"input_shape must be \(channels, height, width\) for .*, got \(16,\)"):
        RECIPES[name].model((16,), 10)


def test_the_recipes_of_one_network_differ_in_what_the_page_says() -> None:
    networks = {name: RECIPES[name].table() for name in ("mono-conv", "class-groups", "asge", "hff")}
    mono = networks.pop("mono-conv")
    differ = {name: {key for key in mono if table[key] != mono[key]} for name, table in networks.items()}
    assert differ == {"class-groups": {"architecture", "goodness"}, "asge": {"goodness"}, "hff": {"goodness"}}
    ours, theirs = RECIPES["mono-conv"].architecture, RECIPES["class-groups"].architecture
    assert dataclasses.replace(theirs, order=ours.order) == ours  # type: ignore[type-var, union-attr]
    assert theirs.order == RECIPES["cwcomp"].architecture.order  # type: ignore[union-attr]


def test_get() -> None:
    assert recipes.get("mono") is RECIPES["mono"]
    with pytest.raises(ValueError, match=r"recipe must be one of hinton, .*got 'monno'"):
        recipes.get("monno")


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_in_words(name: str) -> None:
    recipe = RECIPES[name]
    assert recipe.name == name
    assert recipe.summary
    assert recipe.source
    table = recipe.table()
    assert table["epochs"] == str(recipe.epochs)
    assert not any(" at 0x" in value for value in table.values())  # the same in every process


def test_a_recipe_names_its_parts_without_the_places_they_are_written_in() -> None:
    for recipe in EVERY.values():
        assert not any("forwardforward." in words or "functools" in words for words in recipe.table().values())


def test_a_recipe_tells_a_zero_and_no_addresses() -> None:
    def mine() -> None:
        """Stands for a plug-in of a user's."""

    table = EVERY["hinton"].replace(lr=0.0, options={"hook": mine}).table()
    assert table["lr"] == "0.0"
    assert "mine" in table["options"]
    assert "0x" not in table["options"]
