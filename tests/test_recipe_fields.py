"""Fields of a recipe as text: every field can be set, values are checked, and nothing else of Python is evaluated."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch

import forwardforward as ff
from forwardforward.recipes import RECIPES, get, plugin_names, set_fields
from forwardforward.recipes.expressions import canonical
from forwardforward.recipes.fields import SETTABLE

ORDER = "('normalize', 'transform', 'add', 'activate', 'pool', 'goodness')"

#: A text for every field, and the value that it stands for as the recipe's table shows it.
TEXTS = {
    "architecture": (
        "Dense(init='he_uniform')",
        f"Dense(activation=None, init='he_uniform', order={ORDER}, input_dropout=0.0, dropout=0.0)",
    ),
    "widths": ("30,20", "(30, 20)"),
    "goodness": ("ClassGroups(goodness=MeanActivation())", "ClassGroups(..., goodness=MeanActivation())"),
    "loss": ("SymBa(alpha=2.0)", "SymBa(alpha=2.0)"),
    "normalization": ("RMSNorm(eps=0.5)", "RMSNorm(eps=0.5)"),
    "peer": ("PeerNormalization", "PeerNormalization(strength=0.03, decay=0.9)"),
    "label_encoder": ("Border", "Border"),
    "negatives": ("HardLabel", "HardLabel()"),
    "head": ("LinearHead", "LinearHead"),
    "classifier": ("SumOverLayers(slice(-2, None))", "SumOverLayers(slice(-2, None, None))"),
    "optimizer": ("AdamW", "AdamW"),
    "lr": ("1e-2", "0.01"),
    "optimizer_options": ("{'weight_decay': 0.5}", "{'weight_decay': 0.5}"),
    "overrides": ("{'head': {'lr': 0.5}}", "{'head': {'lr': 0.5}}"),
    "lr_schedule": ("Cosine(warmup=0.1)", "Cosine(floor=0.0, warmup=0.1)"),
    "schedule": ("Overlapping(2, 'step')", "Overlapping(size=2, alternate='step')"),
    "standardize": ("true", "True"),
    "augment": ("Compose(RandomCrop(2), RandomFlip)", "Compose(RandomCrop(padding=2, fill=0.0), RandomFlip(p=0.5))"),
    "epochs": ("7", "7"),
    "batch_size": ("20", "20"),
    "clip_norm": ("0.5", "0.5"),
    "average": ("WeightAverage(decay=0.9)", "WeightAverage(decay=0.9)"),
    "preprocessing": ("PatchWhitening", "PatchWhitening(size=2, eps=0.0005)"),
    "views": ("Mirror(1)", "Mirror(shift=1)"),
}


@pytest.mark.parametrize("field", TEXTS)
def test_a_field_from_text_is_that_of_the_constructor(field: str) -> None:
    text, shown = TEXTS[field]
    assert set_fields(get("symba"), {field: text}).table()[field] == shown


def test_every_field_that_takes_effect_can_be_set() -> None:
    assert set(SETTABLE) - set(TEXTS) == {"objective", "baseline", "representation"}
    per_class = {"loss": "none", "label_encoder": "none", "negatives": "none", "goodness": "none"}
    recipe = set_fields(get("symba"), {**per_class, "objective": "ContrastiveObjective(ClassGroups, weight=0.5)"})
    assert recipe.objective is not None
    assert recipe.objective(10, 0).parts if hasattr(recipe.objective, "parts") else recipe.objective(10, 0)
    recipe = set_fields(get("symba"), {**per_class, "baseline": "Backpropagation"})
    assert recipe.baseline is ff.baselines.Backpropagation
    recipe = set_fields(get("imdb-bag"), {"representation": "NGrams(vocabulary=1000, longest=2, length=64)"})
    assert recipe.representation == ff.data.text.NGrams(vocabulary=1000, longest=2, length=64)


@pytest.mark.parametrize("name", RECIPES)
def test_the_table_of_a_recipe_can_be_read_again(name: str) -> None:
    table = RECIPES[name].table()
    assert set_fields(RECIPES[name], table).table() == table


def test_factories_get_the_number_of_classes_and_options_of_optimizers_are_kept_for_later() -> None:
    changes = {"goodness": "LearnedProjection", "loss": "CrossEntropy", "label_encoder": "none", "negatives": "none"}
    model = set_fields(get("symba"), {**changes, "widths": "6,5"}).model((4,), 3)
    assert model.layer_goodness(torch.rand(2, 4)).shape == (2, 2, 3)
    recipe = set_fields(get("symba"), {"optimizer": "SGD(momentum=0.5)", "widths": "6"})
    assert isinstance(recipe.optimizer, functools.partial)
    model = recipe.model((1, 4, 4), 3)
    recipe.local_optimizer().attach(model)


def test_entries_of_dictionaries_are_set_one_by_one() -> None:
    recipe = set_fields(get("hinton"), {"overrides.head.lr": "0.5", "optimizer_options.momentum": "0.5"})
    assert recipe.overrides == {"head": {"lr": 0.5, "weight_cost": 0.003}}
    assert recipe.optimizer_options == {"weight_cost": 0.002, "momentum": 0.5}
    assert get("hinton").overrides == {"head": {"lr": 0.1, "weight_cost": 0.003}}
    assert set_fields(get("hinton"), {"optimizer_options": "{}"}).optimizer_options == {}


def test_changes_have_priority_over_the_settings_of_a_data_set() -> None:
    recipe = set_fields(get("hinton").for_dataset("digits"), {"widths": "9"})
    assert recipe.widths == (9,)
    assert recipe.for_dataset("mnist").widths == (9,)


@pytest.mark.parametrize(
    ("field", "text", "words"),
    [
        ("lr", "abc", "lr=abc: it must be a value such as 0.001, got 'abc'"),
        ("lr", "-1", "lr must be at least 0, got -1"),
        ("lr", "none", "lr must be a number, got None"),
        ("lr", "nan", "lr=nan: it must be a value such as 0.001"),
        ("epochs", "1.5", "epochs must be a whole number, got 1.5"),
        ("widths", "a", "widths=a: it must be a value such as 500,500, got 'a'"),
        ("widths", "5,0", "widths"),
        ("loss", "SymBaa", "got SymBaa: did you mean 'SymBa'?"),
        ("loss", "SumOfSquares", "it must be one of BinaryCrossEntropy"),
        ("loss", "5", "it must be none or one of BinaryCrossEntropy"),
        ("loss", "SymBa(alhpa=2)", "SymBa takes alpha, got alhpa: did you mean 'alpha'?"),
        ("loss", "SymBa(alpha=-1)", "SymBa: alpha must be positive, got -1"),
        ("loss", "TwoThreshold", "TwoThreshold: missing 2 required positional arguments"),
        ("loss", "SymBa(**{})", "it must name each argument"),
        ("loss", "SymBa(", "a value must be a number, a name or a call"),
        ("loss", "(" * 5000, "a value must have at most 2000 characters, got 5000"),
        ("loss", "Threshold.__class__", "it must be a number, a name or a call of a plug-in"),
        ("loss", "__import__('os').getcwd()", "it must be a number, a name or a call of a plug-in"),
        ("loss", "open('x')", "it must be one of BinaryCrossEntropy"),
        ("loss", "Threshold(theta=open)", "got open"),
        ("loss", "[x for x in ()]", "it must be a number, a name or a call of a plug-in"),
        ("goodness", "lambda x: x", "it must be a number, a name or a call of a plug-in"),
        ("learning_rate", "1", "'learning_rate' is not a field of a recipe"),
        ("lrs_chedule", "1", "did you mean 'lr_schedule'?"),
        ("name", "x", "'name' is not a field of a recipe"),
        ("lr.x", "1", "only optimizer_options and overrides have entries, lr does not"),
        ("optimizer_options.weight_cost.x", "1", "there are no entries below 0.002"),
        ("optimizer_options.lr", "1", "optimizer_options must leave lr to the recipe's fields"),
        ("baseline", "Backpropagation", "must be left out beside baseline=Backpropagation"),
    ],
)
def test_errors_name_the_field(field: str, text: str, words: str) -> None:
    with pytest.raises((ValueError, TypeError)) as error:
        set_fields(get("hinton"), {field: text})
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_equal_values_have_one_form() -> None:
    assert canonical(" SymBa( alpha = 2.50 )") == canonical("SymBa(alpha=2.5)")
    assert canonical("5e-1") == canonical("0.5")


def test_the_plug_ins_of_a_field_are_listed() -> None:
    assert {"SymBa", "Threshold", "CrossEntropy"} <= set(plugin_names("loss"))
    assert plugin_names("lr") == ()
    with pytest.raises(ValueError, match="did you mean 'loss'"):
        plugin_names("losss")
    used: dict[str, set[Any]] = {}
    for recipe in RECIPES.values():
        for field in ("loss", "normalization", "negatives", "lr_schedule", "schedule", "architecture", "augment"):
            if (plugin := getattr(recipe, field)) is not None:
                used.setdefault(field, set()).add(type(plugin).__name__)
    for field, names in used.items():
        assert names <= set(plugin_names(field)), field
