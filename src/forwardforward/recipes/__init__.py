"""Recipes: complete training runs that read like a paper's table of hyperparameters.

A recipe consists of plug-ins and numbers, and makes a new model and new optimizers at each call:

    >>> recipe = get("hinton").for_dataset("digits").replace(widths=(100, 100), epochs=5)
    >>> data = recipe.splits("digits")
    >>> model = recipe.model(data.input_shape, data.num_classes)
    >>> history = recipe.fit(model, data.train, validation=data.validation, progress=False)
"""

from __future__ import annotations

import difflib
import itertools

from forwardforward._utils.arguments import checked
from forwardforward.recipes import baselines, contrastive, gandhi, pairs, per_class, predsim, text, trifecta, whitened
from forwardforward.recipes.contrastive import ContrastiveObjective, FallingTemperature
from forwardforward.recipes.predsim import PredSim
from forwardforward.recipes.recipe import Recipe
from forwardforward.recipes.whitened import PooledContrast

__all__ = ["RECIPES", "ContrastiveObjective", "FallingTemperature", "PooledContrast", "PredSim", "Recipe", "get"]

#: The recipes by name.
RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in itertools.chain.from_iterable(
        module.RECIPES
        for module in (pairs, gandhi, per_class, contrastive, predsim, whitened, trifecta, text, baselines)
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
    nearest = difflib.get_close_matches(name.lower(), RECIPES, n=1)
    if nearest:
        raise ValueError(f"recipe must be the name of a recipe, got {name!r}: did you mean {nearest[0]!r}?")
    raise ValueError(f"recipe must be one of {', '.join(RECIPES)}, got {name!r}")
