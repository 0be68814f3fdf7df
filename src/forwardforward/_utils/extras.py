"""Import of optional packages, with one error that gives the command to install them."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["import_extra"]


def import_extra(module: str, user: str, *packages: str) -> Any:
    """Import a module that needs optional packages.

    Args:
        module: Full name of the module: of a package, or of this library.
        user: What needs the packages, for the error message.
        *packages: Names under which pip installs them.

    Raises:
        ImportError: If a package is not installed, or cannot be imported for another reason.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        missing = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
        if missing in (module.partition(".")[0], *packages):
            raise ImportError(f"{user} needs {' and '.join(packages)}: pip install {' '.join(packages)}") from error
        raise ImportError(f"{user} needs {' and '.join(packages)}, which cannot be imported: {error}") from error
