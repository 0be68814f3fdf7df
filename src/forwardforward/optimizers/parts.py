"""Parts of a module's parameters that have options of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import nn

__all__ = ["OBJECTIVE", "OBJECTIVES", "OTHERS", "clipped_with", "has_objectives", "is_part", "module_of", "split"]

#: Suffix of the groups of a layer's objective.
OBJECTIVE = ".objective"
#: Suffix of the groups of parameters that are not matrices.
OTHERS = ".others"
#: The name in ``overrides`` of the objectives of all layers.
OBJECTIVES = "objective"


def split(
    name: str, parameters: Mapping[str, nn.Parameter], objective: bool, others: bool
) -> dict[str, dict[str, nn.Parameter]]:
    """Return a module's parameters by group.

    Args:
        name: Name of the module.
        parameters: Its parameters by name.
        objective: Whether those of its objective form a group.
        others: Whether those that are not matrices form groups.
    """
    groups = {name: dict(parameters)}
    if objective:
        prefix = OBJECTIVE[1:] + "."
        groups = {
            name: {key: p for key, p in parameters.items() if not key.startswith(prefix)},
            name + OBJECTIVE: {key: p for key, p in parameters.items() if key.startswith(prefix)},
        }
    if others:
        groups = {
            group + suffix: {key: p for key, p in named.items() if (p.dim() == 2) == is_matrix}
            for group, named in groups.items()
            for suffix, is_matrix in (("", True), (OTHERS, False))
        }
    return groups


def clipped_with(group: str) -> str:
    """Return the group that the gradients of a group are clipped with: matrices and others have one limit."""
    return group.removesuffix(OTHERS)


def module_of(group: str) -> str:
    """Return the name of the module that a group is part of."""
    return clipped_with(group).removesuffix(OBJECTIVE)


def is_part(group: str) -> bool:
    """Return whether a group is part of a module whose other parameters have another group."""
    return module_of(group) != group


def has_objectives(names: Iterable[str]) -> bool:
    """Return whether one of the names in ``overrides`` is that of an objective."""
    return any(name == OBJECTIVES or clipped_with(name).endswith(OBJECTIVE) for name in names)
