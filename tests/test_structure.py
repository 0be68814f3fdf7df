"""The structure of the package: imports go downward only."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = "forwardforward"
ROOT = Path(__file__).parents[1] / "src" / PACKAGE

#: The rooms of the package from the lowest to the highest; a room imports from lower rooms only.
ORDER = (
    "_utils",
    "specs",
    "batches",
    "targets",
    "pooling",
    "normalization",
    "goodness",
    "losses",
    "objectives",
    "label_encoders",
    "negatives",
    "layers",
    "update_schedules",
    "lr_schedules",
    "optimizers",
    "heads",
    "classifiers",
    "preprocessing",
    "views",
    "data",
    "step",
    "saving",
    "network",
    "scoring",
    "sequential",
    "stages",
    "replicas",
    "training",
    "distributed",
    "baselines",
    "export",
    "diagnostics",
    "recipes",
    "zoo",
    "runs",
    "sklearn",
    "lightning",
    "cli",
    "__main__",
)


def module_of(path: Path) -> str:
    """The dotted name of a file."""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in sorted(ROOT.rglob("*.py"))}


def imports(module: str) -> set[str]:
    """The modules of the package that a module imports, wherever the statement stands."""
    targets = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == PACKAGE:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                targets.add(name if name in MODULES else node.module)
        elif isinstance(node, ast.Import):
            targets |= {alias.name for alias in node.names if alias.name.split(".")[0] == PACKAGE}
    return targets - {module, PACKAGE}  # the package itself is imported for its version


def room(module: str) -> str:
    """The part of the package that a module belongs to."""
    return module.split(".")[1]


@pytest.mark.parametrize("module", [name for name in MODULES if name != PACKAGE])
def test_a_module_imports_from_lower_rooms_only(module: str) -> None:
    for target in imports(module):
        here, there = ORDER.index(room(module)), ORDER.index(room(target))
        assert there <= here, f"{module} imports {target}, which is above it"


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {module: imports(module) for module in MODULES if module != PACKAGE}
    finished: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path[path.index(module) :], module))
        if module not in finished:
            for target in graph.get(module, ()):
                visit(target, (*path, module))
            finished.add(module)

    for module in graph:
        visit(module, ())
