"""``forwardforward recipes``."""

from __future__ import annotations

import argparse
import json

from forwardforward.recipes import RECIPES


def list_recipes(options: argparse.Namespace) -> None:
    """Print the recipes: a line each, or all their fields as JSON."""
    if options.json:
        about = {one.name: {"summary": one.summary, "source": one.source, **one.table()} for one in RECIPES.values()}
        print(json.dumps(about, indent=2))
        return
    width = max(map(len, RECIPES))
    for recipe in RECIPES.values():
        print(f"{recipe.name:<{width}}  {recipe.summary}\n{'':<{width}}  {recipe.source}")
