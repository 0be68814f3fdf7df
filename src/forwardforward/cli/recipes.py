"""``forwardforward recipes``: list the recipes, or show one."""

from __future__ import annotations

import argparse
from typing import Any

from forwardforward.recipes import RECIPES, get


def add_command(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("recipes", help="list the recipes")
    parser.set_defaults(action=_recipes, reduce="")
    parser.add_argument("name", nargs="?", help="show the hyperparameters of this recipe")


def _recipes(options: argparse.Namespace) -> None:
    if options.name is not None:
        recipe = get(options.name)
        _print_fields(recipe.table())
        for data, changes in recipe.differences().items():
            print(f"on {data}:")
            _print_fields(changes, "  ")
        return
    width = max(map(len, RECIPES))
    for name, recipe in RECIPES.items():
        print(f"{name:<{width}}  {recipe.summary}")


def _print_fields(table: dict[str, str], indent: str = "") -> None:
    width = max(16, 1 + max(map(len, table), default=0))
    for name, value in table.items():
        print(f"{indent}{name:<{width - len(indent)}}{value}")
