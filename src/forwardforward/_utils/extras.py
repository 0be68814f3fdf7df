"""Import of optional packages, with one error that names the extra to install."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["import_extra"]


def import_extra(module: str, user: str, package: str, extra: str) -> Any:
    """Import a module that needs an optional package.

    Args:
        module: Full name of the module: of the package, or of this library.
        user: What needs the package, for the error message.
        package: Name of the package, for the error message.
        extra: The extra of this library that installs the package.

    Raises:
        ImportError: If the package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f'{user} needs {package}: pip install "forwardforward[{extra}]"') from error
