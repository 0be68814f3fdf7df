"""Recipes: their values, the models they make, changes by the user, and fields without effect."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch

import forwardforward as ff
from forwardforward import recipes
from forwardforward.recipes import RECIPES as ALL
from forwardforward.recipes import ContrastiveObjective, Recipe
from forwardforward.recipes.facts import Facts
from forwardforward.recipes.hierarchies import levels
from forwardforward.recipes.recipe import derive

#: On images, whose targets are classes.
RECIPES = {name: r for name, r in ALL.items() if r.representation is None and r.target_kind.has_one_class}
SHAPE = (1, 8, 8)
PAIRS = ("hinton", "hinton-2000", "gandhi", "symba", "unsupervised", "best-mlp", "selective", "backprop-goodness")
TRIFECTA = ("trifecta-s", "trifecta-d", "trifecta-fcn")
BASELINES = [name for name, recipe in ALL.items() if recipe.baseline is not None]
GROUPED = {"class-groups": (20, 20), "cwcomp": (20, 20, 20, 20), "deeperforward": (10, 20), "hcl-ff": (10, 20)}


def small(name: str) -> Recipe:
    return RECIPES[name].replace(widths=GROUPED.get(name, (12, 12)))


def data() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(40, *SHAPE), torch.arange(40) % 10


# Models


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_trains_and_classifies(name: str) -> None:
    recipe = small(name)
    model = recipe.model(SHAPE, 10)
    history = recipe.fit(model, data(), epochs=1, batch_size=20, augment=None, progress=False)
    assert len(history) == 1
    assert model.predict(data()[0]).shape == (40,)
    assert len(ff.diagnostics.probe(model, data(), data(), epochs=1)) == len(model)


@pytest.mark.parametrize("name", RECIPES)
def test_models_of_one_recipe_share_nothing(name: str) -> None:
    recipe = small(name)
    torch.manual_seed(0)
    first = recipe.model(SHAPE, 10)
    torch.manual_seed(0)
    second = recipe.model(SHAPE, 10)
    before = {key: value.clone() for key, value in second.state_dict().items()}
    state = first.state_dict()
    assert state.keys() == before.keys()
    assert all(torch.equal(value, before[key]) for key, value in state.items())
    assert not {id(module) for module in first.modules()} & {id(module) for module in second.modules()}
    recipe.fit(first, data(), epochs=1, batch_size=20, augment=None, progress=False)
    assert all(torch.equal(value, before[key]) for key, value in second.state_dict().items())


@pytest.mark.parametrize("classes", [2, 5])
def test_any_number_of_classes(classes: int) -> None:
    for name in RECIPES:
        model = small(name).model((1, 4, 4), classes)
        model.preprocessing.fit(torch.rand(3, 1, 4, 4))
        assert model.scores(torch.rand(3, 1, 4, 4)).shape == (3, classes)


@pytest.mark.parametrize("name", ["mono", "backprop", "hinton"])
def test_a_model_is_set_up_with_the_recipes_preprocessing(name: str) -> None:
    model = small(name).model(SHAPE, 10)
    assert model.is_set_up
    assert not model.preprocessing.standardize
    assert small(name).replace(standardize=True).model(SHAPE, 10).preprocessing.standardize


@pytest.mark.parametrize("name", ["mono", "backprop", "hinton"])
def test_the_input_shape_of_a_model_is_that_of_a_raw_input(name: str) -> None:
    assert small(name).model(SHAPE, 10).input_shape == SHAPE


@pytest.mark.parametrize(
    ("encoder", "features"), [(ff.label_encoders.Overlay, 64), (ff.label_encoders.Concatenation, 74)]
)
def test_the_first_layer_fits_the_labeled_image(encoder: Callable[[int], Any], features: int) -> None:
    recipe = small("hinton").replace(label_encoder=encoder)
    assert recipe.layers(SHAPE, 10)[0].block.in_features == features
    assert recipe.model(SHAPE, 10).layers[0].block.in_features == features


def test_layers_of_convolutions_include_the_label_channel() -> None:
    assert small("trifecta-s").layers((3, 8, 8), 10)[0].block.in_channels == 4
    assert small("mono-conv").layers((3, 8, 8), 10)[0].block.in_channels == 3


@pytest.mark.parametrize("name", [name for name, recipe in ALL.items() if recipe.representation is not None])
def test_recipes_for_texts(name: str) -> None:
    recipe = ALL[name]
    recipe = recipe.replace(widths=(6,) * len(recipe.widths))
    indices = recipe.representation is not None and recipe.representation.num_embeddings is not None
    texts = torch.randint(1, 100, (12, 16), dtype=torch.int32) if indices else torch.randn(12, 16)
    model = recipe.model((16,), 2)
    recipe.fit(model, (texts, torch.arange(12) % 2), epochs=1, batch_size=6, progress=False)
    assert model.scores(texts).shape == (12, 2)


def test_too_many_classes_for_the_label_name_the_argument() -> None:
    with pytest.raises(ValueError, match="num_classes"):
        small("hinton").model((1, 2, 2), 10)


@pytest.mark.parametrize("name", ["deeperforward", "hcl-ff", "mono-conv", "trifecta-s", "trifecta-d"])
def test_recipes_for_images_refuse_other_inputs(name: str) -> None:
    with pytest.raises(ValueError, match=r"input_shape must be \(channels, height, width\) for .*, got \(16,\)"):
        RECIPES[name].model((16,), 10)


def test_an_input_beyond_memory_is_refused_before_its_label_is_joined() -> None:
    with pytest.raises(ValueError, match="^input_shape must lead to tensors that fit into"):
        recipes.get("symba").model((10**12, 10**12), 3)


def test_kinds_of_models() -> None:
    models = {name: small(name).model(SHAPE, 10) for name in RECIPES}
    uses_negatives = {
        name
        for name, model in models.items()
        if isinstance(model, ff.FFSequential) and model.layers[0].objective.uses_negatives
    }
    assert uses_negatives == {*PAIRS, *TRIFECTA, "scff"}
    assert isinstance(models["backprop"], ff.baselines.Backpropagation)
    unsupervised = RECIPES["unsupervised"].replace(widths=(12, 12, 12)).model(SHAPE, 10)
    assert isinstance(unsupervised, ff.FFSequential)
    assert unsupervised.label_encoder is None
    assert unsupervised.head is not None


# Values


def test_hinton_is_the_papers_table() -> None:
    recipe = RECIPES["hinton"]
    assert (recipe.widths, recipe.epochs, recipe.batch_size) == ((1000, 1000, 1000), 60, 100)
    optimizer = recipe.local_optimizer()
    assert optimizer.options == {"lr": 0.005, "weight_cost": 0.002}
    assert optimizer.overrides == {"head": {"lr": 0.1, "weight_cost": 0.003}}
    assert recipe.optimizer is ff.optimizers.SmoothedSGD
    assert recipe.lr_schedule is not None
    assert [recipe.lr_schedule(progress) for progress in (0.0, 0.5, 0.75)] == [1, 1, 0.5]
    model = small("hinton").model(SHAPE, 10)
    assert isinstance(model, ff.FFSequential)
    assert model.head is not None
    for layer in model.layers:
        assert isinstance(layer.normalization, ff.normalization.RMSNorm)
        assert isinstance(layer.peer, ff.normalization.PeerNormalization)
    assert RECIPES["hinton-2000"].widths == (2000,) * 4


def test_optimizer_options_of_one_parameter_group() -> None:
    recipe = small("hinton").replace(overrides={"head": {"lr": 0.3}, "0": {"lr": 0.2}}, lr_schedule=None)
    rates = recipe.local_optimizer().attach(recipe.model(SHAPE, 10)).learning_rates()
    assert rates == {"0": 0.2, "1": 0.005, "head": 0.3}


def test_the_trifecta_is_the_papers_table() -> None:
    shallow, deep, dense = (RECIPES[name] for name in TRIFECTA)
    assert [len(recipe.widths) for recipe in (shallow, deep, dense)] == [6, 12, 6]
    assert [(recipe.epochs, recipe.lr, recipe.batch_size) for recipe in (shallow, deep)] == [
        (200, 1e-3, 512),
        (500, 1e-3, 512),
    ]
    assert shallow.lr_schedule is not None
    assert deep.lr_schedule is not None
    assert [shallow.lr_schedule((epoch + 0.5) / 200) for epoch in (0, 149, 150)] == [1, 1, 0.1]
    assert [deep.lr_schedule((epoch + 0.5) / 500) for epoch in (0, 199, 200, 399, 400)] == [1, 1, 0.5, 0.5, 0.1]
    assert repr(shallow.loss) == "SymBa(alpha=4.0)"
    assert shallow.schedule(4, 0, 0, 1) != shallow.schedule(4, 0, 1, 1)  # groups alternate by step
    assert all(recipe.standardize and recipe.augment is not None for recipe in (shallow, deep, dense))


@pytest.mark.parametrize("name", TRIFECTA)
def test_the_trifecta_on_small_images_and_its_label(name: str) -> None:
    recipe = RECIPES[name].for_dataset("digits")
    model = recipe.replace(widths=tuple(4 for _ in recipe.widths)).model(SHAPE, 10)
    assert isinstance(model, ff.FFSequential)
    assert all(isinstance(layer.normalization, ff.normalization.BatchNorm) for layer in model.layers)
    assert all(layer.normalization.weight is not None for layer in model.layers)
    assert isinstance(model.classifier, ff.classifiers.SumOverLayers)
    assert repr(model.classifier) == "SumOverLayers(slice(-1, None, None))"
    # Label channels are learned, the one-hot code appended to an image is not.
    assert ("label_encoder" in model.parameter_groups()) == (name != "trifecta-fcn")
    model.preprocessing.fit(torch.rand(3, *SHAPE))
    assert model.predict(torch.rand(3, *SHAPE)).shape == (3,)


def test_values_of_the_authors_programs() -> None:
    assert RECIPES["cwcomp"].table()["normalization"].startswith("BatchNorm(momentum=0.1, eps=0.0001, affine=True")
    assert "penalty=(0.0012, 0.0007, 0.0005)" in RECIPES["scff"].table()["loss"]
    scff = RECIPES["scff"].replace(widths=(4, 4, 4)).model((3, 8, 8), 10)
    assert isinstance(scff, ff.FFSequential)
    assert scff.layers[0].outputs(torch.rand(1, 3, 8, 8)).goodness_input.shape[2:] == (8, 8)  # before the pool


def test_hcl_ff_trains_as_its_program() -> None:
    recipes = {name: RECIPES["hcl-ff"].for_dataset(name) for name in ("cifar10", "cifar100", "fashion-mnist", "mnist")}
    assert [recipe.epochs for recipe in recipes.values()] == [1000, 1000, 150, 50]
    assert [recipe.batch_size for recipe in recipes.values()] == [128, 512, 128, 128]
    for recipe, last in zip(recipes.values(), (0.0002, 0.0002, 0.008, 0.06), strict=True):
        assert recipe.lr_schedule is not None
        assert recipe.lr * recipe.lr_schedule(1.0) == pytest.approx(last)
    cifar = recipes["cifar10"].replace(widths=(10, 20, 40, 80), head=recipes["cifar10"].head)
    layers = cifar.layers((3, 32, 32), 10)
    shape: tuple[int, ...] = (1, 3, 32, 32)
    model = cifar.model(shape[1:], 10)
    model.preprocessing.fit(torch.rand(4, *shape[1:]))
    sizes = [output.shape[-1] for output in model.activations(torch.rand(shape)).values()]
    assert sizes == [32] * 5 + [16] * 4 + [8] * 8  # the last width keeps the size
    pools = [layer.objective.objectives[1].embedding.pool[1].size for layer in layers]
    assert pools == [4] * 5 + [2] * 8 + [1] * 4
    assert isinstance(model.classifier, ff.classifiers.WithHead)
    assert isinstance(model.head, ff.heads.LinearHead)
    assert "normalize=False" in repr(model.head)


@pytest.mark.parametrize("data", ["cifar10", "cifar100", "fashion-mnist", "mnist"])
def test_hcl_ff_has_the_optimizers_of_its_program(data: str) -> None:
    """AdamW for each layer, each contrastive head with twice the rate, and the linear head; each clipped at 1."""
    recipe = RECIPES["hcl-ff"].for_dataset(data)
    classes = 100 if data == "cifar100" else 10
    widths = (100, 200) if classes == 100 else (10, 20)
    shape = (3, 8, 8) if data.startswith("cifar") else (1, 8, 8)
    model = recipe.replace(widths=widths).model(shape, classes)
    local = recipe.local_optimizer().attach(model)
    rates = local.learning_rates()
    assert rates == {name: 0.08 if name.endswith("objective") else 0.04 for name in rates}
    assert {f"{index}{suffix}" for index in range(9) for suffix in ("", ".objective")} | {"head"} == set(rates)
    assert {local.clip_norm_of(name) for name in rates} == {1.0}
    for name in model.parameter_groups():
        for optimizer in local.optimizers(name):
            assert type(optimizer) is torch.optim.AdamW
            assert {group["weight_decay"] for group in optimizer.param_groups} == {1e-4}
    doubled = [p for group in local.optimizers("0")[0].param_groups if group["lr"] == 0.08 for p in group["params"]]
    assert set(map(id, doubled)) == set(map(id, model.layers[0].objective.objectives[1].embedding.parameters()))
    local.set_progress(1.0)
    last = {"mnist": 0.06, "fashion-mnist": 0.008}.get(data, 0.0002)
    assert local.learning_rates() == pytest.approx({name: last * rate / 0.04 for name, rate in rates.items()})


@pytest.mark.parametrize(("data", "shares"), [("cifar10", 0.05), ("fashion-mnist", 1 / 3), ("mnist", 1.0)])
def test_the_temperature_of_hcl_ff_falls_to_a_fifth_in_50_epochs(data: str, shares: float) -> None:
    recipe = RECIPES["hcl-ff"].for_dataset(data)
    assert isinstance(recipe.objective, ff.recipes.ContrastiveObjective)
    assert recipe.objective.schedule is not None
    temperatures = [0.2 * recipe.objective.schedule(progress) for progress in (0.0, shares / 2, shares)]
    assert temperatures == pytest.approx([0.8, 0.5, 0.2])
    assert recipe.epochs * shares == pytest.approx(50)


def test_recipes_with_one_network_differ_as_documented() -> None:
    tables = {name: RECIPES[name].table() for name in ("mono-conv", "class-groups", "asge", "hff")}
    mono = tables.pop("mono-conv")
    differences = {name: {key for key in mono if table[key] != mono[key]} for name, table in tables.items()}
    assert differences == {"class-groups": {"architecture", "goodness"}, "asge": {"goodness"}, "hff": {"goodness"}}
    mono_network, group_network = RECIPES["mono-conv"].architecture, RECIPES["class-groups"].architecture
    assert dataclasses.replace(group_network, order=mono_network.order) == mono_network  # type: ignore[type-var, union-attr]
    assert group_network.order == RECIPES["cwcomp"].architecture.order  # type: ignore[union-attr]


# Objectives


@pytest.mark.parametrize("name", ["hcl-ff", "mono-conv-wide"])
def test_every_layer_has_a_contrastive_loss_beside_its_goodness(name: str) -> None:
    model = small(name).model(SHAPE, 10)
    for layer in model.layers:
        classes, contrast = layer.objective.objectives
        assert isinstance(classes, ff.objectives.ClassObjective)
        assert isinstance(contrast.loss, ff.losses.SupervisedContrastive)
        assert contrast.loss.temperature == 0.2


def test_superclasses_of_hcl_ff_on_cifar10() -> None:
    recipe = RECIPES["hcl-ff"].for_dataset("cifar10").replace(widths=(10, 20, 40, 80))
    layers = recipe.layers((3, 32, 32), 10)
    losses = [type(layer.objective.objectives[0].loss).__name__ for layer in layers]
    assert losses == ["SuperclassCrossEntropy"] * 13 + ["CrossEntropy"] * 4
    assert [len(layers[i].objective.objectives[0].loss.members.T) for i in (0, 5, 9)] == [2, 4, 7]
    assert recipe.objective.superclasses[0] == (1, 0, 1, 0, 1, 1, 1, 0, 1, 1)  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="superclasses must contain one per class, 5, got 10 for layer 0"):
        recipe.layers((3, 32, 32), 5)


@pytest.mark.parametrize(
    ("data", "sizes"),
    [
        ("cifar10", [2] * 5 + [4] * 4 + [7] * 4),
        ("cifar100", [2, 4, 8, 16, 30, 52, 74, 89, 96]),
        ("mnist", [2] * 3 + [3] * 3 + [5] * 3 + [8] * 3 + [9] * 3),
        ("fashion-mnist", [2] * 4 + [4] * 3 + [8] * 4 + [9] * 3),
    ],
)
def test_the_superclasses_of_hcl_ff_are_those_of_its_trees(data: str, sizes: list[int]) -> None:
    """Each level divides the one before, and as many layers learn it as in the program."""
    superclasses = RECIPES["hcl-ff"].for_dataset(data).objective.superclasses  # type: ignore[union-attr]
    assert [len(set(level)) for level in superclasses] == sizes
    for before, level in itertools.pairwise(superclasses):
        assert len(set(zip(before, level, strict=True))) == len(set(level))


def test_levels_of_a_tree_keep_leaves_that_end_early_apart() -> None:
    assert levels((3, ((0, 2), 1))) == ((1, 1, 1, 0), (1, 2, 1, 0))


def test_deeperforward_drops_activations_before_its_goodness() -> None:
    torch.manual_seed(0)
    layer = RECIPES["deeperforward"].replace(widths=(20,)).layers((3, 8, 8), 10)[1].train()
    values = layer.outputs(torch.rand(50, 20, 8, 8))
    positive = layer.block(torch.rand(50, 20, 8, 8)) > 0
    share = float((values.goodness_input > 0).double().mean()) / float(positive.double().mean())
    assert share == pytest.approx(0.8, abs=0.02)
    layer.eval()
    x = torch.rand(5, 20, 8, 8)
    torch.testing.assert_close(layer.outputs(x).goodness_input, layer.block(x).relu())


@pytest.mark.parametrize(
    ("data", "ends"), [("cifar10", (11, 16, 20, 20)), ("mnist", (2, 3, 4, 5)), ("fashion-mnist", (10, 15, 19, 20))]
)
def test_cwcomp_updates_layers_in_the_windows_of_its_program(data: str, ends: tuple[int, ...]) -> None:
    recipe = RECIPES["cwcomp"].for_dataset(data)
    epochs: list[list[int]] = [[] for _ in range(4)]
    for epoch in range(recipe.epochs):
        for group in recipe.schedule(4, epoch, 0, recipe.epochs):
            for layer in group:
                epochs[layer].append(epoch)
    assert epochs == [list(range(end)) for end in ends]


def test_an_objective_by_number_of_classes_and_layer() -> None:
    calls = []

    def objective(num_classes: int, layer: int) -> ff.objectives.Objective:
        calls.append((num_classes, layer))
        return ff.objectives.ClassObjective(ff.goodness.ClassGroups(num_classes), ff.losses.CrossEntropy())

    recipe = Recipe("mine", "", "", widths=(20, 10), objective=objective)
    model = recipe.model(SHAPE, 5)
    assert calls == [(5, 0), (5, 1)]
    assert model.scores(torch.rand(3, *SHAPE)).shape == (3, 5)


# The user's changes


def test_replace_changes_fields_of_a_copy() -> None:
    recipe = RECIPES["hinton"]
    other = recipe.replace(widths=[7], epochs=3)
    assert (other.widths, other.epochs, other.lr) == ((7,), 3, recipe.lr)
    assert recipe.widths == (1000, 1000, 1000)
    with pytest.raises(ValueError, match=r"changes must be fields of a recipe \(name, .*\), got width"):
        recipe.replace(width=3)
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.epochs = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    "change",
    [
        lambda recipe: recipe.replace(widths=(50, 50), epochs=3).for_dataset("digits"),
        lambda recipe: recipe.for_dataset("digits").replace(widths=(50, 50), epochs=3),
        lambda recipe: recipe.replace(widths=(50, 50)).for_dataset("digits").replace(epochs=3),
        lambda recipe: recipe.replace(widths=(50, 50)).replace(epochs=3).for_dataset("mnist").for_dataset("digits"),
    ],
)
def test_the_users_changes_win_over_a_data_set_whatever_the_order(change: Callable[[Recipe], Recipe]) -> None:
    recipe = change(RECIPES["hinton"])
    assert (recipe.widths, recipe.epochs) == ((50, 50), 3)
    assert recipe.batch_size == 20  # the data set's, since the user did not change it
    assert recipe.label_encoder is ff.label_encoders.Concatenation


def test_a_change_to_the_recipes_own_value_wins_too() -> None:
    recipe = RECIPES["hinton"]
    assert recipe.replace(epochs=recipe.epochs).for_dataset("digits").epochs == recipe.epochs
    own = RECIPES["trifecta-s"]
    assert own.replace(augment=own.augment).for_dataset("own.npz").augment is own.augment


def test_a_second_data_set_starts_from_the_base_recipe() -> None:
    recipe = RECIPES["mono-conv"]
    assert recipe.for_dataset("digits").for_dataset("mnist") == recipe.for_dataset("mnist")
    assert recipe.for_dataset("digits").for_dataset("cifar10") == recipe
    changed = recipe.for_dataset("digits").replace(epochs=3).for_dataset("mnist")
    assert changed == recipe.for_dataset("mnist").replace(epochs=3)
    assert changed.widths == recipe.widths


def test_a_recipe_derived_from_another_has_no_changes_by_a_user() -> None:
    assert derive(RECIPES["hinton"], epochs=7).for_dataset("digits").epochs == 30
    assert RECIPES["trifecta-d"].for_dataset("digits").epochs == 30
    assert derive(RECIPES["hinton"].for_dataset("digits"), name="small").for_dataset("mnist").epochs == 30


# Data sets


def test_settings_of_a_data_set() -> None:
    recipe = RECIPES["hinton"].replace(data_settings={"digits": {"epochs": 2}})
    assert recipe.for_dataset("digits").epochs == 2
    assert recipe.for_dataset("mnist").epochs == 60
    with pytest.raises(ValueError, match=r"data_settings\['digits'\] must be fields of a recipe .*, got epoch"):
        RECIPES["hinton"].replace(data_settings={"digits": {"epoch": 2}})


@pytest.mark.parametrize("name", ALL)
def test_every_recipe_suits_its_data_sets(name: str) -> None:
    recipe = ALL[name]
    for settings in [*recipe.data_settings, "own.npz"]:
        assert recipe.for_dataset(settings).name == name


@pytest.mark.parametrize("name", ALL)
def test_a_users_own_images_are_not_augmented(name: str) -> None:
    assert ALL[name].for_dataset("somewhere/own.npz").augment is None


def test_a_users_own_data_set_may_have_settings_by_its_name() -> None:
    settings = {"letters.npz": {"widths": (8, 8), "augment": None}, "*.npz": {"widths": (9, 9)}}
    recipe = RECIPES["mono-conv"].replace(data_settings=settings)
    assert recipe.for_dataset("letters.npz").widths == (8, 8)
    assert recipe.for_dataset("digits.npz").widths == (9, 9)
    assert list(recipe.differences()) == ["*.npz", "letters.npz"]


def test_differences_on_a_data_set_as_text() -> None:
    recipe = RECIPES["mono-conv"]
    differences = recipe.differences()
    assert list(differences) == ["*.npz", "digits", "fashion-mnist", "mnist", "svhn"]
    assert differences["*.npz"] == {"augment": "none"}
    assert differences["mnist"] == {"augment": "RandomCrop(padding=2, fill=0.0)"}
    assert differences["digits"] == {"widths": "(20, 40, 80)", "augment": "none", "batch_size": "50"}
    assert recipe.replace(widths=(8, 8)).differences()["digits"] == {"augment": "none", "batch_size": "50"}
    assert RECIPES["mono"].replace(data_settings={}).differences() == {}


def test_splits_are_raw_and_the_model_standardizes() -> None:
    recipe = RECIPES["mono"].replace(standardize=True)
    images = recipe.splits("digits").train.inputs.float()
    assert images.min() == 0  # as in the file, of which standardized images would have negative pixels


# Fields without effect

UNUSED: dict[str, Any] = {
    "goodness": ff.goodness.SumOfSquares(),
    "loss": ff.losses.SymBa(),
    "objective": ContrastiveObjective(ff.goodness.ClassGroups),
    "peer": ff.normalization.PeerNormalization(),
    "label_encoder": ff.label_encoders.Overlay,
    "negatives": ff.negatives.RandomLabel(),
    "head": ff.heads.LinearHead,
    "classifier": ff.classifiers.SumOverLayers(),
    "overrides": {"head": {"lr": 0.1}},
    "schedule": ff.update_schedules.Greedy(),
}


@pytest.mark.parametrize("name", UNUSED)
def test_a_baseline_refuses_what_it_does_not_use(name: str) -> None:
    message = rf"^{name} must be left out beside baseline=Backpropagation, which does not use .*, got {name}="
    with pytest.raises(ValueError, match=message):
        RECIPES["backprop"].replace(**{name: UNUSED[name]})
    with pytest.raises(ValueError, match=message):
        Recipe("mine", "", "", baseline=ff.baselines.Backpropagation, **{name: UNUSED[name]})


def test_one_error_names_every_unused_field() -> None:
    with pytest.raises(ValueError, match="^goodness, loss, classifier must be left out beside baseline=Pepita"):
        RECIPES["mono-conv"].replace(baseline=ff.baselines.Pepita)
    recipe = RECIPES["mono-conv"].replace(
        baseline=ff.baselines.Backpropagation, goodness=None, loss=None, classifier=None
    )
    assert isinstance(recipe.for_dataset("digits").model(SHAPE, 10), ff.baselines.Backpropagation)


def test_a_change_to_a_baseline_wins_over_a_data_sets_label_encoder() -> None:
    unused = dict.fromkeys(("goodness", "loss", "peer", "label_encoder", "negatives"))
    recipe = RECIPES["hinton"].replace(baseline=ff.baselines.Backpropagation, overrides={}, **unused)
    assert recipe.for_dataset("digits").label_encoder is None


def test_a_baseline_uses_the_normalization() -> None:
    recipe = small("backprop").replace(normalization=ff.normalization.RMSNorm())
    model = recipe.model(SHAPE, 10)
    assert all(isinstance(layer.normalization, ff.normalization.RMSNorm) for layer in model.layers)
    assert model.layers[0].normalization is not model.layers[1].normalization


@pytest.mark.parametrize("name", ["goodness", "loss"])
def test_an_objective_refuses_goodness_and_loss_beside_it(name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be left out beside objective, .*, got {name}="):
        RECIPES["hcl-ff"].replace(**{name: UNUSED[name]})


def test_an_architecture_with_normalizations_refuses_another_beside_it() -> None:
    recipe = small("deeperforward").replace(normalization=ff.normalization.BatchNorm())
    with pytest.raises(ValueError, match="^normalization must be left out beside the architecture DeeperForward"):
        recipe.model(SHAPE, 10)


@pytest.mark.parametrize("name", ["label_encoder", "negatives"])
def test_a_class_objective_refuses_what_it_does_not_use(name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be None for class and batch objectives"):
        small("mono").replace(**{name: UNUSED[name]}).model(SHAPE, 10)


def test_an_architecture_with_objectives_refuses_others_beside_it() -> None:
    def architecture(input_shape: Any, widths: Any, num_classes: int) -> list[ff.FFLayer]:
        goodness, loss = ff.goodness.ClassGroups(num_classes), ff.losses.CrossEntropy()
        return [ff.FFLinear(64, 10, objective=ff.objectives.ClassObjective(goodness, loss))]

    recipe = Recipe("mine", "", "", architecture=architecture)
    assert recipe.model((64,), 10).scores(torch.rand(2, 64)).shape == (2, 10)
    with pytest.raises(ValueError, match="^loss must be left out beside the architecture"):
        recipe.replace(loss=ff.losses.CrossEntropy()).model((64,), 10)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"widths": ()}, "widths must contain at least one layer"),
        ({"widths": (3, 0)}, r"widths\[1\] must be at least 1, got 0"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"optimizer_options": {"lr": 0.1}}, "optimizer_options must leave lr to the recipe's field"),
    ],
)
def test_numbers_out_of_range_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RECIPES["mono"].replace(**changes)


# Text


def test_get() -> None:
    assert recipes.get("mono") is RECIPES["mono"]
    with pytest.raises(ValueError, match=r"recipe must be the name of a recipe, got 'hintn': did you mean 'hinton'\?"):
        recipes.get("hintn")
    with pytest.raises(ValueError, match="did you mean 'mono-conv'"):
        recipes.get("Mono-Conv")
    with pytest.raises(ValueError, match=r"recipe must be one of hinton, .*got 'xyz'"):
        recipes.get("xyz")


@pytest.mark.parametrize("name", ALL)
def test_recipes_as_text(name: str) -> None:
    recipe = ALL[name]
    assert recipe.name == name
    assert recipe.summary
    assert recipe.source
    table = recipe.table()
    assert table["epochs"] == str(recipe.epochs)
    assert not any(" at 0x" in text for text in table.values())  # the same in every process
    assert not any("forwardforward." in text or "functools" in text for text in table.values())
    assert not any(name.startswith("_") for name in table)


@pytest.mark.parametrize("name", BASELINES)
def test_the_table_of_a_baseline_shows_only_what_it_uses(name: str) -> None:
    assert not set(ALL[name].table()) & set(UNUSED)
    assert "schedule" in ALL["mono"].table()


def test_a_table_shows_a_zero_and_no_addresses() -> None:
    def hook() -> None:
        """Stands for a user's function."""

    table = ALL["hinton"].replace(lr=0.0, optimizer_options={"hook": hook}).table()
    assert table["lr"] == "0.0"
    assert "hook" in table["optimizer_options"]
    assert "0x" not in table["optimizer_options"]


