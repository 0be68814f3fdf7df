"""Recipes: whole trainings that read like a paper's table of hyperparameters.

A recipe holds plug-ins and numbers, and makes a fresh model and fresh optimizers whenever it is asked:

    >>> recipe = get("hinton").for_dataset("digits").replace(widths=(100, 100), epochs=5)
    >>> data = recipe.splits("digits")
    >>> model = recipe.model(data.input_shape, data.num_classes)
    >>> history = recipe.fit(model, data.train, validation=data.validation, progress=False)
"""

from __future__ import annotations

import itertools

from forwardforward.recipes import backward, contrastive, pairs, per_class, text, trifecta
from forwardforward.recipes.recipe import Recipe

__all__ = ["RECIPES", "Recipe", "get"]

#: The recipes by their names.
RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in itertools.chain.from_iterable(
        module.RECIPES for module in (pairs, per_class, contrastive, trifecta, text, backward)
    )
}


def get(name: str) -> Recipe:
    """Return a recipe by its name.

    Raises:
        ValueError: If there is none of this name.
    """
    if name not in RECIPES:
        raise ValueError(f"recipe must be one of {', '.join(RECIPES)}, got {name!r}")
    return RECIPES[name]
