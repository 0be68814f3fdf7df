"""Recipes: complete training runs that read like a paper's table of hyperparameters.

A recipe consists of plug-ins and numbers, and makes a new model and new optimizers at each call:

    >>> recipe = get("hinton").for_dataset("digits").replace(widths=(100, 100), epochs=5)
    >>> data = recipe.splits("digits")
    >>> model = recipe.model(data.input_shape, data.num_classes)
    >>> history = recipe.fit(model, data.train, validation=data.validation, progress=False)

:func:`set_fields` reads other values of its fields from text, as the command line does.
"""

from __future__ import annotations

import itertools

from forwardforward._utils.arguments import checked
from forwardforward._utils.suggestions import did_you_mean
from forwardforward.recipes import (
    baselines,
    contrastive,
    gandhi,
    pairs,
    per_class,
    predsim,
    targets,
    text,
    trifecta,
    whitened,
)
from forwardforward.recipes.contrastive import ContrastiveObjective
from forwardforward.recipes.fields import plugin_names, set_fields
from forwardforward.recipes.predsim import PredSim
from forwardforward.recipes.recipe import Recipe
from forwardforward.recipes.targets import LabelPredSim
from forwardforward.recipes.whitened import PooledContrast

__all__ = [
    "RECIPES",
    "ContrastiveObjective",
    "LabelPredSim",
    "PooledContrast",
    "PredSim",
    "Recipe",
    "get",
    "plugin_names",
    "set_fields",
]

#: The recipes by name.
RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in itertools.chain.from_iterable(
        module.RECIPES
        for module in (pairs, gandhi, per_class, contrastive, predsim, whitened, targets, trifecta, text, baselines)
    )
}


@checked
def get(name: str) -> Recipe:
    """Return a recipe by name.

    Raises:
        ValueError: If there is no recipe of this name.

    Example:
        >>> get("hinton").widths
        (1000, 1000, 1000)
    """
    if name in RECIPES:
        return RECIPES[name]
    if hint := did_you_mean(name, RECIPES):
        raise ValueError(f"recipe must be the name of a recipe, got {name!r}{hint}")
    raise ValueError(f"recipe must be one of {', '.join(RECIPES)}, got {name!r}")