# Facts of a comparison


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("hinton", ("1", 2, "", "")),
        ("mono-conv-wide", ("2", 1, "RandomCrop, RandomFlip", "")),
        ("whitened", ("1", 1, "RandomCrop, RandomFlip", "Mirror(shift=1)")),
        ("whitened-deep-supervision", ("all", 1, "RandomCrop, RandomFlip", "Mirror(shift=1)")),
        ("backprop", ("all", 1, "", "")),
        ("dfa", ("1", 1, "", "")),
        ("pepita", ("1", 2, "", "")),
        ("hcl-ff", ("1", 1, "RandomResizedCrop, RandomHorizontalFlip, ColorJitter, RandomGrayscale", "")),
    ],
)
def test_facts_of_a_recipe(name: str, expected: tuple[str, int, str, str]) -> None:
    facts = Facts.of(RECIPES[name])
    assert (facts.gradient_crosses, facts.passes, facts.augmentation, facts.views) == expected


# Similarity matching beside prediction


def test_predsim_is_the_network_of_its_program() -> None:
    layers = RECIPES["predsim"].layers((3, 32, 32), 10)
    assert [layer.block.out_channels for layer in layers[:-1]] == [128, 256, 256, 512, 512, 512]
    assert layers[-1].block[1].in_features == 2048  # 512 maps of 2 x 2
    assert [layer.pool.p if index == 6 else len(layer.pool) - 1 for index, layer in enumerate(layers)] == [
        0, 1, 0, 1, 1, 1, 0.2,
    ]  # fmt: skip
    for layer in layers:
        prediction, matching = layer.objective.objectives
        assert prediction.objective.weight == pytest.approx(0.01)
        assert matching.weight == pytest.approx(0.99)
    factors = [RECIPES["predsim"].lr_schedule(progress) for progress in (0.4, 0.6, 0.8, 0.9, 0.95)]  # type: ignore[misc]
    assert factors == [0.25**n for n in range(5)]


def test_the_objective_of_predsim_reads_maps_without_dropout() -> None:
    torch.manual_seed(0)
    recipe = RECIPES["predsim"].replace(widths=(8, 6))
    layer = recipe.model((1, 4, 4), 3)[0]  # type: ignore[index]
    values = layer.outputs(torch.rand(6, 1, 4, 4))
    assert not bool((values.goodness_input.flatten(2) == 0).all(2).any())
    assert bool((values.output.flatten(2) == 0).all(2).any())  # whole channels are dropped in the output


def test_a_preprocessing_and_standardize_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="standardize must be left out beside preprocessing"):
        RECIPES["whitened"].replace(standardize=True)
