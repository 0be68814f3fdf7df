"""Import of optional packages by the data sources that need them."""

from __future__ import annotations

import importlib
from typing import Any


def import_extra(module: str, data_set: str, package: str, extra: str) -> Any:
    """Import a module of an optional package.

    Args:
        module: Full name of the module.
        data_set: Name of the data set that needs it.
        package: Name of the package, for the error message.
        extra: The extra of this library that installs the package.

    Raises:
        ImportError: If the package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f'the data set {data_set!r} needs {package}: pip install "forwardforward[{extra}]"'
        ) from error
